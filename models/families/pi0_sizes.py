"""How large the parts of a π0 policy are, read from the shapes of its tensors. Imports neither torch nor transformers.

LeRobot's config.json only names published variants ("gemma_2b"), so the tensors are what tells. What leaves no trace in
a shape is how a width is divided among heads: transformers' own config.json says so, LeRobot's does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from models.checkpoint import TensorInfo
from models.errors import UserError
from models.families.pi0_places import ACTION_EXPERT, EMBEDDINGS, LANGUAGE_MODEL, PROJECTOR, VISION_TOWER, places

VISION_HEADS = 16  # of the published vision tower


@dataclass(frozen=True)
class HeadSizes:
    """What the configuration says about heads; None: nothing."""

    language_head_dim: int | None = None  # None: π0 has one key head, so the keys are as wide as a head
    expert_head_dim: int | None = None
    vision_heads: int | None = None


@dataclass(frozen=True)
class GemmaSizes:
    """One of the two transformers that look at each other's keys, layer by layer."""

    layers: int
    heads: int
    key_heads: int
    head_dim: int
    width: int
    hidden: int  # of the feed-forward layers


@dataclass(frozen=True)
class VisionSizes:
    layers: int
    heads: int
    width: int
    hidden: int
    image: int  # pixels a side
    patch: int


@dataclass(frozen=True)
class PI0Sizes:
    language: GemmaSizes
    expert: GemmaSizes
    vision: VisionSizes
    projection: int  # width of what the vision tower hands on
    vocabulary: int

    @staticmethod
    def read(stored: Mapping[str, TensorInfo], heads: HeadSizes, where: str) -> PI0Sizes:
        """Raises UserError that names a tensor that is missing or misshapen, or parts that do not fit each other."""
        known = places(stored)
        shapes = _Shapes({place: stored[name].shape for name, place in known.items()}, known, where)
        language = _gemma(shapes, LANGUAGE_MODEL, heads.language_head_dim)
        expert = _gemma(shapes, ACTION_EXPERT, heads.expert_head_dim)
        for what, one, other in (
            ("layers", language.layers, expert.layers),
            ("key heads", language.key_heads, expert.key_heads),
            ("numbers a head", language.head_dim, expert.head_dim),
        ):
            if one != other:
                raise UserError(
                    f"{where}: the language model has {one} {what}, the action expert {other}; expected as many"
                )
        projection, _ = shapes.matrix(f"{PROJECTOR}linear.weight")
        vocabulary, _ = shapes.matrix(EMBEDDINGS)
        return PI0Sizes(language, expert, _vision(shapes, heads.vision_heads), projection, vocabulary)


@dataclass(frozen=True)
class _Shapes:
    of: Mapping[str, tuple[int, ...]]  # by place in transformers' module
    known: Mapping[str, str]  # stored name -> place
    where: str

    def matrix(self, place: str) -> tuple[int, int]:
        rows, columns = self.axes(place, 2)
        return rows, columns

    def axes(self, place: str, count: int) -> tuple[int, ...]:
        if place not in self.of:
            raise UserError(f"{self.where}: the weights lack the tensor {place}, also by its other names")
        shape = self.of[place]
        if len(shape) != count or 0 in shape:
            name = next(name for name, known in self.known.items() if known == place)
            raise UserError(f"{self.where}: the tensor {name} has shape {list(shape)}, expected {count} axes")
        return shape

    def layers(self, prefix: str) -> int:
        numbers = [place.removeprefix(prefix).split(".")[0] for place in self.of if place.startswith(prefix)]
        return max((int(number) for number in numbers if number.isdecimal()), default=-1) + 1


def _gemma(shapes: _Shapes, prefix: str, head_dim: int | None) -> GemmaSizes:
    queries, width = shapes.matrix(f"{prefix}layers.0.self_attn.q_proj.weight")
    keys, _ = shapes.matrix(f"{prefix}layers.0.self_attn.k_proj.weight")
    hidden, _ = shapes.matrix(f"{prefix}layers.0.mlp.gate_proj.weight")
    size = head_dim if head_dim is not None else keys
    if queries % size or keys % size:
        raise UserError(
            f"{shapes.where}: {prefix}layers.0 has queries of {queries} and keys of {keys} numbers; expected multiples "
            f"of {size}, the size of a head"
        )
    return GemmaSizes(shapes.layers(f"{prefix}layers."), queries // size, keys // size, size, width, hidden)


def _vision(shapes: _Shapes, heads: int | None) -> VisionSizes:
    width, _, patch, _ = shapes.axes(f"{VISION_TOWER}embeddings.patch_embedding.weight", 4)
    patches, _ = shapes.matrix(f"{VISION_TOWER}embeddings.position_embedding.weight")
    hidden, _ = shapes.matrix(f"{VISION_TOWER}encoder.layers.0.mlp.fc1.weight")
    side, found = math.isqrt(patches), heads if heads is not None else VISION_HEADS
    if side * side != patches or width % found:
        raise UserError(
            f"{shapes.where}: the vision tower has {patches} patches and is {width} wide; expected a square number "
            f"and a multiple of its {found} heads{'' if heads else ' (no file tells; so many has the published one)'}"
        )
    return VisionSizes(shapes.layers(f"{VISION_TOWER}encoder.layers."), found, width, hidden, side * patch, patch)
