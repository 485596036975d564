"""What one map says about the things that an instruction names: the same numbers for attention and significance."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from analysis.evidence.moment import Covered, Moment
from analysis.evidence.probe import Values
from analysis.metrics.grounding import entropy, in_object, nuisance_mass_ratio, pointing, top_patches
from models.types import Part

TOP = 0.1  # of the patches: k of NMR@k


def grounding_values(kind: str, moment: Moment, maps: dict[str, Float[np.ndarray, "R C"]]) -> Values:
    """Of the maps of each camera (the policy's names), averaged over cameras on which a named thing has a place.

    ``{kind} in object``: share inside - area share, so 0 is chance; ``... ratio``: share / area; ``... hit``: pointing
    minus its chance; ``... nmr``: NMR@10 % of the patches, the robot counts as task; ``... entropy``.
    """
    found: list[Values] = []
    for camera, map in maps.items():
        covered = moment.covered(camera)
        if covered is not None and map.shape == covered.named.shape:
            found.append(_one(kind, np.maximum(map, 0.0), covered))
    names = (*(f"{kind} {name}" for name in ("in object", "in object ratio", "hit", "nmr")), "named area")
    merged = {name: _mean([values[name] for values in found]) for name in names}
    return merged | {f"{kind} entropy": _mean([entropy(np.maximum(map, 0.0)) for map in maps.values()])}


def single_images(moment: Moment) -> tuple[str, ...]:
    """Cameras whose image is one grid of patches."""
    spans = (span.name for span in moment.answer.layout.spans if span.part is Part.IMAGE)
    return tuple(camera for camera in dict.fromkeys(spans) if moment.grid(camera) is not None)


def _one(kind: str, map: Float[np.ndarray, "R C"], covered: Covered) -> Values:
    inside = in_object(map, covered.named, covered.visible)
    points = pointing(map, covered.named)
    return {
        "named area": inside.area,
        f"{kind} in object": inside.advantage,
        f"{kind} in object ratio": inside.ratio,
        f"{kind} hit": points.hit - points.chance,
        f"{kind} nmr": nuisance_mass_ratio(map, covered.with_robot, top_patches(TOP, map.size)),
    }


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
