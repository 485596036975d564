"""Training state on disk, in safetensors, so that a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def save_state(path: Path, modules: Mapping[str, torch.nn.Module], optimizer: torch.optim.Optimizer, step: int) -> None:
    tensors = {f"{name}/{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    for number, parameter in enumerate(_parameters(optimizer)):
        for key, value in optimizer.state[parameter].items():
            tensors[f"optimizer/{number}/{key}"] = value
    tensors["step"] = torch.tensor(step)
    part = path.with_suffix(".part")
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, part)
    part.rename(path)


def load_state(path: Path, modules: Mapping[str, torch.nn.Module], optimizer: torch.optim.Optimizer) -> int:
    """Restores modules and optimizer in place; returns the step to go on with, 0 if there is nothing to load."""
    if not path.exists():
        return 0
    tensors = load_file(path)
    for name, module in modules.items():
        prefix = f"{name}/"
        module.load_state_dict({key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)})
    for number, parameter in enumerate(_parameters(optimizer)):
        prefix = f"optimizer/{number}/"
        optimizer.state[parameter] = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
    return int(tensors["step"])


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
