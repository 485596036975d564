"""Weights from safetensors into a model, strictly and one tensor at a time.

Nothing is mapped and nothing is held twice: a tensor is read into memory of its own, in the number type and on the
device where it will stay, so loading takes little more than the weights themselves. A tensor that is missing, that has
another shape, or that belongs to no module and is not left out on purpose is an error that names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import torch
from accelerate import init_empty_weights
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, rename_source_key

from models.adapter import Adapter, Change
from models.checkpoint import TensorInfo, header
from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.families.tensor_reading import STORED, read_tensor

Module = TypeVar("Module", bound=nn.Module)
Model = TypeVar("Model", bound=PreTrainedModel)
Made = TypeVar("Made")
Config = TypeVar("Config", bound=PretrainedConfig)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# what torch and transformers raise while they make a model of settings that make no sense
NO_MODEL = (StrictDataclassError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_building = RLock()  # making a model without weights changes nn.Module itself for a moment


class Weights:
    """The tensors of a checkpoint, a LoRA adapter's changes already added."""

    def __init__(
        self, files: CheckpointFiles, device: str = "cpu", dtype: str = "float32", side_file: Path | None = None
    ):
        """``side_file``: one beside the model's weights, whose tensors alone are meant.

        Raises UserError for a number type that is not known, a device that cannot be used, or broken files.
        """
        if dtype not in DTYPES:
            raise UserError(f"dtype {dtype!r} is not known; use one of {', '.join(DTYPES)}")
        self.files, self.device, self.dtype = files, usable_device(device), DTYPES[dtype]
        self.where = side_file or files.model
        self.stored: Mapping[str, TensorInfo] = (
            {info.name: info for info in header(side_file)} if side_file is not None else files.tensors()
        )
        self._adapter = Adapter.read(files, self.stored) if files.is_adapter and side_file is None else None

    def read(self, name: str) -> Tensor:
        """One tensor by its stored name; floating-point ones in the number type asked for, all on the device."""
        if self._adapter is None:
            return read_tensor(self.stored[name], self.dtype).to(self.device)
        tensor = read_tensor(self._adapter.replacements.get(name, self.stored[name]), self.dtype)
        if name in self._adapter.changes:
            _add_change(tensor, self._adapter.changes[name])
        return tensor.to(self.device)


def _add_change(weight: Tensor, change: Change) -> None:
    """In place; computed in float32."""
    a, b = read_tensor(change.a, torch.float32), read_tensor(change.b, torch.float32)
    delta = change.scale * (b.flatten(1) @ a.flatten(1))
    weight.copy_(weight.float() + (delta.T if change.transposed else delta).reshape(weight.shape))


def described(where: str, build: Callable[[], Made]) -> Made:
    """What ``build`` makes of a configuration. Raises UserError, which begins with ``where``, where it cannot."""
    try:
        return build()
    except NO_MODEL as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from error


def without_weights(build: Callable[[], Module]) -> Module:
    """What ``build`` makes, its parameters without memory (on torch's "meta" device), its buffers as they are."""
    with _building, init_empty_weights(include_buffers=False):
        return build()


def fill(module: nn.Module, weights: Weights, places: Mapping[str, str], unused: Mapping[str, str]) -> None:
    """Put stored tensors into ``module``, in place. Tied parameters need only one of them.

    ``places``: stored name -> name in the module. Stored names outside it must match a key of ``unused``, in which *
    stands for anything (the values say why). Raises UserError that names the tensor where one is missing, misshapen or
    left over.
    """
    where = weights.where
    slots = dict(_slots(module))
    for name in sorted(weights.stored):
        if places.get(name) not in slots and not _on_purpose(name, unused):
            leftover = [n for n in sorted(weights.stored) if places.get(n) not in slots and not _on_purpose(n, unused)]
            raise UserError(f"{where}: the weights hold the tensor {name}{_more(leftover)}, which belongs nowhere")
    filled = {place: name for name, place in places.items() if place in slots and name in weights.stored}
    if missing := [name for name in slots if name not in filled and not _tied(module, name, filled)]:
        wanted = {place: name for name, place in places.items()}
        names = sorted(wanted.get(name, name) for name in missing)
        raise UserError(f"{where}: the weights lack the tensor {names[0]}{_more(names)}")
    for place, name in filled.items():
        found, expected = weights.stored[name].shape, tuple(slots[place].shape)
        if found != expected:
            raise UserError(
                f"{where}: the tensor {name} has shape {list(found)}, config.json asks for {list(expected)}"
            )
        kind = weights.stored[name].dtype
        if isinstance(slots[place], nn.Parameter) and kind in STORED and not STORED[kind].is_floating_point:
            raise UserError(
                f"{where}: the tensor {name} is stored as {kind}, expected floating-point numbers; quantised weights "
                "are not read: save the model unquantised"
            )
    for place, name in filled.items():
        put(module, place, weights.read(name), slots[place])
    for target, source in _ties(module).items():  # transformers ties to the source, which may be the one left out
        if target in filled and source not in filled:
            put(module, source, module.get_parameter(target).data, slots[source])


def load_transformers(
    model_class: type[Model], config: Any, weights: Weights, attention: Any, unused: Mapping[str, str] | None = None
) -> Model:
    """A transformers model from hub files of any age: their names are mapped as transformers itself maps them.

    ``attention``: the attention implementation, or one a sub-configuration; ``unused``: as of `fill`. Raises UserError
    as `fill`, and for a configuration that does not describe the class.
    """
    model = described(
        f"{weights.files.model / 'config.json'} does not describe a {model_class.__name__}",
        lambda: without_weights(
            lambda: model_class._from_config(config, attn_implementation=attention, dtype=weights.dtype)
        ),
    )
    left_out = {**_ignored(model, weights.stored), **(unused or {})}
    fill(model, weights, transformers_places(model, weights.stored), left_out)
    model.tie_weights()
    return model.to(weights.device).eval()


def transformers_places(model: PreTrainedModel, names: Iterable[str]) -> dict[str, str]:
    """Stored name -> name in ``model``, by transformers' own table of renamings."""
    transforms = get_model_conversion_mapping(model)
    if merging := [each for each in transforms if isinstance(each, WeightConverter)]:
        names_in = ", ".join(str(each.source_patterns) for each in merging)
        raise UserError(f"{type(model).__name__} stores several tensors as one ({names_in}), which is not supported")
    slots = dict(_slots(model))
    return {name: rename_source_key(name, transforms, [], model.base_model_prefix, slots)[0] for name in names}


def read_transformers_config(config_class: type[Config], files: CheckpointFiles) -> Config:
    """config.json as transformers reads it, code that it names left alone. Raises UserError where it makes no sense."""
    return described(
        f"{files.model / 'config.json'} does not describe a {config_class.__name__.removesuffix('Config')}",
        lambda: config_class.from_pretrained(files.model, local_files_only=True),
    )


def usable_device(device: str) -> torch.device:
    """Raises UserError where torch cannot use it."""
    try:
        torch.zeros(1, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"the device {device!r} cannot be used here ({str(error).splitlines()[0]})") from error


def _slots(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Everything that a state dictionary holds: parameters, tied ones under each name, and persistent buffers."""
    yield from module.state_dict(keep_vars=True).items()


def put(module: nn.Module, place: str, tensor: Tensor, slot: Tensor) -> None:
    """``tensor`` in place of the parameter or buffer ``slot``, which ``module`` has at ``place``."""
    path, _, leaf = place.rpartition(".")
    owner = module.get_submodule(path)
    if isinstance(slot, nn.Parameter):
        owner.register_parameter(leaf, nn.Parameter(tensor, requires_grad=False))
    else:
        owner.register_buffer(leaf, tensor)


def _tied(module: nn.Module, name: str, filled: Mapping[str, str]) -> bool:
    """Whether ``name`` shares its weights with a parameter that is in the files."""
    tied = _ties(module)
    return tied.get(name) in filled or any(source == name and target in filled for target, source in tied.items())


def _ties(module: nn.Module) -> Mapping[str, str]:
    """Parameters of a transformers model that share their weights: target -> source."""
    return getattr(module, "all_tied_weights_keys", {})


def _on_purpose(name: str, unused: Mapping[str, str]) -> bool:
    return any(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) for pattern in unused)


def _ignored(model: PreTrainedModel, names: Iterable[str]) -> dict[str, str]:
    """Names that transformers itself leaves out."""
    patterns = model._keys_to_ignore_on_load_unexpected or ()
    ignored = [name for name in names if any(re.search(pattern, name) for pattern in patterns)]
    return dict.fromkeys(ignored, "transformers leaves it out")


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
