"""What a fine-tuning run is asked to do: plain values, checked before any weight is read. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from models.errors import UserError


class Order(StrEnum):
    """Where the rationale stands in what the policy is taught to write."""

    REASON_FIRST = "rationale first"
    ACT_FIRST = "action first"
    ACT_ONLY = "action only"


class Mode(StrEnum):
    """Which weights train."""

    SELECTIVE = "selective"  # the upper decoder layers and the head
    FULL = "full"
    LORA = "lora"  # low-rank changes of the decoder layers that are not frozen


@dataclass(frozen=True)
class TuneSettings:
    """One run. The defaults are ReFineVLA's objective and its selective transfer, with two frozen layers."""

    reasoning_weight: float = 0.3  # lambda of L = L_action + lambda * L_reasoning
    order: Order = Order.REASON_FIRST
    mode: Mode = Mode.SELECTIVE
    frozen_layers: int = 2  # lower decoder layers that stay as they are
    train_vision: bool = False  # vision tower and projector
    train_embeddings: bool = False  # of input words; the head trains in any case
    lora_rank: int = 16
    lora_alpha: int = 32
    steps: int = 1000  # of the optimizer
    batch: int = 32  # examples a step, over all processes
    accumulate: int = 1  # forwards a step, to save memory
    learning_rate: float = 1e-4
    warm_up: int = 80  # steps
    final_rate: float = 0.02  # share of the learning rate at the end of the cosine
    weight_decay: float = 0.02
    clip: float = 1.0  # of the gradient's norm
    soft_bins: float = 0.0  # standard deviation, in bins, of soft action labels; 0: the one right bin
    noisy_actions: float = 0.0  # share of the teacher-forced action tokens that are read as random bins
    seed: int = 0
    precision: str = "float32"  # or bfloat16: of the forward, the weights stay float32
    save_every: int = 100  # steps
    log_every: int = 10  # steps

    def __post_init__(self) -> None:
        """Raises UserError for a value that makes no sense."""
        if not (math.isfinite(self.reasoning_weight) and self.reasoning_weight >= 0):
            raise UserError(
                f"the weight of the reasoning loss (lambda) is {self.reasoning_weight}; it must be 0 or more"
            )
        if self.frozen_layers < 0:
            raise UserError(f"{self.frozen_layers} decoder layers are to be frozen; it must be 0 or more")
        for name in ("lora_rank", "steps", "batch", "accumulate", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        for name in ("learning_rate", "clip", "lora_alpha"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} is {getattr(self, name)}; it must be above 0 and finite")
        for name in ("final_rate", "noisy_actions"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}; it is a share, from 0 to 1")
        for name in ("warm_up", "weight_decay", "soft_bins", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"{name} is {getattr(self, name)}; it must be 0 or more and finite")
        if self.precision not in ("float32", "bfloat16"):
            raise UserError(f"precision is {self.precision!r}; use float32 or bfloat16")
        if self.mode is Mode.FULL and self.frozen_layers:
            raise UserError(
                f"full fine-tuning freezes nothing, but {self.frozen_layers} layers are to be frozen; use 0"
            )
        if self.mode is Mode.LORA and (self.train_vision or self.train_embeddings):
            raise UserError(
                "LoRA changes decoder layers alone, but vision or embeddings are to be trained too; use the mode "
                f"{str(Mode.SELECTIVE)!r} or {str(Mode.FULL)!r}"
            )
        if self.batch % self.accumulate:
            raise UserError(f"a batch of {self.batch} cannot be cut into {self.accumulate} equal forwards")

    def as_json(self) -> dict[str, Any]:
        return {key: str(value) if isinstance(value, StrEnum) else value for key, value in asdict(self).items()}

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> TuneSettings:
        """The way back from `as_json`. Raises UserError for a field or a choice that is not known."""
        known = TuneSettings.__dataclass_fields__
        if unknown := stored.keys() - known.keys():
            raise UserError(f"training settings have the unknown field {min(unknown)!r}; they know {', '.join(known)}")
        return TuneSettings(
            **{
                **stored,
                "order": choice(Order, stored.get("order", Order.REASON_FIRST), "order"),
                "mode": choice(Mode, stored.get("mode", Mode.SELECTIVE), "mode"),
            }
        )


def choice(kind: type[Any], value: str, what: str) -> Any:
    """``value`` as one of an enumeration. Raises UserError that lists them."""
    try:
        return kind(value)
    except ValueError:
        raise UserError(f"{what} is {value!r}; use one of {', '.join(repr(str(each)) for each in kind)}") from None
