"""A figure of one step: the frame with what one or two policies attended to, or with a map of another method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from analysis import __version__
from analysis.attribution.attribution_map import AttributionMap
from analysis.pictures.figure import Figure, Mark, Overlay, Panel
from analysis.pictures.rows import Row, attention_row, image_spans
from analysis.pictures.view import View
from analysis.types import EpisodeMeta, SceneObject
from models.errors import UserError
from models.types import Prediction, Span

OBJECT_COLOURS = ("#56b4e9", "#e69f00", "#cc79a7", "#f0e442", "#009e73", "#d55e00", "#ffffff")  # the player's
SIGNED = "violet (below 0) to orange (above 0)"  # the map "difference"


@dataclass(frozen=True)
class Shown:
    """What one policy did at the step: a prediction with its attention, or a map of an attribution method."""

    name: str
    digest: str  # of the checkpoint
    prediction: Prediction | None = None
    attribution: AttributionMap | None = None
    cameras: Mapping[str, str] | None = None  # the policy's name of a camera -> the episode's
    record: str = ""  # address
    tested: str = ""  # whether the attribution was found to be faithful, as a caption says it; "": not known

    def own(self, view: View, camera: str) -> View:
        """The view of the episode's ``camera`` with cameras named as the policy does."""
        names = {name: key for key, name in (self.cameras or {}).items()}
        ranked = names.get(view.ranked_camera, view.ranked_camera)
        return replace(view, camera=names.get(camera, camera), ranked_camera=ranked)


@dataclass(frozen=True)
class _Drawn:
    """A policy's row, and the values of the shown camera's patches; or why there are none."""

    who: Shown
    row: Row | None = None
    parts: tuple[Overlay, ...] = ()
    largest: float = 0.0  # over all cameras that the policy read
    why: str = ""
    tile: str = ""  # which of the camera's runs of patches is drawn alone


def figure_of(
    meta: EpisodeMeta,
    step: int,
    frames: Mapping[str, UInt8[np.ndarray, "H W 3"]],
    shown: Sequence[Shown],
    view: View,
    full: float | None = None,
    objects: Mapping[str, Sequence[SceneObject]] | None = None,
) -> Figure:
    """Frame and maps side by side; of two policies also the second's map minus the first's.

    ``frames`` and ``objects``: the step's, by camera. ``full``: the value of full colour; None: the step's largest.
    """
    camera = shown_camera(meta, shown, view)
    if camera not in frames:
        raise UserError(f"episode {meta.id!r} has no camera {camera!r}; it has {', '.join(frames)}")
    drawn = [_drawn(who, camera, meta, replace(view, camera=camera)) for who in shown]
    panels = [_panel(one, frames[camera], view, full) for one in drawn] or [Panel("", frames[camera])]
    if len(drawn) == 2:
        panels.append(_difference(drawn[0], drawn[1], frames[camera]))
    boxes = _objects((objects or {}).get(camera, ())) if view.objects else ()
    said = [_written_about(one.who, camera, meta) if view.marks else () for one in drawn]
    panels = [
        replace(panel, marks=(*boxes, *(said[number] if number < len(said) else ())))
        for number, panel in enumerate(panels)
    ]
    facts = _facts(meta, step, camera, drawn, view, panels)
    return Figure(
        panels=tuple(panels),
        caption=_caption(meta, step, camera, drawn, view, panels),
        colours=view.map,
        opacity=view.opacity,
        smooth=view.smooth,
        facts=facts,
        arrays=_arrays(drawn, panels),
    )


def largest_value(meta: EpisodeMeta, shown: Sequence[Shown], view: View) -> float:
    """The largest value on any image at a step: over an episode it is the scale that makes steps comparable."""
    camera = shown_camera(meta, shown, view)
    return max((_drawn(who, camera, meta, replace(view, camera=camera)).largest for who in shown), default=0.0)


def shown_camera(meta: EpisodeMeta, shown: Sequence[Shown], view: View) -> str:
    """The one that the view names, else the first that a policy sees."""
    if view.camera:
        return view.camera
    for who in shown:
        layout = who.prediction.layout if who.prediction else who.attribution.layout if who.attribution else None
        for span in image_spans(layout) if layout else ():
            if (name := _episode_camera(span, who, meta)) in meta.cameras:
                return name
    return meta.cameras[0]


def _episode_camera(span: Span, who: Shown, meta: EpisodeMeta) -> str:
    own = span.grid.camera if span.grid else span.name
    name = (who.cameras or {}).get(own, own)
    return name if name in meta.cameras or len(meta.cameras) > 1 else meta.cameras[0]


def _drawn(who: Shown, camera: str, meta: EpisodeMeta, view: View) -> _Drawn:
    try:
        if who.prediction is not None and view.depth:
            return _depth(who, who.prediction, camera, meta)
        row = row_of(who, view, camera)
    except UserError as error:
        return _Drawn(who, why=str(error))
    spans = image_spans(row.layout)
    own, tile = _tile([span for span in spans if _episode_camera(span, who, meta) == camera], view.tile)
    own.sort(key=lambda span: -_area(span))  # what covers more of the frame is drawn first
    parts = tuple(_overlay(span, row.values) for span in own)
    largest = max((float(np.abs(row.values[span.start : span.stop]).max()) for span in spans), default=0.0)
    why = "" if parts else f"the model does not see the camera {camera!r} as patches of a grid"
    return _Drawn(who, row, parts, largest, why, tile)


def _tile(own: list[Span], tile: int) -> tuple[list[Span], str]:
    """Of a camera that is read in several runs of patches: the one whose first patch has the number ``tile`` among the
    camera's, and its place in words; all of them where none has."""
    first = 0
    for span in own if len(own) > 1 else ():
        if first == tile and span.grid is not None:
            left, top, right, bottom = (f"{side:.0f}" for side in span.grid.box)
            return [span], f"only the part from {left}, {top} to {right}, {bottom} px"
        first += span.stop - span.start
    return own, ""


def row_of(who: Shown, view: View, camera: str) -> Row:
    """The row over the sequence that the view asks for. Raises UserError where there is none."""
    if who.attribution is not None:
        found = who.attribution
        settings = ", ".join(f"{name} {value}" for name, value in {**found.settings, **found.notes}.items())
        target = f"target: {found.target.text} ({found.target.scalar})"
        words = " · ".join(
            filter(None, (found.method, target, settings, *found.doubts, f"{found.forwards} forwards", who.tested))
        )
        return Row(found.scores, found.layout, words, share=False, signed=found.signed)
    if who.prediction is None:
        raise UserError("this step has not been run with this checkpoint yet")
    return attention_row(who.prediction, who.own(view, camera))


def _depth(who: Shown, prediction: Prediction, camera: str, meta: EpisodeMeta) -> _Drawn:
    for one in prediction.depth:
        if (who.cameras or {}).get(one.camera, one.camera) == camera or len(meta.cameras) == 1:
            near = np.nan_to_num(one.metres, nan=float(np.nanmax(one.metres)))
            row = Row(
                np.zeros(0), prediction.layout, "depth as the policy takes it to be, metres; near is bright", False
            )
            return _Drawn(who, row, (Overlay(near.max() - near, one.box),), float(np.ptp(near)))
    raise UserError(f"the policy told no depth of the camera {camera!r} at this step")


def _overlay(span: Span, values: np.ndarray) -> Overlay:
    assert span.grid is not None
    return Overlay(values[span.start : span.stop].reshape(span.grid.rows, span.grid.columns), span.grid.box)


def _area(span: Span) -> float:
    left, top, right, bottom = span.grid.box if span.grid else (0.0, 0.0, 0.0, 0.0)
    return (right - left) * (bottom - top)


def _panel(one: _Drawn, frame: np.ndarray, view: View, full: float | None) -> Panel:
    signed = one.row is not None and one.row.signed
    unit = "share" if one.row is not None and one.row.share else ""
    top = full if full is not None and full > 0 else one.largest
    return Panel(one.who.name, frame, one.parts, top, signed, unit, grey=signed, why=one.why)


def _objects(found: Sequence[SceneObject]) -> tuple[Mark, ...]:
    return tuple(
        Mark(one.name, one.box, OBJECT_COLOURS[number % len(OBJECT_COLOURS)])
        for number, one in enumerate(found)
        if one.box is not None
    )


def _written_about(who: Shown, camera: str, meta: EpisodeMeta) -> tuple[Mark, ...]:
    out = []
    for mark in who.prediction.marks if who.prediction else ():
        own = (who.cameras or {}).get(mark.camera, mark.camera)
        if (own == camera or own not in meta.cameras) and np.isfinite(mark.at).all():
            out.append(Mark(mark.name, mark.at))
    return tuple(out)


def _difference(first: _Drawn, second: _Drawn, frame: np.ndarray) -> Panel:
    title = f"{second.who.name} − {first.who.name}"
    shapes = [[part.values.shape for part in one.parts] for one in (first, second)]
    if not all(shapes) or shapes[0] != shapes[1]:
        why = first.why or second.why or "the two checkpoints cut the frame differently"
        return Panel(title, frame, grey=True, why=why)
    parts = tuple(Overlay(b.values - a.values, b.box) for a, b in zip(first.parts, second.parts, strict=True))
    full = max(float(np.abs(part.values).max()) for part in parts)
    unit = "share" if first.row and second.row and first.row.share and second.row.share else ""
    return Panel(title, frame, parts, full, signed=True, unit=unit, grey=True)


def _caption(
    meta: EpisodeMeta, step: int, camera: str, drawn: Sequence[_Drawn], view: View, panels: Sequence[Panel]
) -> tuple[str, ...]:
    lines = [
        f"Episode {meta.id} (digest {meta.digest}), step {step} of 0–{meta.length - 1} ({step / meta.fps:.2f} s), "
        f"camera {camera}: “{meta.instruction}”"
    ]
    for one in drawn:
        said = one.row.words if one.row is not None else one.why
        record = f", record {one.who.record}" if one.who.record else ""
        tile = f" · {one.tile}" if one.tile else ""
        lines.append(f"Model {one.who.name} (digest {one.who.digest}{record}): {said}{tile}")
    if any(panel.overlays for panel in panels):
        kind = "bilinear between patch centres" if view.smooth else "patches as they are"
        scaling = (
            "full colour is the largest patch of this step" if view.scale == "frame" else "one scale for the episode"
        )
        maps = dict.fromkeys(panel.map(view.map) for panel in panels if panel.overlays)
        colours = ", of differences ".join(SIGNED if name == "difference" else name for name in maps)
        lines.append(f"Colours {colours}, opacity {view.opacity:.0%}, {kind}; {scaling}.")
    lines.append(f"VLA Lens {__version__}")
    return tuple(lines)


def _facts(
    meta: EpisodeMeta, step: int, camera: str, drawn: Sequence[_Drawn], view: View, panels: Sequence[Panel]
) -> dict[str, object]:
    return {
        "episode": meta.id,
        "episode_digest": meta.digest,
        "step": step,
        "camera": camera,
        "instruction": meta.instruction,
        "models": [
            {
                "name": one.who.name,
                "digest": one.who.digest,
                "record": one.who.record,
                "method": one.row.words if one.row is not None else "",
                "attribution": _attributed(one.who),
                "why_not": one.why,
            }
            for one in drawn
        ],
        "settings": view.facts(attention=not any(one.who.attribution for one in drawn)),
        "colours": [panel.map(view.map) for panel in panels],
        "full_colour": [panel.full for panel in panels],
        "tool": f"VLA Lens {__version__}",
    }


def _attributed(who: Shown) -> dict[str, object] | None:
    """How the map of an attribution was made; None of attention."""
    found = who.attribution
    if found is None:
        return None
    return {
        "method": found.method,
        "settings": dict(found.settings),
        "target": found.target.text,
        "scalar": found.target.scalar,
        "signed": found.signed,
        "forwards": found.forwards,
        "convergence_delta": found.convergence_delta,
        "notes": dict(found.notes),
        "tested": who.tested,
    }


def _arrays(drawn: Sequence[_Drawn], panels: Sequence[Panel]) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for number, one in enumerate(drawn):
        if one.who.prediction is not None:
            out[f"model{number}_actions"] = np.asarray(one.who.prediction.actions)
            out[f"model{number}_action_names"] = np.array(one.who.prediction.action_names)
    for number, panel in enumerate(panels):
        for part, overlay in enumerate(panel.overlays):
            out[f"panel{number}_part{part}_values"] = np.asarray(overlay.values)
            out[f"panel{number}_part{part}_box"] = np.asarray(overlay.box)
    for number, one in enumerate(drawn):
        if one.row is not None and len(one.row.values):
            out[f"model{number}_row"] = np.asarray(one.row.values)
            out[f"model{number}_tokens"] = np.array(one.row.layout.tokens)
    return out
