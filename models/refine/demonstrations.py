"""What a policy learns from: moments with what was done, and why. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float

from models.types import Observation, Rationale


@dataclass(frozen=True)
class Demonstration:
    """One moment."""

    observation: Observation
    actions: Float[np.ndarray, "T D"]  # robot units: what was done from this moment on, as many steps as a chunk has
    rationale: Rationale | None


class Demonstrations(Protocol):
    """An endless stream of demonstrations that anybody can start anywhere."""

    def draw(self, number: int) -> Demonstration:
        """Sample ``number`` of the run. The same number always gives the same demonstration, in every process."""
        ...
