"""Tiny OpenVLA-OFT checkpoints: a tiny OpenVLA with the original's further state dicts beside it, as safetensors.

Names and shapes are written out here, not taken from the loader: a loader that expects others fails.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.tiny_openvla import write_openvla

LIBERO = "libero_spatial_no_noops"


def write_openvla_oft(
    folder: str | Path,
    *,
    key: str = LIBERO,
    dimensions: int = 7,
    state: int | None = 8,
    width: int = 64,
    blocks: int = 2,
    prefix: str = "",
    seed: int = 0,
    **settings: Any,
) -> Path:
    """``state``: values that the projector reads; None: no projector. ``prefix``: before every name of the heads."""
    settings = {"norm_stats": (), "kv_heads": 2} | settings
    folder = write_openvla(folder, dimensions=dimensions, width=width, seed=seed, **settings)
    random = torch.Generator().manual_seed(seed + 1)
    head = action_head(random, width, dimensions, blocks)
    save_file({prefix + name: each for name, each in head.items()}, folder / "action_head--100_checkpoint.safetensors")
    if state is not None:
        reader = linear(random, "fc1", state, width) | linear(random, "fc2", width, width)
        named = {prefix + name: each for name, each in reader.items()}
        save_file(named, folder / "proprio_projector--100_checkpoint.safetensors")
    (folder / "dataset_statistics.json").write_text(json.dumps({key: data_set(random, dimensions, state or 8)}))
    return folder


def action_head(random: torch.Generator, width: int, dimensions: int, blocks: int) -> dict[str, Tensor]:
    found = norm(random, "model.layer_norm1", width * dimensions)
    found |= linear(random, "model.fc1", width * dimensions, width)
    for number in range(blocks):
        found |= norm(random, f"model.mlp_resnet_blocks.{number}.ffn.0", width)
        found |= linear(random, f"model.mlp_resnet_blocks.{number}.ffn.1", width, width)
    return found | norm(random, "model.layer_norm2", width) | linear(random, "model.fc2", width, dimensions, 0.3)


def data_set(random: torch.Generator, dimensions: int, state: int) -> dict[str, Any]:
    """An entry of dataset_statistics.json; an action's last value is not un-normalised."""
    action = statistics(random, dimensions) | {"mask": [True] * (dimensions - 1) + [False]}
    return {"action": action, "proprio": statistics(random, state), "num_transitions": 10, "num_trajectories": 1}


def statistics(random: torch.Generator, size: int) -> dict[str, list[float]]:
    low = -torch.rand(size, generator=random, dtype=torch.float64) - 0.2
    high = torch.rand(size, generator=random, dtype=torch.float64) + 0.2
    found = {"min": 1.5 * low, "max": 1.4 * high, "q01": low, "q99": high, "mean": (low + high) / 2, "std": high}
    return {name: values.tolist() for name, values in found.items()}


def linear(random: torch.Generator, name: str, reads: int, writes: int, gain: float = 1.5) -> dict[str, Tensor]:
    weight = gain * reads**-0.5 * torch.randn(writes, reads, generator=random)
    return {f"{name}.weight": weight, f"{name}.bias": 0.1 * torch.randn(writes, generator=random)}


def norm(random: torch.Generator, name: str, width: int) -> dict[str, Tensor]:
    scale = 1 + 0.1 * torch.randn(width, generator=random)
    return {f"{name}.weight": scale, f"{name}.bias": 0.1 * torch.randn(width, generator=random)}
