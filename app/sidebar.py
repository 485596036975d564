"""The side bar: data set, episode, checkpoints, and a sentence for each that cannot be used.

What is chosen is known before any of it is drawn, so that the page can be drawn first; the drawing is kept for later.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from analysis.checkpoint_list import BrokenCheckpoint
from analysis.types import EpisodeMeta
from analysis.workspace import Workspace
from app import session
from app.checkpoint_choice import FIRST, SECOND, Reading, Wish, reading
from app.episode_choice import choose_episode
from app.library import Library
from app.pages import Page
from app.selection import Selection, checkpoint_label
from app.session import Later
from models.types import CheckpointSpec


@dataclass(frozen=True)
class Chosen:
    """What the side bar offers and what is chosen from it."""

    selection: Selection
    meta: EpisodeMeta | None
    first: CheckpointSpec | None
    second: CheckpointSpec | None


def choose(library: Library, page: Page, later: Later) -> Chosen:
    """What is chosen for ``page``; ``later`` gets what draws the side bar."""
    wish, workspace, comparing = session.wanted(), library.workspace, page.comparing
    names = [entry.name for entry in workspace.datasets()]
    dataset = (
        session.pick("dataset", "Data set", wish.dataset, names, str, later)
        if len(names) > 1
        else next(iter(names), None)
    )
    meta = choose_episode(library, dataset, wish.episode, later, not page.lists_episodes) if dataset else None
    first, second = _checkpoints(workspace, wish, meta, comparing, later)
    place = f"Workspace `{_short(workspace.path)}`"
    later.append(lambda: st.caption(place, help="Where records of model runs are kept."))
    selection = Selection(
        dataset,
        meta.id if meta else None,
        first.spec.digest if first.spec else None,
        second.spec.digest if second.spec else wish.other,
        first.stats,
        second.stats,
        first.family,
        second.family,
        first.cameras,
        second.cameras,
    )
    session.remember(selection)
    return Chosen(selection, meta, first.spec, second.spec)


def _checkpoints(
    workspace: Workspace, wish: Selection, meta: EpisodeMeta | None, comparing: bool, later: Later
) -> tuple[Reading, Reading]:
    """The chosen checkpoints and how they are read."""
    entries = session.checkpoints(str(workspace.path))
    specs = [entry for entry in entries if isinstance(entry, CheckpointSpec)]
    by_digest = {spec.digest: spec for spec in specs}
    digests = list(by_digest)

    def label(digest: str) -> str:
        return checkpoint_label(by_digest[digest], specs)

    # A reasoning model alone shows more than its base; compared, the base comes first.
    acting = [i for i, spec in enumerate(specs) if spec.action_space is not None] or list(range(len(specs)))
    talking = [i for i in acting if specs[i].generates_rationale]
    default = next(iter(acting if comparing else talking or acting), 0)
    first = session.pick("checkpoint", "Checkpoint", wish.checkpoint, digests, label, later, default)
    one = Wish(wish.family, wish.action_stats, wish.cameras)
    read, other = reading(workspace, by_digest.get(first or ""), meta, FIRST, one, later), Reading()
    if comparing and len(specs) > 1:
        rest = [digest for digest in digests if digest != first]
        default = next((i for i, digest in enumerate(rest) if by_digest[digest].generates_rationale), 0)
        second = session.pick(
            "other", "Compared with", wish.other if wish.other != first else None, rest, label, later, default
        )
        two = Wish(wish.other_family, wish.other_stats, wish.other_cameras)
        other = reading(workspace, by_digest.get(second or ""), meta, SECOND, two, later)
    broken = [entry for entry in entries if isinstance(entry, BrokenCheckpoint)]
    later.append(lambda: _broken(broken))
    return read, other


def _broken(entries: list[BrokenCheckpoint]) -> None:
    if not entries:
        return
    plural = "checkpoint" if len(entries) == 1 else "checkpoints"
    with st.expander(f"{len(entries)} {plural} cannot be used", icon=":material/warning:"):
        for entry in entries:
            st.text(f"{Path(entry.path).name}: {entry.reason}")


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
