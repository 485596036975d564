"""A policy that draws what it says instead of taking the likeliest, so that two copies of one model can be compared."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import torch

from models.errors import UserError
from models.policy import Policy
from models.sampling import Sampling, drawing
from models.types import Capture, CheckpointSpec, Observation, Prediction, Rationale, TokenLayout


class Sampled:
    """Draws tokens at ``temperature``; a policy that denoises its actions starts from other noise instead.

    What is drawn follows from ``seed`` and the observation alone, so that a step has one answer a seed. A forced
    rationale is said as it is. Everything else is the policy's own.
    """

    def __init__(self, policy: Policy, temperature: float, seed: int):
        """Raises UserError for a temperature that is not positive."""
        if not temperature > 0:
            raise UserError(f"the temperature is {temperature:g}; sampling needs one above 0")
        self._policy, self._temperature, self._seed = policy, temperature, seed

    @property
    def info(self) -> CheckpointSpec:
        own = self._policy.info
        return replace(own, name=f"{own.name}, drawn at temperature {self._temperature:g}, seed {self._seed}")

    def layout(self, observation: Observation) -> TokenLayout:
        return self._policy.layout(observation)

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        draw = torch.Generator().manual_seed(_seed(self._seed, observation))
        with drawing(Sampling(self._temperature, draw)):
            return self._policy.predict(observation, capture, force)

    def __getattr__(self, name: str) -> Any:
        """Capabilities such as scoring batches or reading layers are those of the policy."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._policy, name)


def _seed(seed: int, observation: Observation) -> int:
    digest = hashlib.sha256(f"{seed} {observation.instruction}".encode())
    for camera, frame in observation.images.items():
        digest.update(camera.encode() + frame.tobytes())
    if observation.state is not None:
        digest.update(observation.state.tobytes())
    return int.from_bytes(digest.digest()[:7], "big")
