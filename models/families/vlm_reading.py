"""What a language model needs besides embeddings: token types of a two-way prefix, positions on an image's grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedModel

from models.families.vlm_pictures import Picture

Inputs = dict[str, Tensor]
Following = Callable[[int, int], Inputs]


class Reading(Protocol):
    def prompt(self, ids: Int[Tensor, "1 P"], pictures: Sequence[Picture]) -> tuple[Inputs, Following]:
        """Further inputs of the prompt, and those of ``count`` positions from ``start`` on."""
        ...


@runtime_checkable
class WholeReading(Reading, Protocol):
    """A reading that prompt and answer can be read with in one pass, from their embeddings alone."""

    def whole(self, prompt: int, length: int, device: torch.device) -> Inputs:
        """Further inputs of ``length`` positions, of which the first ``prompt`` are the prompt."""
        ...


class CausalReading:
    """Every token looks back only; positions count up."""

    def __init__(self, model: PreTrainedModel):
        pass

    def prompt(self, ids: Int[Tensor, "1 P"], pictures: Sequence[Picture]) -> tuple[Inputs, Following]:
        return {}, lambda start, count: {}

    def whole(self, prompt: int, length: int, device: torch.device) -> Inputs:
        return {}


class PrefixReading:
    """PaliGemma: the prompt looks both ways, what was generated only back."""

    def __init__(self, model: PreTrainedModel):
        pass

    def prompt(self, ids: Int[Tensor, "1 P"], pictures: Sequence[Picture]) -> tuple[Inputs, Following]:
        return {"token_type_ids": torch.zeros_like(ids)}, lambda start, count: {}

    def whole(self, prompt: int, length: int, device: torch.device) -> Inputs:
        suffix = torch.zeros((1, length), dtype=torch.long, device=device)
        suffix[:, prompt:] = 1
        return {"token_type_ids": suffix}


class GridReading:
    """Qwen2-VL: an image's tokens have a row and a column as positions, text after it continues from the larger.

    The positions are handed over with every forward: left to itself, the model keeps them on its module, where
    another thread's prompt would change them. They are not in the embeddings, so only `GridAt` is a WholeReading.
    """

    def __init__(self, model: PreTrainedModel):
        self._model, self._image = model, model.config.image_token_id

    def prompt(self, ids: Int[Tensor, "1 P"], pictures: Sequence[Picture]) -> tuple[Inputs, Following]:
        grids = torch.cat([picture.inputs["image_grid_thw"] for picture in pictures]).to(ids.device)
        kinds = (ids == self._image).int()
        positions, shift = self._model.model.get_rope_index(ids, mm_token_type_ids=kinds, image_grid_thw=grids)
        offset, device = int(shift[0, 0]), ids.device

        def following(start: int, count: int) -> Inputs:
            along = torch.arange(start + offset, start + offset + count, device=device)
            return {"position_ids": along.expand(3, 1, count)}

        return {"position_ids": positions}, following


class GridAt:
    """A `GridReading` bound to one prompt: any embeddings of its length are read on its grid."""

    def __init__(self, reading: GridReading, ids: Int[Tensor, "1 P"], pictures: Sequence[Picture]):
        self._reading = reading
        inputs, self._following = reading.prompt(ids, pictures)
        self._positions = inputs["position_ids"]

    def prompt(self, ids: Int[Tensor, "1 P"], pictures: Sequence[Picture]) -> tuple[Inputs, Following]:
        return self._reading.prompt(ids, pictures)

    def whole(self, prompt: int, length: int, device: torch.device) -> Inputs:
        """Raises ValueError for a prompt of another length."""
        if prompt != (own := self._positions.shape[2]):
            raise ValueError(f"a prompt of {prompt} positions is read by the grid of one of {own}")
        after = self._following(prompt, length - prompt)["position_ids"]
        return {"position_ids": torch.cat([self._positions, after], dim=2).to(device)}
