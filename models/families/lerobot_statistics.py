"""Statistics of a LeRobot policy's training data, and the scaling of states, images and actions that they define.

Formulas as published in lerobot's normalize_processor.py (eps only keeps a constant dimension from dividing by zero).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from models.checkpoint import TensorInfo
from models.errors import UserError

NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}
IDENTITY, MEAN_STD = "IDENTITY", "MEAN_STD"
LIMITS = {"MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}
MODES = (IDENTITY, MEAN_STD, *LIMITS)


@dataclass(frozen=True)
class Scaling:
    """How one feature is scaled. Without statistics it is left as it is, whatever the mode: so does LeRobot."""

    mode: str = IDENTITY  # one of MODES
    statistics: Mapping[str, Float[np.ndarray, "..."]] = field(default_factory=dict)
    eps: float = 1e-8

    @property
    def changes(self) -> bool:
        return self.mode != IDENTITY and bool(self.statistics)

    def normalise(self, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Robot units (or pixels in [0, 1], channels first) to what the network reads, float32."""
        values = np.asarray(values, np.float32)
        if not self.changes:
            return values
        if self.mode == MEAN_STD:
            return (values - self._of("mean")) / (self._of("std") + np.float32(self.eps))
        low, width = self._range()
        return np.float32(2) * (values - low) / width - np.float32(1)

    def restore(self, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """What the network wrote to robot units, float32."""
        values = np.asarray(values, np.float32)
        if not self.changes:
            return values
        if self.mode == MEAN_STD:
            return values * self._of("std") + self._of("mean")
        low, width = self._range()
        return (values + np.float32(1)) / np.float32(2) * width + low

    def bounds(self) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]] | None:
        """The range that the statistics tell of, in robot units: limits, quantiles, or three standard deviations."""
        if not self.changes:
            return None
        if {"min", "max"} <= self.statistics.keys():
            return self._of("min"), self._of("max")
        if self.mode == MEAN_STD:
            return self._of("mean") - 3 * self._of("std"), self._of("mean") + 3 * self._of("std")
        return self._of(LIMITS[self.mode][0]), self._of(LIMITS[self.mode][1])

    def check(self, feature: str, shape: tuple[int, ...], where: str) -> Scaling:
        """Itself. Raises UserError for a mode that is not known, or statistics that are missing or misshapen."""
        if self.mode not in MODES:
            raise UserError(f"{where}: {feature} is normalised by {self.mode!r}; known are {', '.join(MODES)}")
        if self.changes:
            for name in ("mean", "std") if self.mode == MEAN_STD else LIMITS[self.mode]:
                if name not in self.statistics:
                    found = ", ".join(sorted(self.statistics))
                    raise UserError(f"{where}: {self.mode} of {feature} needs the statistic {name!r}, found {found}")
                found_shape = self.statistics[name].shape
                if found_shape not in (shape, (1,), ()):
                    raise UserError(
                        f"{where}: the statistic {name!r} of {feature} has shape {list(found_shape)}, "
                        f"expected {list(shape)}"
                    )
        return self

    def _of(self, name: str) -> Float[np.ndarray, "..."]:
        return np.asarray(self.statistics[name], np.float32)

    def _range(self) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
        low, high = (self._of(name) for name in LIMITS[self.mode])
        width = high - low
        return low, np.where(width == 0, np.float32(self.eps), width)


def read_statistic(info: TensorInfo) -> Float[np.ndarray, "..."]:
    """One small tensor as float32. Raises UserError for a number type that is not supported."""
    kind = NUMPY.get(info.dtype)
    if kind is None:
        raise UserError(
            f"{info.file}: the statistic {info.name} is stored as {info.dtype}; known are {', '.join(NUMPY)}"
        )
    raw = np.fromfile(info.file, dtype=kind, count=info.size, offset=info.start)
    if info.dtype == "BF16":  # the upper half of a float32
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32).reshape(info.shape)
