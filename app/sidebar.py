"""The side bar: data set, episode, checkpoints, and a sentence for each that cannot be used.

What is chosen is known before any of it is drawn, so that the page can be drawn first; the drawing is kept for later.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from analysis.checkpoint_list import BrokenCheckpoint
from analysis.episodes import BrokenEpisode
from analysis.types import EpisodeMeta
from analysis.workspace import Workspace
from app import session
from app.checkpoint_choice import FIRST, SECOND, Reading, Wish, reading
from app.plain_text import plain
from app.selection import Selection, checkpoint_label, episode_label
from app.session import Later
from models.types import CheckpointSpec


@dataclass(frozen=True)
class Chosen:
    """What the side bar offers and what is chosen from it."""

    selection: Selection
    meta: EpisodeMeta | None
    first: CheckpointSpec | None
    second: CheckpointSpec | None


def choose(workspace: Workspace, comparing: bool, later: Later) -> Chosen:
    """What is chosen; ``later`` gets what draws the side bar. ``comparing``: a second checkpoint is asked for."""
    wish = session.wanted()
    names = [entry.name for entry in workspace.datasets()]
    dataset = (
        session.pick("dataset", "Data set", wish.dataset, names, str, later)
        if len(names) > 1
        else next(iter(names), None)
    )
    meta = _episode(workspace, dataset, wish.episode, later) if dataset else None
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


def _episode(workspace: Workspace, dataset: str, wish: str | None, later: Later) -> EpisodeMeta | None:
    entries = session.episodes(str(workspace.path), dataset)
    metas = {entry.id: entry for entry in entries if isinstance(entry, EpisodeMeta)}
    picked = session.pick("episode", "Episode", wish, list(metas), lambda id: episode_label(metas[id]), later)
    meta = metas.get(picked) if picked else None
    if meta is not None:
        facts = _facts(meta)
        later.append(lambda: st.caption(facts))
    broken = [entry for entry in entries if isinstance(entry, BrokenEpisode)]
    later.append(lambda: _broken("episode", broken))
    return meta


def _facts(meta: EpisodeMeta) -> str:
    parts = [f"{meta.length} steps at {meta.fps:g} fps", ", ".join(meta.cameras)]
    if meta.robot:
        parts.append(meta.robot)
    return plain(" · ".join(parts))


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
    later.append(lambda: _broken("checkpoint", broken))
    return read, other


def _broken(kind: str, entries: list[BrokenEpisode] | list[BrokenCheckpoint]) -> None:
    if not entries:
        return
    plural = kind if len(entries) == 1 else f"{kind}s"
    with st.expander(f"{len(entries)} {plural} cannot be used", icon=":material/warning:"):
        for entry in entries:
            st.text(f"{Path(entry.path).name}: {entry.reason}")


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
