"""The only module, with `app.review_session`, that touches Streamlit's session state and caches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import streamlit as st

import models
from analysis.catalogue import Filter
from analysis.checkpoint_list import BrokenCheckpoint
from analysis.interventions.question import Intervention
from analysis.interventions.registry import as_text, from_text
from app import library
from app.episode_list import NAMES as LIST_NAMES
from app.episode_list import EpisodeList, list_from
from app.selection import Selection, camera_text, chosen, from_parameters
from app.what_if_edits import after_click
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


def listed(datasets: Sequence[str]) -> EpisodeList:
    """What lists of episodes show: as narrowed in this session, else as the URL asks, which carries it on."""
    if "list" not in st.session_state:
        st.session_state["list"], st.session_state["list_unmet"] = list_from(st.query_params, datasets)
    shown: EpisodeList = st.session_state["list"]
    st.session_state["list_datasets"] = list(datasets)
    parameters = shown.parameters()
    for name in LIST_NAMES:
        if name not in parameters and name in st.query_params:
            del st.query_params[name]
        elif name in parameters and st.query_params.get(name) != parameters[name]:
            st.query_params[name] = parameters[name]
    return shown


def list_unmet() -> tuple[str, ...]:
    """What the link asked of the list and could not have; told once."""
    said: tuple[str, ...] = st.session_state.get("list_unmet", ())
    st.session_state["list_unmet"] = ()
    return said


def list_key(name: str, value: object) -> str:
    """The key of the widget for the list's parameter ``name``, which is to show ``value``."""
    key = f"list_{name}"
    st.session_state[key] = value
    return key


def narrow_list(name: str) -> None:
    """Takes over what was chosen in the widget for the parameter ``name``; the list begins at its first page."""
    value = st.session_state[f"list_{name}"]
    text = camera_text(value) if isinstance(value, list) else "" if value is None else str(value)
    asked = {**st.session_state["list"].parameters(), name: text, "p": ""}
    st.session_state["list"], _ = list_from(asked, st.session_state["list_datasets"])


def turn_list_to(page: int) -> None:
    """Page number ``page``, from 0."""
    st.session_state["list"] = replace(st.session_state["list"], page=page)


def widen_list() -> None:
    """Leaves nothing out any more."""
    st.session_state["list"] = EpisodeList(sort=st.session_state["list"].sort)


def look_at(dataset: str, episode: str, title: str = "Trajectory") -> None:
    """Opens an episode on the page called ``title``."""
    st.session_state.update(dataset=dataset, episode=episode, page=title)


def asked_for(key: str, wish: str | None) -> tuple[str | None, bool]:
    """What a select box has or the URL asks for, and whether it is the URL."""
    return (st.session_state[key], False) if key in st.session_state else (wish, wish is not None)


@st.cache_data(ttl=FRESH_SECONDS, show_spinner="Looking at the checkpoints…")
def checkpoints(workspace: str) -> tuple[CheckpointSpec | BrokenCheckpoint, ...]:
    """Checkpoints of the workspace. ``workspace``: its path, which only tells one cache entry from another."""
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


def sent(key: str, name: str) -> dict[str, object] | None:
    """What a component sent by its trigger ``name``, in its callback."""
    value = st.session_state[key].get(name)
    return value if isinstance(value, dict) else None


def ticked() -> tuple[tuple[str, str], ...]:
    """Data set and id of every episode that was selected for export."""
    return tuple(st.session_state.get("ticked", ()))


def tick(episode: tuple[str, str], on: bool) -> None:
    """Selects an episode (data set, id), or no longer."""
    others = [one for one in ticked() if one != episode]
    st.session_state["ticked"] = (*others, episode) if on else tuple(others)


def untick_all() -> None:
    st.session_state["ticked"] = ()


def begin_export(key: tuple[str, str] | None = None) -> None:
    """The export dialog is about the task of ``key``; None: it asks for a new one."""
    st.session_state["export_key"] = key


def filled(key: str, value: str) -> str:
    """The key of a field that holds ``value`` until a person types something else. Set in every run: fields that are
    not on show, as in a closed popover, forget what they held."""
    anew = st.session_state.pop(f"{key}_anew", False)
    st.session_state[key] = value if anew else st.session_state.get(key) or value
    return key


def fill_anew(key: str) -> None:
    """The next `filled` begins with its own value again."""
    st.session_state[f"{key}_anew"] = True


def export_key() -> tuple[str, str] | None:
    """Of the task that the export dialog shows."""
    key: tuple[str, str] | None = st.session_state.get("export_key")
    return key


def reads_all(dataset: str) -> bool:
    """Whether the actions of all episodes of a data set are wanted, not of a sample only."""
    return dataset in st.session_state.get("read_all_of", ())


def read_all(dataset: str) -> None:
    st.session_state["read_all_of"] = (*st.session_state.get("read_all_of", ()), dataset)


def list_broken(dataset: str) -> None:
    """Goes to the catalogue, which lists what is broken of a data set."""
    st.session_state["list"] = EpisodeList(Filter(datasets=(dataset,), broken=True))
    st.session_state["page"] = "Catalogue"


def edits() -> tuple[Intervention, ...]:
    """The what-if page's changes: this session's, else the link's. Raises UserError for a link that is broken."""
    if "edits" not in st.session_state:
        text = st.query_params.get("edits", "")
        st.session_state["edits"] = from_text(text) if text else ()
    found: tuple[Intervention, ...] = st.session_state["edits"]
    return found


def keep_edits(interventions: Sequence[Intervention]) -> None:
    """From now on these are the changes; the URL carries them."""
    st.session_state["edits"] = tuple(interventions)
    if interventions:
        st.query_params["edits"] = as_text(interventions)
    else:
        st.query_params.pop("edits", None)


def changed_on_frame(key: str) -> None:
    """Takes over what was hidden or shown on the what-if page's frame."""
    if (found := sent(key, "changed")) is not None:
        keep_edits(after_click(edits(), found, st.session_state.get("what_if_fill", "mean")))


def picked_patch() -> tuple[str, int] | None:
    """The episode's camera and patch that the link asks to hide, once: it is one of the changes from then on."""
    patch, camera = st.query_params.pop("hide", ""), st.query_params.get("camera", "")
    return (camera, int(patch)) if patch.isdecimal() and len(patch) < 9 else None


def picked_word() -> str:
    """The word that the link asks about; empty: none."""
    return str(st.query_params.get("word", ""))[:80]


def step(length: int) -> int:
    """The step that a page without a player looks at; it is shared with the player through the URL."""
    wish = st.query_params.get("step", "")
    if "what_if_step" not in st.session_state:
        st.session_state["what_if_step"] = int(wish) if wish.isdecimal() and len(wish) < 9 else 0
    st.session_state["what_if_step"] = min(st.session_state["what_if_step"], length - 1)
    found: int = st.session_state["what_if_step"]
    return found


def act_out(world: str, scenes: int) -> None:
    """The link asks for what came of acting out the changes in so many scenes of a simulated world."""
    st.query_params.update({"world": world, "scenes": str(scenes)})


def acted_out(worlds: Sequence[str]) -> tuple[str, int] | None:
    """The world, of those offered, and number of scenes that the link asks for."""
    world, scenes = st.query_params.get("world", ""), st.query_params.get("scenes", "")
    fits = world in worlds and scenes.isdecimal() and len(scenes) < 4 and int(scenes) > 0
    return (world, int(scenes)) if fits else None


def keep_step(value: int) -> None:
    if st.query_params.get("step") != str(value):
        st.query_params["step"] = str(value)


def value(key: str, default: object) -> object:
    """What a widget of the page holds."""
    return st.session_state.get(key, default)
