"""How OpenVLA-OFT scales actions and proprioception, and how long its chunk is: by robot platform. Imports no torch.

None of this stands in a checkpoint. The published code (prismatic/vla/constants.py) knows three platforms and takes the
one that its command line names; here the data set's key tells it, which has the same names in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.config_section import ConfigSection
from models.errors import UserError

EPSILON = 1e-8  # keeps a value that never changed from dividing by zero


@dataclass(frozen=True)
class Platform:
    """A robot's constants in the published code."""

    word: str  # in the data set's key
    chunk: int  # steps predicted at once
    limits: tuple[str, str]  # statistics that -1 and +1 stand for


PLATFORMS = (
    Platform("libero", 8, ("q01", "q99")),
    Platform("aloha", 25, ("min", "max")),
    Platform("bridge", 5, ("q01", "q99")),
)


def platform(key: str) -> Platform | None:
    """The platform of a data set; None where its key names none."""
    return next((each for each in PLATFORMS if each.word in key.lower()), None)


def assumed(key: str) -> Platform:
    """The same; where the key names none LIBERO, as in the published code."""
    return platform(key) or PLATFORMS[0]


@dataclass(frozen=True)
class Scaling:
    """Values of a data set to [-1, 1] and back, in their order; those outside the mask are left as they are."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    mask: tuple[bool, ...]

    @staticmethod
    def read(section: ConfigSection, limits: tuple[str, str], size: int) -> Scaling:
        """``section``: statistics of actions or proprioception; ``size``: how many values the network has of them.

        Raises UserError for statistics that are missing or of another length.
        """
        mask = section.fields.get("mask") or [True] * size
        if len(mask) != size or not all(isinstance(value, bool) for value in mask):
            raise UserError(f"{section.where}.mask is {mask!r}, expected {size} times true or false")
        return Scaling(section.numbers(limits[0], size), section.numbers(limits[1], size), tuple(mask))

    def normalise(self, values: Float[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
        """Data-set units to [-1, 1]; what is outside, also of an unmasked value, is clipped."""
        low, high = np.array(self.low), np.array(self.high)
        scaled = 2 * (values - low) / (high - low + EPSILON) - 1
        return np.clip(np.where(np.array(self.mask), scaled, values), -1.0, 1.0)

    def restore(self, values: Float[np.ndarray, "*steps D"]) -> Float[np.ndarray, "*steps D"]:
        """Values in [-1, 1] to data-set units."""
        low, high = np.array(self.low), np.array(self.high)
        return np.where(np.array(self.mask), 0.5 * (values + 1) * (high - low + EPSILON) + low, values)

    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What -1 and +1 stand for, per value."""
        ones = np.ones(len(self.mask))
        return tuple(self.restore(-ones).tolist()), tuple(self.restore(ones).tolist())
