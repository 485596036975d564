"""Robot values as tokens: bins of proprioception and actions, and the way back to robot units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from models.config_section import ConfigSection
from models.errors import UserError


@dataclass(frozen=True)
class StateTokens:
    """Proprioception as one token a value: ``round((v - low) / (high - low) * (bins - 1))``, clipped."""

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    bins: int
    first_token: str

    @staticmethod
    def read(section: ConfigSection) -> StateTokens:
        names = section.strings("names")
        low, high = section.numbers("low", len(names)), section.numbers("high", len(names))
        for name, bottom, top in zip(names, low, high, strict=True):
            if not bottom < top:
                raise UserError(f"{section.where}: {name} goes from {bottom} to {top}; low must be below high")
        return StateTokens(names, low, high, section.integer("bins", minimum=2), section.text("first_token"))

    def encode(self, state: Float[np.ndarray, " S"] | None) -> Int[np.ndarray, " S"]:
        """The bin of every value. Raises UserError for a state that is absent, of another length, or not finite."""
        if state is None:
            raise UserError(f"the policy reads {self._described}, and the observation has no state")
        values = np.asarray(state, dtype=np.float64)
        if values.shape != (len(self.names),):
            raise UserError(f"the policy reads {self._described}, the observation's state has shape {values.shape}")
        if not np.isfinite(values).all():
            wrong = [name for name, value in zip(self.names, values, strict=True) if not np.isfinite(value)]
            raise UserError(f"the observation's state is not finite in {', '.join(wrong)}")
        low, high = np.array(self.low), np.array(self.high)
        fraction = (values - low) / (high - low)
        return np.clip(np.round(fraction * (self.bins - 1)), 0, self.bins - 1).astype(np.int64)

    def decode(self, bins: Int[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
        """The values that the bins stand for, in the units of the data set."""
        low, high = np.array(self.low), np.array(self.high)
        return np.asarray(low + bins / (self.bins - 1) * (high - low))

    @property
    def _described(self) -> str:
        return f"{len(self.names)} state values ({', '.join(self.names)})"


@dataclass(frozen=True)
class ActionScale:
    """Un-normalising as OpenVLA does: ``x = 0.5 (a + 1) (q99 - q01) + q01`` where the mask is true, else ``a``."""

    q01: tuple[float, ...]
    q99: tuple[float, ...]
    mask: tuple[bool, ...]

    @staticmethod
    def read(section: ConfigSection, dimensions: int) -> ActionScale:
        mask = section.fields.get("mask") or [True] * dimensions
        is_list = isinstance(mask, list) and len(mask) == dimensions
        if not is_list or not all(isinstance(value, bool) for value in mask):
            raise UserError(f"{section.where}.mask is {mask!r}, expected {dimensions} times true or false")
        return ActionScale(section.numbers("q01", dimensions), section.numbers("q99", dimensions), tuple(mask))

    def to_robot(self, normalised: Float[np.ndarray, "*steps D"]) -> Float[np.ndarray, "*steps D"]:
        """Values in [-1, 1] to robot units."""
        q01, q99 = np.array(self.q01), np.array(self.q99)
        return np.where(np.array(self.mask), 0.5 * (normalised + 1) * (q99 - q01) + q01, normalised)

    def to_normalised(self, robot: Float[np.ndarray, "*steps D"]) -> Float[np.ndarray, "*steps D"]:
        """The way back from `to_robot`; a dimension that never changes (q01 = q99) becomes 0."""
        q01, q99 = np.array(self.q01), np.array(self.q99)
        span = np.where(q99 > q01, q99 - q01, 1.0)
        scaled = np.where(q99 > q01, 2 * (robot - q01) / span - 1, 0.0)
        return np.where(np.array(self.mask), scaled, robot)

    def limits(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What -1 and +1 stand for, per dimension."""
        ones = np.ones(len(self.mask))
        return tuple(self.to_robot(-ones).tolist()), tuple(self.to_robot(ones).tolist())


@dataclass(frozen=True)
class ActionTokens:
    """Actions as one token a dimension and step; bin ``b`` stands for ``-1 + 2 b / (bins - 1)``."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    chunk: int
    bins: int
    first_token: str
    begin: str

    @staticmethod
    def read(section: ConfigSection) -> ActionTokens:
        names, units = section.strings("names"), section.strings("units")
        if not names or len(units) != len(names):
            raise UserError(f"{section.where} has {len(names)} names and {len(units)} units; expected one unit a name")
        bins = section.integer("bins", minimum=2)
        chunk = section.integer("chunk", default=1)
        return ActionTokens(names, units, chunk, bins, section.text("first_token"), section.text("begin"))

    @property
    def count(self) -> int:
        """Action tokens of one prediction."""
        return self.chunk * len(self.names)

    def encode(self, actions: Float[np.ndarray, "T D"], scale: ActionScale) -> Int[np.ndarray, " n"]:
        """Bins of a chunk of actions in robot units, step by step: the nearest of `centres`, clipped to the ends."""
        share = (scale.to_normalised(np.asarray(actions, dtype=np.float64)) + 1) / 2
        return np.clip(np.round(share * (self.bins - 1)), 0, self.bins - 1).astype(np.int64).ravel()

    def centres(self, scale: ActionScale) -> Float[np.ndarray, "B D"]:
        """What every bin stands for in robot units, per dimension."""
        normalised = -1 + 2 * np.arange(self.bins) / (self.bins - 1)
        return scale.to_robot(np.repeat(normalised[:, None], len(self.names), axis=1))
