"""Two checkpoints on the same episode, and what differs between them."""

from __future__ import annotations

import streamlit as st

from analysis.pictures.provenance import Model, Provenance
from app import session
from app.components import chart_export
from app.components.player_component import ShownCheckpoint, player
from app.figures import weight_change_bars, weight_change_rows, which_layers_can_differ
from app.runs import AUTOMATIC_PARAMETERS
from app.sidebar import Chosen
from models.errors import UserError
from models.types import CheckpointSpec


def show(chosen: Chosen) -> None:
    """Draws two synced panes and their difference."""
    if chosen.meta is None or chosen.selection.dataset is None:
        return
    if chosen.first is None or chosen.second is None:
        st.info("Comparing needs two usable checkpoints. Name their folders in the workspace's `workspace.toml`.")
        return
    picked = chosen.selection
    panes = (
        ShownCheckpoint(chosen.first.digest, chosen.first.name, picked.action_stats, picked.family, picked.cameras),
        ShownCheckpoint(
            chosen.second.digest, chosen.second.name, picked.other_stats, picked.other_family, picked.other_cameras
        ),
    )
    player(chosen.selection.dataset, chosen.meta.id, panes, key="compare_player")


def weights(chosen: Chosen) -> None:
    """Draws which layers can differ at all."""
    if chosen.meta is not None and chosen.first is not None and chosen.second is not None:
        _weights(chosen.first, chosen.second)


def _weights(first: CheckpointSpec, second: CheckpointSpec) -> None:
    st.markdown("##### Where the weights differ")
    large = max(first.parameters, second.parameters) > AUTOMATIC_PARAMETERS
    if large and not st.button(
        "Compare the weights", help="Reads both checkpoints' files once; this can take minutes."
    ):
        return
    try:
        change = session.weight_change(first.path, first.digest, second.path, second.digest)
    except UserError as error:
        st.info(str(error))
        return
    st.write(which_layers_can_differ(change))
    about = Provenance(
        f"Change of the weights from {first.name} to {second.name}",
        f"{sum(group.tensors for group in change.groups):,} tensors, read from the two checkpoints' files",
        "Frobenius norm of the difference by the first's norm, over all tensors of a layer or part",
        models=(Model.of(first), Model.of(second)),
    )
    chart_export.chart(weight_change_bars(change), weight_change_rows(change), about, "weight_change")
