"""What interventions did, as a chart: every dimension before and after, with all numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analysis.interventions.effect import Effect
from analysis.interventions.frames import frame_arrays, frames_drawing
from analysis.pictures.chart import Chart, columns_of
from analysis.pictures.provenance import Model, Provenance, episode_words
from analysis.pictures.shapes import Dot, Drawing, Path, Shape, Text, stacked
from analysis.records import Setting
from analysis.types import EpisodeMeta
from models.types import CheckpointSpec

JENSEN_SHANNON = "Jensen-Shannon divergence of the odds of an action token"
METHOD = f"the step asked with and without the changes; change: after minus before; {JENSEN_SHANNON}, in bits"
ROW, LEFT, MIDDLE, RIGHT = 30, 150, 380, 330  # pixels


def effect_chart(effects: Mapping[int, Effect], provenance: Provenance) -> Chart:
    """``effects``: by step of the episode. Drawn is the first one, at the first step of its chunk.

    An NPZ has the frames that were changed, of every step.
    """
    first = next(iter(effects.values()))
    drawing = stacked(frames_drawing(first.frames), dumbbells(first)) if first.frames else dumbbells(first)
    arrays: dict[str, np.ndarray] = {}
    for step, each in effects.items():
        arrays |= frame_arrays(each.frames, f", step {step}")
    return Chart(provenance, columns_of(effect_rows(effects)), drawing, arrays)


def effect_provenance(
    spec: CheckpointSpec, meta: EpisodeMeta, effects: Mapping[int, Effect], settings: Mapping[str, Setting]
) -> Provenance:
    """``settings``: how the policy was opened, where not as usual."""
    changes = dict.fromkeys(edit for found in effects.values() for edit in found.edits)
    notes: tuple[str, ...] = ()
    if len(effects) == 1:
        (one,) = effects.values()
        notes = (_said("before", one.before.text), _said("after", one.after.text if one.text_changed else ""), one.note)
    return Provenance(
        title="Action before and after a change",
        data=episode_words(meta, list(effects)),
        method=METHOD,
        samples=f"{len(effects)} step{'' if len(effects) == 1 else 's'}",
        models=(Model.of(spec),),
        settings={"changes": list(changes), **{name: value for name, value in settings.items() if value}},
        notes=notes,
    )


def _said(when: str, words: str) -> str:
    return f"Said {when}: {words}" if words else ""


def effect_rows(effects: Mapping[int, Effect]) -> list[dict[str, object]]:
    """A line for each dimension of each step of each chunk."""
    rows: list[dict[str, object]] = []
    for step, found in effects.items():
        bits = {(each.step, each.name): each.bits for each in found.divergences}
        before, after = found.before, found.after
        for ahead in range(len(found.change)):
            for column, (name, unit) in enumerate(zip(before.action_names, before.action_units, strict=True)):
                rows.append(
                    {
                        "step": step,
                        "chunk step": ahead,
                        "dimension": name,
                        "unit": unit,
                        "before": float(before.actions[ahead, column]),
                        "after": float(after.actions[ahead, column]),
                        "change": float(found.change[ahead, column]),
                        "Jensen-Shannon bits": bits.get((ahead, name), np.nan),
                    }
                )
    return rows


def dumbbells(effect: Effect, step: int = 0) -> Drawing:
    """Every dimension before and after, as a share of what it can reach; the numbers beside it."""
    names = effect.before.action_names if len(effect.change) > step else ()
    width, height = LEFT + MIDDLE + RIGHT, 28 + ROW * max(1, len(names)) + 22
    if not names:
        return Drawing(width, 24, (Text(0, 16, effect.note or "There is no action to compare."),))
    bits = {(each.step, each.name): each.bits for each in effect.divergences}
    shapes: list[Shape] = [
        Dot(LEFT + 6, 12, 5, "open"),
        Text(LEFT + 16, 16, "before", 12, "quiet"),
        Dot(LEFT + 76, 12, 5, "second"),
        Text(LEFT + 86, 16, "after", 12, "quiet"),
    ]
    for row, (name, unit) in enumerate(zip(names, effect.before.action_units, strict=True)):
        y = 28 + ROW * row + ROW / 2
        one, other = float(effect.before.actions[step, row]), float(effect.after.actions[step, row])
        low, high = reach(effect, step, name, row)
        ends = [LEFT + MIDDLE * min(1.0, max(0.0, (value - low) / (high - low))) for value in (one, other)]
        odds = f", JS {bits[step, name]:.3f} bit" if (step, name) in bits else ""
        shapes += [
            Text(LEFT - 12, y + 4, name, anchor="end"),
            Path(((LEFT, y), (LEFT + MIDDLE, y)), "line"),
            Path(((ends[0], y), (ends[1], y)), "second", 3),
            Dot(ends[0], y, 5.5, "open"),
            Dot(ends[1], y, 5.5, "second"),
            Text(LEFT + MIDDLE + 16, y + 4, f"{one:+.4f} → {other:+.4f} {unit}{odds}", 12, "quiet"),
        ]
    shapes.append(Text(LEFT + MIDDLE / 2, height - 4, "share of the range", 12, "quiet", "middle"))
    return Drawing(width, height, tuple(shapes), "Action before and after")


def reach(effect: Effect, step: int, name: str, column: int) -> tuple[float, float]:
    """Lowest and highest value of the dimension's bins; of continuous actions what both answers reach, and a margin."""
    for each in effect.divergences:
        if (each.step, each.name) == (step, name):
            return float(each.before.values.min()), float(each.before.values.max())
    both = np.concatenate([effect.before.actions[:, column], effect.after.actions[:, column]])
    low, high = float(both.min()), float(both.max())
    margin = (high - low) / 4 or 1.0
    return low - margin, high + margin
