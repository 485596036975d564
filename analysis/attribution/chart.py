"""Attribution maps of an episode's steps as numbers: a line a position, with the place of a patch on its frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from analysis.attribution.attribution_map import AttributionMap
from analysis.pictures.chart import Chart, columns_of
from analysis.pictures.provenance import Model, Provenance, episode_words
from analysis.records import Run
from analysis.types import EpisodeMeta
from models.types import CheckpointSpec, Span


def attribution_chart(
    maps: Mapping[int, AttributionMap], spec: CheckpointSpec, meta: EpisodeMeta, run: Run, tested: str = ""
) -> Chart:
    """``maps``: by step, of ``run``; ``tested``: whether they were found to be faithful, as a caption says it.

    An NPZ holds each step's scores and tokens beside the columns.
    """
    one = next(iter(maps.values()))
    about = Provenance(
        title=f"Attribution by {one.method}",
        data=episode_words(meta, list(maps)),
        method=f"{one.method}, target: {one.target.text} ({one.target.scalar}); "
        + ("signed: below 0 speaks against the target" if one.signed else "unsigned"),
        samples=f"{len(maps)} step{'' if len(maps) == 1 else 's'}, {one.forwards} forwards each",
        models=(Model(spec.name, spec.digest, run.address),),
        settings={**one.settings, **one.notes},
        notes=(*_doubts(maps), *([f"Map: {tested}"] if tested else [])),
    )
    return Chart(
        about, columns_of([row for step, found in maps.items() for row in _rows(step, found)]), None, _arrays(maps)
    )


def _doubts(maps: Mapping[int, AttributionMap]) -> tuple[str, ...]:
    """Of the step that can be trusted least."""
    step, worst = max(maps.items(), key=lambda each: abs(each[1].missing_share or 0.0))
    where = f"At worst, step {step}" if len(maps) > 1 else f"Step {step}"
    return (f"{where}: {'; '.join(worst.doubts)}",) if worst.doubts else ()


def _rows(step: int, found: AttributionMap) -> Iterator[dict[str, object]]:
    for span in found.layout.spans:
        for position in range(span.start, span.stop):
            error = None if found.standard_error is None else float(found.standard_error[position])
            yield {
                "step": step,
                "position": position,
                "part": span.part.value,
                "name": span.name,
                "token": found.layout.tokens[position],
                **_place(span, position),
                "score": float(found.scores[position]),
                "standard error": error,
            }


def _place(span: Span, position: int) -> dict[str, object]:
    """The patch's box in pixels of the frame; empty for a word."""
    grid = span.grid
    if grid is None or grid.rows * grid.columns != span.stop - span.start:
        return dict.fromkeys(("camera", "row", "column", "left", "top", "right", "bottom"))
    row, column = divmod(position - span.start, grid.columns)
    left, top, right, bottom = grid.box
    wide, high = (right - left) / grid.columns, (bottom - top) / grid.rows
    return {
        "camera": grid.camera,
        "row": row,
        "column": column,
        "left": left + column * wide,
        "top": top + row * high,
        "right": left + (column + 1) * wide,
        "bottom": top + (row + 1) * high,
    }


def _arrays(maps: Mapping[int, AttributionMap]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for step, found in maps.items():
        arrays[f"step_{step:06d}_scores"] = found.scores
        arrays[f"step_{step:06d}_tokens"] = np.array(found.layout.tokens)
        if found.standard_error is not None:
            arrays[f"step_{step:06d}_standard_error"] = found.standard_error
    return arrays
