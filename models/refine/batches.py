"""Batches of a run: sample numbers in order, drawn and encoded where they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from models.refine.demonstrations import Demonstrations
from models.refine.examples import collate
from models.refine.learner import Learner, Taught
from models.refine.settings import TuneSettings


class Stream(Dataset):
    """Samples 0 to steps * batch. Item n depends on n and the seed alone, so that a resumed run goes on exactly."""

    def __init__(self, demonstrations: Demonstrations, learner: Learner, settings: TuneSettings) -> None:
        self._demonstrations, self._learner, self._settings = demonstrations, learner, settings

    def __len__(self) -> int:
        return self._settings.steps * self._settings.batch

    def __getitem__(self, number: int) -> tuple[int, Taught]:
        return number, self._learner.taught(self._demonstrations.draw(number), self._settings.order)


@dataclass(frozen=True)
class Collator:
    """Encoded samples to the tensors that the model and the loss take."""

    learner: Learner
    settings: TuneSettings

    def __call__(self, drawn: Sequence[tuple[int, Taught]]) -> dict[str, Any]:
        batch = collate([taught.example for _, taught in drawn], self.settings.order, self.learner.pad)
        read = batch.ids.clone()
        for row, (number, _) in zip(read, drawn, strict=True):
            self._disturb(row, number)
        return {
            **self.learner.inputs(read, batch.suffix, [taught for _, taught in drawn]),
            "targets": batch.targets,
            "is_action": batch.is_action,
            "is_reasoning": batch.is_reasoning,
        }

    def _disturb(self, row: Tensor, number: int) -> None:
        """Read a share of the action tokens as random bins: else the model copies earlier ones, blind to the image."""
        if not self.settings.noisy_actions:
            return
        rng = np.random.default_rng([self.settings.seed, 7, number])
        noisy = torch.from_numpy(rng.random(len(row)) < self.settings.noisy_actions)
        for ids in (kind.ids for kind in self.learner.action_ids):
            mine = noisy & (row >= ids.start) & (row < ids.stop)
            row[mine] = torch.from_numpy(rng.integers(ids.start, ids.stop, int(mine.sum())))
