"""Tuned weights in the base's own files: the same names and shards, whatever the model calls its parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from models.checkpoint_files import CheckpointFiles
from models.families.weights import Weights

INDEX = "model.safetensors.index.json"


def stored_values(state: Mapping[str, Tensor], places: Mapping[str, str]) -> dict[str, Tensor]:
    """Stored name -> value, of every stored tensor that the model has; ``places``: stored name -> name in ``state``."""
    return {name: state[place] for name, place in places.items() if place in state}


def write_like_base(files: CheckpointFiles, values: Mapping[str, Tensor], folder: Path, dtype: torch.dtype) -> None:
    """``values`` by stored name; what they lack is as in the base, what the base lacks goes to its last file."""
    base = Weights(files)
    shards: dict[str, list[str]] = {}
    for name, info in base.stored.items():
        shards.setdefault(info.file.name, []).append(name)
    shards[max(shards)] += [name for name in values if name not in base.stored]
    size = 0
    for file, names in shards.items():
        tensors = {}
        for name in names:
            value = values[name].detach().cpu() if name in values else base.read(name)
            tensors[name] = (value.to(dtype) if value.is_floating_point() else value).contiguous().clone()
        save_file(tensors, folder / file, metadata={"format": "pt"})
        size += sum(tensor.nbytes for tensor in tensors.values())
    if len(shards) > 1:
        weight_map = {name: file for file, names in shards.items() for name in names}
        index = {"metadata": {"total_size": size}, "weight_map": weight_map}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
