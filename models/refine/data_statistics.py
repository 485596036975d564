"""Statistics of the actions that a policy learns from, as they go into its checkpoint. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from models.action_tokens import ActionScale


@dataclass(frozen=True)
class DataStatistics:
    """Of every action dimension, in robot units."""

    name: str  # key in the checkpoint
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    q01: tuple[float, ...]  # 1st and 99th percentile; least and greatest where there are two values at most
    q99: tuple[float, ...]
    transitions: int
    trajectories: int

    @staticmethod
    def of(name: str, episodes: Sequence[Float[np.ndarray, "_ D"]]) -> DataStatistics:
        """``episodes``: actions of each."""
        actions = np.concatenate([np.asarray(each, dtype=np.float64) for each in episodes])
        least, most = actions.min(axis=0), actions.max(axis=0)
        low, high = np.quantile(actions, 0.01, axis=0), np.quantile(actions, 0.99, axis=0)
        two = np.array([len(np.unique(column)) <= 2 for column in actions.T])
        return DataStatistics(
            name=name,
            mean=tuple(actions.mean(axis=0).tolist()),
            std=tuple(actions.std(axis=0).tolist()),
            low=tuple(least.tolist()),
            high=tuple(most.tolist()),
            q01=tuple(np.where(two, least, low).tolist()),
            q99=tuple(np.where(two, most, high).tolist()),
            transitions=len(actions),
            trajectories=len(episodes),
        )

    @property
    def scale(self) -> ActionScale:
        """From the 1st to the 99th percentile to [-1, 1], every dimension."""
        return ActionScale(self.q01, self.q99, (True,) * len(self.q01))

    def as_json(self, scale: ActionScale) -> dict[str, Any]:
        """An entry of ``norm_stats`` as OpenVLA and SpatialVLA write it; ``scale`` is what the policy learned with."""
        action = {"mean": self.mean, "std": self.std, "max": self.high, "min": self.low}
        scaled = {"q01": scale.q01, "q99": scale.q99, "mask": scale.mask}
        return {
            "action": {key: list(values) for key, values in (action | scaled).items()},
            "num_transitions": self.transitions,
            "num_trajectories": self.trajectories,
        }
