"""What the review page is told, as JSON values: an item, the steps around it, where a policy looked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from analysis.prediction_file import StepFile, StoredRows
from analysis.records import Run, cameras_of
from analysis.review import Draft, Item, LabelScheme, Review
from analysis.review.judgement import judgement_to_json
from analysis.types import Episode
from analysis.what_followed import clip_window, phases, state_changes
from app.bundle import Wanted, choose_rows
from app.facts import rounded, significant
from app.library import Library
from models.errors import UserError
from models.types import RATIONALE_TITLES, Part


def item_facts(item: Item, labels: LabelScheme) -> dict[str, Any]:
    """One rationale with what may be said about each of its parts."""
    source, said = item.source, item.source.rationale
    return {
        "id": item.id,
        "number": item.number,
        "digest": item.digest,
        "dataset": source.dataset,
        "episode": source.episode,
        "version": source.episode_digest,
        "instruction": source.instruction,
        "record": source.record,
        "author": said.author,
        "start": said.start,
        "stop": said.stop,
        "parts": [
            {"name": name, "title": RATIONALE_TITLES.get(name, name), "text": text, **asdict(labels.of(name))}
            for name, text in said.parts.items()
        ],
    }


def review_facts(review: Review) -> dict[str, Any]:
    """A review that counts."""
    return {
        "id": review.id,
        "item": review.item,
        "annotator": review.annotator,
        "judgement": None if review.judgement is None else judgement_to_json(review.judgement),
        "time": review.time.isoformat(timespec="seconds"),
        "seconds": review.seconds,
    }


def draft_facts(draft: Draft | None) -> dict[str, Any] | None:
    if draft is None:
        return None
    saved = draft.saved.timestamp() * 1000
    return {"review": draft.review, "content": draft.content, "revision": draft.revision, "at": saved}


def moment_facts(episode: Episode, start: int, stop: int) -> dict[str, Any]:
    """The steps that a rationale covers and what came of them; changes of the robot's state in the file's units."""
    meta = episode.meta
    window = clip_window(start, stop, meta.length, meta.fps)
    count = episode.actions.shape[1]
    named = len(meta.action_names) == count
    return {
        "instruction": meta.instruction,
        "digest": meta.digest,
        "length": meta.length,
        "fps": significant(meta.fps),
        "cameras": list(meta.cameras),
        "success": meta.success,
        **asdict(window),
        "names": list(meta.action_names) if named else [f"action {i}" for i in range(count)],
        "units": list(meta.action_units),
        "actions": rounded(episode.actions[window.start : window.end]),
        "changes": [
            asdict(one) | {"before": significant(one.before), "after": significant(one.after)}
            for one in state_changes(episode, window)
        ],
        "phases": list(phases(episode, window)),
    }


def looked(library: Library, episode: Episode, step: int, record: str) -> dict[str, Any] | None:
    """Where a policy looked at a step, from a stored run (``record`` first): the mean over layers, heads and words.

    None where no run keeps that step's attention on an image.
    """
    runs = list(reversed(library.workspace.records.runs(episode.meta.digest)))
    for run in sorted(runs, key=lambda run: run.address != record):
        if run.key.method != "predict" or not run.step_path(step).exists():
            continue
        with run.open(step) as stored:
            rows = choose_rows(stored.rows, Wanted(), {})
            found = None if rows is None else _map(stored, rows, episode.meta.cameras, cameras_of(run.key))
        if found is not None:
            return found | {"record": run.address, "checkpoint": run.key.checkpoint, "name": _name(library, run)}
    return None


def _map(
    stored: StepFile, rows: StoredRows, cameras: tuple[str, ...], chosen: tuple[str, ...] | None
) -> dict[str, Any] | None:
    spans = [span for span in rows.layout.spans if span.part is Part.IMAGE and span.grid is not None]
    if not spans or len({span.grid.camera for span in spans if span.grid}) != len(spans):
        return None  # an image in tiles is no single grid
    said = {
        place
        for span in rows.layout.spans
        if span.part is Part.RATIONALE
        for place in range(span.start - 1, span.stop - 1)  # the query of a word is the position before it
    }
    kept = [index for index, query in enumerate(rows.queries) if query in said] or list(range(len(rows.queries)))
    weights = stored.weights(rows, list(rows.layers))[:, :, kept].astype(np.float32).mean(axis=(0, 1, 2))
    maps = []
    for place, span in enumerate(spans):
        grid = span.grid
        if grid is None or grid.rows * grid.columns != span.stop - span.start:
            return None
        known = chosen or cameras
        camera = grid.camera if grid.camera in cameras else known[min(place, len(known) - 1)]
        patches = weights[span.start : span.stop]
        maps.append(
            {
                "camera": camera,
                "rows": grid.rows,
                "columns": grid.columns,
                "box": list(grid.box),
                "weights": [significant(float(value)) for value in patches],
            }
        )
    return {"maps": maps, "words": len(kept) if said else 0}


def _name(library: Library, run: Run) -> str:
    try:
        return library.workspace.checkpoint(run.key.checkpoint).name
    except UserError:  # a record outlives its checkpoint
        return run.key.checkpoint[:6]


def listed(reviews: Iterable[Review]) -> list[Mapping[str, Any]]:
    return [review_facts(review) for review in reviews]
