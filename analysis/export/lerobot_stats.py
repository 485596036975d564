"""The statistics that LeRobot's policies normalise with: of one episode, and of all by their counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
PIXELS = 100_000  # at most about so many of a picture take part
Stats = dict[str, np.ndarray]  # "min", "max", "mean", "std", "count", and quantiles


def of_rows(values: Float[np.ndarray, "T C"]) -> Stats:
    """Per column; ``count`` is [T]."""
    quantiles = dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values()), axis=0), strict=True))
    ends = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    return ends | {"count": np.array([len(values)])} | quantiles


def of_images(images: Sequence[UInt8[np.ndarray, "H W 3"]]) -> Stats:
    """Per channel in 0 to 1, shape [3, 1, 1]; ``count`` is the number of images."""
    stride = [max(1, math.ceil(math.sqrt(image.shape[0] * image.shape[1] / PIXELS))) for image in images]
    rows = [image[::step, ::step].reshape(-1, 3) for image, step in zip(images, stride, strict=True)]
    found = of_rows(np.concatenate(rows).astype(np.float64) / 255)
    shaped = {name: value.reshape(3, 1, 1) for name, value in found.items() if name != "count"}
    return shaped | {"count": np.array([len(images)])}


@dataclass
class RunningStats:
    """All episodes so far: exact but for quantiles, which are the mean of the episodes' own by their counts."""

    count: int = 0
    _sums: dict[str, np.ndarray] = field(default_factory=dict)
    _ends: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, one: Stats) -> None:
        count = int(one["count"][0])
        terms = {name: one[name] * count for name in ("mean", *QUANTILES)}
        terms["squares"] = (one["std"] ** 2 + one["mean"] ** 2) * count
        self._sums = {name: self._sums.get(name, 0.0) + term for name, term in terms.items()}
        self._ends["min"] = np.minimum(self._ends.get("min", one["min"]), one["min"])
        self._ends["max"] = np.maximum(self._ends.get("max", one["max"]), one["max"])
        self.count += count

    def result(self) -> Stats:
        means = {name: total / self.count for name, total in self._sums.items()}
        std = np.sqrt(np.maximum(means.pop("squares") - means["mean"] ** 2, 0.0))
        return dict(self._ends) | means | {"std": std, "count": np.array([self.count])}
