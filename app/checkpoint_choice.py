"""The side bar's part about one checkpoint: what was recognised, and the choices that its files leave open."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from analysis.cameras import default_cameras, plan_cameras
from analysis.checkpoint_facts import checkpoint_facts, family_title
from analysis.dataset_description import KEY
from analysis.types import EpisodeMeta
from analysis.workspace import Workspace
from app import session
from app.plain_text import plain
from app.selection import camera_names, camera_text, checkpoint_line
from app.session import Later
from models.errors import UserError
from models.types import CheckpointSpec


@dataclass(frozen=True)
class Keys:
    """Names of the widgets, which are those of the URL's parameters."""

    family: str
    stats: str
    cameras: str


FIRST = Keys("family", "action_stats", "cameras")
SECOND = Keys("other_family", "other_stats", "other_cameras")


@dataclass(frozen=True)
class Wish:
    """What the URL asks for."""

    family: str | None
    stats: str | None
    cameras: str | None


@dataclass(frozen=True)
class Reading:
    """How a checkpoint is read and fed; None where there is no choice, or where it is the usual one."""

    spec: CheckpointSpec | None = None
    family: str | None = None
    stats: str | None = None
    cameras: str | None = None


def reading(
    workspace: Workspace, spec: CheckpointSpec | None, meta: EpisodeMeta | None, keys: Keys, wish: Wish, later: Later
) -> Reading:
    """What is chosen for a checkpoint; ``later`` gets what draws it."""
    if spec is None:
        return Reading()
    read = _family(workspace, spec, keys.family, wish.family, later)
    line = plain(checkpoint_line(read))
    later.append(lambda: st.caption(line))
    stats = _stats(read, meta, keys.stats, wish.stats, later)
    cameras = _cameras(read, meta, keys.cameras, wish.cameras, later) if meta is not None else None
    later.append(lambda: _about(read))
    return Reading(read, None if read.family == spec.family else read.family, stats, cameras)


def _family(workspace: Workspace, spec: CheckpointSpec, key: str, wish: str | None, later: Later) -> CheckpointSpec:
    """The checkpoint as read by the chosen family; a choice only where its files fit several."""
    families = session.alternatives(spec.path, spec.digest, workspace.base_of(spec))
    if len(families) < 2:
        return spec
    usual = families.index(spec.family) if spec.family in families else 0
    picked = session.pick(key, f"Read {plain(spec.name)} as", wish, families, family_title, later, usual)
    try:
        return workspace.checkpoint(spec.digest, picked)
    except UserError as error:
        said = str(error)
        later.append(lambda: st.warning(said))
        return spec


def _stats(spec: CheckpointSpec, meta: EpisodeMeta | None, key: str, wish: str | None, later: Later) -> str | None:
    """Which action statistics to use where there are several: what the data set's description names, else asked."""
    if len(spec.action_stats) < 2:
        return None
    described = meta.extra.get(KEY) if meta is not None else None
    default = spec.action_stats.index(described) if described in spec.action_stats else None
    return session.pick(key, f"Action statistics of {plain(spec.name)}", wish, spec.action_stats, str, later, default)


def _cameras(spec: CheckpointSpec, meta: EpisodeMeta, key: str, wish: str | None, later: Later) -> str | None:
    """Which of the episode's cameras the policy sees, asked where names do not tell."""
    if spec.every_camera:
        return None
    plan = plan_cameras(spec.cameras, meta.cameras)
    names = spec.cameras or ("",)
    if len(meta.cameras) < 2 or not (plan.note or len(names) == 1):
        return None
    wishes = camera_names(wish) or plan.chosen
    picked: list[str] = []
    for place, (name, usual) in enumerate(zip(names, plan.chosen, strict=False)):
        label = f"Camera that the policy sees as {plain(name)}" if len(names) > 1 else "Camera that the policy sees"
        asked = wishes[place] if place < len(wishes) else None
        default = meta.cameras.index(usual)
        picked.append(
            session.pick(f"{key}_{len(names)}_{place}", label, asked, meta.cameras, str, later, default) or usual
        )
    return None if default_cameras(spec.cameras, meta.cameras, picked) else camera_text(picked)


def _about(spec: CheckpointSpec) -> None:
    with st.expander(f"About {plain(spec.name)}"):
        for fact in checkpoint_facts(spec):
            st.markdown(f"**{plain(fact.label)}**  \n{plain(fact.text)}")
        if spec.unused:
            st.markdown("**Stored, not used**")
            for name, why in spec.unused.items():
                st.text(f"{name}: {why}")
