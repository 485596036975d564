"""Maps over patches of one image, by the name of the method that makes them. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from analysis.attribution.method import AttributionMethod
from analysis.attribution.registry import METHODS, method_class
from analysis.attribution.settings import with_settings
from analysis.attribution.target import Target
from analysis.evidence.moment import Moment
from analysis.evidence.on_image import single_images
from analysis.evidence.probes.attention import attention_maps
from analysis.records import Setting
from models.errors import UserError
from models.policy import Policy

MEAN_ATTENTION = "mean attention"  # over all layers, heads and action tokens, the sink left out
ISS = "iss"
MOVING = (ISS, "occlusion", "ablation", "shapley")  # measure how far an action moves


def maps_of(
    method: str, settings: Mapping[str, Setting], moment: Moment, policy: Policy | None = None
) -> dict[str, Float[np.ndarray, "R C"]]:
    """What ``method`` says about each image (the policy's camera names), never negative: signed maps by their size.

    Of the whole action. ``policy``: another one than the moment's, which then answers for itself.
    Raises UserError for a method or a setting that is not there.
    """
    asked = moment if policy is None else replace(moment, policy=policy)
    if method == MEAN_ATTENTION:
        return attention_maps(asked)
    own = with_settings(method_class(method), settings)
    if (why := own.why_not(asked.policy)) is not None:
        raise UserError(why)
    found = own(asked.policy, asked.observation, _target(own, asked), prediction=asked.answer)
    return {camera: np.abs(found.image(camera)) for camera in single_images(asked)}


def _target(method: AttributionMethod, moment: Moment) -> Target:
    """The whole action: how far it moves for methods that change the input, else the log-probability of its tokens."""
    moves = method.name in MOVING or not moment.answer.action_distribution
    return Target(scalar="action" if moves else "log-probability")


def known_methods() -> tuple[str, ...]:
    return (MEAN_ATTENTION, *METHODS)
