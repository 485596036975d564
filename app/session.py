"""The only module that touches Streamlit's session state and caches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import streamlit as st

import models
from analysis.checkpoint_list import BrokenCheckpoint
from analysis.episodes import BrokenEpisode
from analysis.types import EpisodeMeta
from app import library
from app.selection import Selection, chosen, from_parameters
from models import weight_change as weights
from models.types import CheckpointSpec
from models.weight_change import WeightChange

# Drawn once the page stands: what is looked at comes first, and the browser draws in the order of the script.
Later = list[Callable[[], object]]

OPTIONAL = ("action_stats", "other_stats", "family", "other_family", "cameras", "other_cameras")
FRESH_SECONDS = 10  # how long a listing is trusted; a new file shows up after that


def wanted() -> Selection:
    """What the URL asks for."""
    return from_parameters(st.query_params)


def remember(selection: Selection) -> None:
    """Writes the selection into the URL, leaving the player's own parameters alone."""
    for name, value in selection.parameters().items():
        if st.query_params.get(name) != value:
            st.query_params[name] = value
    for name in OPTIONAL:
        if name not in selection.parameters() and name in st.query_params:
            del st.query_params[name]


def page(titles: Iterable[str], later: Later) -> str:
    """The page that is chosen, the first one by default; its switch is drawn ``later``."""
    names = list(titles)
    by_address = {address(name): name for name in names}
    wish = by_address.get(st.query_params.get("page", "").lower(), names[0])
    st.session_state["page"] = st.session_state.get("page") or wish
    picked: str = st.session_state["page"]
    later.append(lambda: st.pills("Page", names, key="page", label_visibility="collapsed", required=True))
    if st.query_params.get("page") != address(picked):
        st.query_params["page"] = address(picked)
    return picked


def address(title: str) -> str:
    """A page's title as a URL parameter."""
    return title.lower().replace(" ", "-")


def pick(
    key: str,
    label: str,
    wish: str | None,
    options: Sequence[str],
    format: Callable[[str], str],
    later: Later,
    default: int | None = 0,
) -> str | None:
    """The value of a searchable select box, which is drawn ``later``.

    It starts with what the URL asks for and keeps its value while it is offered. ``default`` None: nothing is chosen
    for a person who has to decide.
    """
    if not options:
        return None
    value, unmet = chosen(st.session_state.get(key, wish), options, default)
    if unmet and key not in st.session_state:
        instead = "Another one is shown." if value is not None else "Choose another one."
        said = f"The link asks for the {label.lower()} “{wish}”, which is not here. {instead}"
        later.append(lambda: st.warning(said))
    st.session_state[key] = value
    empty = {"index": None, "placeholder": "Choose one"} if default is None else {}
    later.append(lambda: st.selectbox(label, options, key=key, format_func=format, **empty))
    return value


@st.cache_data(ttl=FRESH_SECONDS, show_spinner="Looking through the data set…")
def episodes(workspace: str, dataset: str) -> tuple[EpisodeMeta | BrokenEpisode, ...]:
    """Episodes of a data set. ``workspace``: its path, which only tells one cache entry from another."""
    return library.current().workspace.episodes(dataset)


@st.cache_data(ttl=FRESH_SECONDS, show_spinner="Looking at the checkpoints…")
def checkpoints(workspace: str) -> tuple[CheckpointSpec | BrokenCheckpoint, ...]:
    """Checkpoints of the workspace; see `episodes` for ``workspace``."""
    return library.current().workspace.checkpoints()


@st.cache_data(show_spinner=False, max_entries=200)
def alternatives(path: str, digest: str, base: Path | None) -> tuple[str, ...]:
    """Families that can read a checkpoint; its digest makes the answer good until a file changes."""
    return models.alternatives(path, base)


@st.cache_data(show_spinner="Comparing the weights…", max_entries=20)
def weight_change(base: str, base_digest: str, tuned: str, tuned_digest: str) -> WeightChange:
    """What changed between two checkpoints; their digests make the answer good until a file changes.

    Raises UserError where they cannot be compared.
    """
    return weights.weight_change(base, tuned)


def given_name(remembered: str) -> str:
    """The name under which this visitor judges: given in this session, in the link, or ``remembered``; "" for none."""
    if "person" not in st.session_state:
        st.session_state["person"] = st.query_params.get("person", "") or remembered
    name: str = st.session_state["person"]
    if name and st.query_params.get("person") != name:
        st.query_params["person"] = name
    return name


def take_name() -> None:
    """Judges go under the name that was typed."""
    st.session_state["person"] = st.session_state.get("typed_name") or ""


def forget_name() -> None:
    """Asks again who is there."""
    st.session_state["person"] = ""
    st.query_params.pop("person", None)
