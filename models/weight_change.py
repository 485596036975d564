"""What fine-tuning changed: relative change of the weights, layer by layer, streamed from the files without a model.

Where a layer and all below it did not change, its attention cannot differ for the same input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.adapter import Adapter, Change
from models.checkpoint import TensorInfo
from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.tensor_names import Place, canonical, place

STREAMS = (
    "vision",
    "depth",
    "projector",
    "embeddings",
    "language",
    "head",
    "action expert",
    "other",
)  # in the order data flows
HEAD, EMBEDDINGS = "lm_head.weight", "language_model.embed_tokens.weight"  # canonical names
BLOCK = 1 << 22  # values read at once
NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}


@dataclass(frozen=True)
class GroupChange:
    """Tensors of one layer, or of one part without layers, taken together."""

    stream: str
    layer: int | None
    relative: float  # ||tuned - base|| / ||base||, Frobenius; inf where base is zero and tuned is not
    largest: float  # largest absolute difference of one weight
    tensors: int
    identical: int  # tensors that are equal in every weight
    parameters: int

    @property
    def label(self) -> str:
        return Place(self.stream, self.layer).label


@dataclass(frozen=True)
class _Weight:
    """A tensor, and what a LoRA adapter adds to it."""

    info: TensorInfo
    change: Change | None = None


@dataclass(frozen=True)
class WeightChange:
    base: str  # folder
    tuned: str
    groups: tuple[GroupChange, ...]  # vision, projector, embeddings, language, head; layers ascending

    @property
    def unchanged(self) -> tuple[str, ...]:
        """Labels of the groups in which every tensor is identical."""
        return tuple(group.label for group in self.groups if group.identical == group.tensors)


def weight_change(base: str | Path, tuned: str | Path) -> WeightChange:
    """Compare two checkpoints of one architecture; spellings of names and number types may differ.

    A LoRA adapter is compared with its changes added to its base.

    Raises UserError that names the first tensor for which the two cannot be compared.
    """
    left, right = (_by_canonical_name(CheckpointFiles.open(path)) for path in (base, tuned))
    left, right = _with_head(left, right), _with_head(right, left)
    _check_comparable(str(base), left, str(tuned), right)
    groups: dict[Place, list[str]] = {}
    for name in left:
        groups.setdefault(place(name), []).append(name)
    ordered = sorted(groups, key=lambda where: (STREAMS.index(where.stream), where.layer is not None, where.layer or 0))
    return WeightChange(str(base), str(tuned), tuple(_compare(each, groups[each], left, right) for each in ordered))


def _by_canonical_name(files: CheckpointFiles) -> dict[str, _Weight]:
    stored = files.tensors()
    if not files.is_adapter:
        return {canonical(name): _Weight(info) for name, info in stored.items()}
    adapter = Adapter.read(files, stored)
    return {
        canonical(name): _Weight(adapter.replacements.get(name, info), adapter.changes.get(name))
        for name, info in stored.items()
    }


def _with_head(own: dict[str, _Weight], other: Mapping[str, _Weight]) -> dict[str, _Weight]:
    """A head that is tied to the embeddings has no tensor of its own; tuning may have untied it in the other."""
    if HEAD in other and HEAD not in own and EMBEDDINGS in own:
        return own | {HEAD: own[EMBEDDINGS]}
    return own


def _check_comparable(base: str, left: Mapping[str, _Weight], tuned: str, right: Mapping[str, _Weight]) -> None:
    for folder, other, missing in (
        (base, tuned, left.keys() - right.keys()),
        (tuned, base, right.keys() - left.keys()),
    ):
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise UserError(f"the weights cannot be compared: {folder} has {min(missing)}{more}, {other} does not")
    for name, weight in left.items():
        shape, other_shape = weight.info.shape, right[name].info.shape
        if shape != other_shape:
            raise UserError(
                f"the weights cannot be compared: {name} has shape {list(shape)} in {base} and "
                f"{list(other_shape)} in {tuned}"
            )


def _compare(where: Place, names: list[str], left: Mapping[str, _Weight], right: Mapping[str, _Weight]) -> GroupChange:
    squared_change = squared_base = largest = 0.0
    identical = 0
    for name in names:
        same = True
        for one, other in zip(_values(left[name]), _values(right[name]), strict=True):
            change = other - one
            squared_change += float(np.dot(change, change))
            squared_base += float(np.dot(one, one))
            largest = max(largest, float(np.abs(change).max(initial=0.0)))
            same = same and not change.any()
        identical += same
    if squared_base > 0:
        relative = float(np.sqrt(squared_change / squared_base))
    else:
        relative = float("inf") if squared_change > 0 else 0.0
    parameters = sum(left[name].info.size for name in names)
    return GroupChange(where.stream, where.layer, relative, largest, len(names), identical, parameters)


def _values(weight: _Weight) -> Iterator[Float[np.ndarray, " n"]]:
    """The tensor's values in blocks, as float64."""
    added = None if weight.change is None else _added(weight.change)
    for start, block in zip(range(0, weight.info.size, BLOCK), _stored(weight.info), strict=True):
        yield block if added is None else block + added[start : start + BLOCK]


def _added(change: Change) -> Float[np.ndarray, " n"]:
    """What a LoRA adapter adds to every value of a tensor."""
    a, b = (np.concatenate(list(_stored(side))).reshape(side.shape[0], -1) for side in (change.a, change.b))
    delta = change.scale * (b @ a)
    return np.ravel(delta.T if change.transposed else delta)


def _stored(info: TensorInfo) -> Iterator[Float[np.ndarray, " n"]]:
    """What is in the file, in blocks, as float64."""
    stored = "<u2" if info.dtype == "BF16" else NUMPY.get(info.dtype)
    if stored is None:
        raise UserError(f"{info.file}: {info.name} has the number type {info.dtype}, which cannot be compared")
    if info.size == 0:
        return
    raw = np.memmap(info.file, dtype=stored, mode="r", offset=info.start, shape=(info.size,))
    for start in range(0, info.size, BLOCK):
        block = raw[start : start + BLOCK]
        if info.dtype == "BF16":  # the upper half of a float32
            block = (block.astype(np.uint32) << 16).view(np.float32)
        yield block.astype(np.float64)
