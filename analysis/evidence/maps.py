"""Maps over patches at one step, made as they are asked for. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.features import Feature, windows
from analysis.attribution.registry import method_class
from analysis.attribution.settings import choices, with_settings
from analysis.attribution.target import SCALARS, Target
from analysis.evidence.aim import Aim, aim_of_rows, aim_of_target, target_of
from analysis.evidence.asked_map import AskedMap
from analysis.evidence.moment import Moment
from analysis.pictures.rows import asked_rows, attention_row
from analysis.records import Setting
from models.errors import UserError
from models.types import Capture, Part, TokenLayout

EVERY_ROW = Capture(queries=tuple(Part), prefix=True)


@dataclass(frozen=True)
class Patches:
    """What a map gives the patches of all images, in one order; never negative: signed maps by their size."""

    features: tuple[Feature, ...]
    values: Float[np.ndarray, " P"]
    aim: Aim  # what the map is about


def patches_of(asked: AskedMap, moment: Moment, seed: int = 0) -> Patches | None:
    """None where the policy did not say at this step what the map is about.

    ``seed``: of what a method draws. Raises UserError where the map cannot be made.
    """
    if (why := asked.why_not(moment.policy)) is not None:
        raise UserError(why)
    return _attended(asked, moment) if asked.attends else _attributed(asked, moment, seed)


def explained(
    method: str, settings: Mapping[str, Setting], moment: Moment, target: Target, seed: int = 0
) -> AttributionMap:
    """An attribution, made once for a moment. What it draws is drawn anew at every step: chance must not add up.

    Raises UserError for a method or a setting that is not there, and where it cannot explain the target.
    """
    seeded = any(choice.name == "seed" for choice in choices(method_class(method)))
    drawn: dict[str, Setting] = {"seed": moment.seed(seed)} if seeded else {}
    own = with_settings(method_class(method), {**settings, **drawn})
    return moment.once(
        (own, target),
        lambda: own(
            moment.policy,
            moment.observation,
            target,
            prediction=moment.answer,
            progress=lambda done, total: moment.still(),
        ),
    )


def _attended(asked: AskedMap, moment: Moment) -> Patches | None:
    view = asked.view
    vision = view.stream.startswith("vision")
    every = view.reduce == "rollout" or view.stream or asked.held.get("rows") == "all"
    said = moment.answered(replace(EVERY_ROW, vision=vision) if every else Capture())
    try:
        record, query = asked_rows(said, view)
    except UserError:
        return None
    row = attention_row(said, view)
    aim = aim_of_rows(said, [record.produced[place] for place in query.rows])
    return _on_patches(moment, row.layout, row.values, aim)


def _attributed(asked: AskedMap, moment: Moment, seed: int) -> Patches | None:
    scalar = next(each for each in SCALARS if each == asked.scalar)
    try:
        target = target_of(moment.answer, asked.query, scalar)
    except UserError:
        return None
    found = explained(asked.method, asked.held, moment, target, seed)
    return _on_patches(moment, found.layout, found.scores, aim_of_target(moment.answer, target))


def _on_patches(moment: Moment, layout: TokenLayout, scores: Float[np.ndarray, " K"], aim: Aim) -> Patches:
    """A patch of an image that is read in tiles has the sum of all positions on it."""
    features = windows(moment.observation, layout, None, 1, 1)
    values = [np.abs(scores[list(feature.positions)]).sum() for feature in features]
    return Patches(features, np.array(values, np.float64), aim)
