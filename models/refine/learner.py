"""A checkpoint that can be taught: what training asks of one, whatever its family, each of which has its own file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor

from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.refine.data_statistics import DataStatistics
from models.refine.demonstrations import Demonstration
from models.refine.examples import Example
from models.refine.selective_transfer import Parts
from models.refine.settings import Order
from models.refine.soft_labels import ActionIds
from models.refine.trainable import LEARNERS
from models.registry import function
from models.types import Rationale


@dataclass(frozen=True)
class Taught:
    """One demonstration as the model reads and writes it."""

    example: Example
    pixels: tuple[Float[np.ndarray, "3 h w"], ...]  # the image, as each vision tower sees it


class Learner(Protocol):
    """Everything about a checkpoint that training needs. Weights are float32, on the CPU; the trainer moves them."""

    @property
    def files(self) -> CheckpointFiles: ...

    @property
    def model(self) -> torch.nn.Module:
        """What trains. Its forward takes `inputs`, ``use_cache`` and ``logits_to_keep`` (at the end), gives logits."""
        ...

    @property
    def parts(self) -> Parts: ...

    @property
    def action_ids(self) -> tuple[ActionIds, ...]:
        """Ids that stand for actions; noise and soft labels keep to those of one kind."""
        ...

    @property
    def pad(self) -> int:
        """Id that fills a batch up at its end, where nobody looks."""
        ...

    def words(self, rationale: Rationale, order: Order) -> list[int]:
        """The ids that say it. Raises UserError for one that the policy cannot write."""
        ...

    def unknown(self, rationale: Rationale) -> tuple[str, ...]:
        """Its words that the tokenizer does not know and reads as one and the same token."""
        ...

    def allowing(self, tokens: int) -> Self:
        """The same, whose policy may write ``tokens`` tokens of rationale."""
        ...

    def check(self, shown: Demonstration, order: Order) -> None:
        """Whether a demonstration can be learned at all. Raises UserError where it cannot."""
        ...

    def taught(self, shown: Demonstration, order: Order) -> Taught:
        """Raises UserError for a demonstration that the policy cannot read or write."""
        ...

    def inputs(self, ids: Int[Tensor, "B S"], suffix: Int[Tensor, "B S"], taught: Sequence[Taught]) -> dict[str, Any]:
        """What the model's forward takes. ``suffix`` is 0 over the prompt, 1 after it; see `examples.Batch`."""
        ...

    def write_weights(self, model: torch.nn.Module, folder: Path, dtype: torch.dtype) -> None:
        """``model`` as the checkpoint's own files hold it: names, what shares its weights, shards."""
        ...

    def descriptions(self, settings: Mapping[str, Any], name: str, dtype: str) -> Mapping[str, Mapping[str, Any]]:
        """Files of JSON that are not as the base has them, by name; ``settings`` are the run's, to be kept in one."""
        ...


def open_learner(
    files: CheckpointFiles,
    family: str,
    order: Order,
    *,
    action_stats: str | None = None,
    own: DataStatistics | None = None,
) -> Learner:
    """The learner of a checkpoint of ``family``.

    Args:
        order: a rationale's place, which the policy will keep.
        action_stats: data set whose statistics scale the actions, where there are several.
        own: statistics of the data that it learns from, in place of the checkpoint's.

    Raises:
        UserError: a checkpoint that cannot be taught here, or that lacks what it would need.
    """
    opened: Learner = function(LEARNERS[family])(files, order, action_stats=action_stats, own=own)
    return opened


def only_camera(shown: Demonstration) -> str:
    """Raises UserError for a demonstration with other than one image."""
    if len(shown.observation.images) != 1:
        found = ", ".join(shown.observation.images) or "none"
        raise UserError(f"the policy reads one image, the demonstration has {found}; choose one camera")
    return next(iter(shown.observation.images))


def check_actions(actions: Float[np.ndarray, "T D"], chunk: int, dimensions: int) -> None:
    """Raises UserError for actions of another shape, or that are not finite."""
    if np.shape(actions) != (chunk, dimensions):
        raise UserError(f"the policy predicts {chunk} x {dimensions} values, the data have {np.shape(actions)}")
    if not np.isfinite(actions).all():
        raise UserError("the data have an action that is not finite")


def check_words(ids: Sequence[int], longest: int, rationale: Rationale) -> None:
    """Raises UserError for a rationale of more tokens than the policy may write."""
    if len(ids) > longest:
        raise UserError(
            f"a rationale of steps [{rationale.start}, {rationale.stop}) has {len(ids)} tokens, the policy may "
            f"write {longest}; allow more (--max-tokens), or shorten it"
        )


def unknown_words(tokenizer: Tokenizer, text: str) -> tuple[str, ...]:
    """Words of ``text``, in their order, for which the tokenizer has but the token of what it does not know."""
    name = getattr(tokenizer.model, "unk_token", None)  # subword tokenizers may have none
    unknown = tokenizer.token_to_id(name) if name else None
    read = tokenizer.encode(text, add_special_tokens=False)
    return tuple(
        text[start:stop] for token, (start, stop) in zip(read.ids, read.offsets, strict=True) if token == unknown
    )


def check_positions(needed: int, positions: int, files: CheckpointFiles) -> None:
    """Raises UserError where a sequence of ``needed`` positions is more than the policy has."""
    if needed > positions:
        raise UserError(
            f"prompt, rationale and actions take up to {needed} positions, {files.folder} has {positions}; "
            "use shorter rationales, or allow fewer tokens of one (--max-tokens)"
        )
