"""Maps over patches of one image, by the name of the method that makes them. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from analysis.attribution.registry import METHODS, method_class
from analysis.attribution.settings import with_settings
from analysis.attribution.target import Target
from analysis.evidence.moment import Moment
from analysis.evidence.on_image import single_images
from analysis.evidence.probes.attention import attention_maps
from analysis.records import Setting
from models.policy import Policy

MEAN_ATTENTION = "mean attention"  # over all layers, heads and action tokens, the sink left out
ISS = "iss"


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
    found = own(asked.policy, asked.observation, Target(), prediction=asked.answer)
    return {camera: np.abs(found.image(camera)) for camera in single_images(asked)}


def known_methods() -> tuple[str, ...]:
    return (MEAN_ATTENTION, *METHODS)
