"""How much memory a device has. Imports torch only when it is asked for one."""

from __future__ import annotations

from models.errors import UserError


def device_memory(device: str) -> int | None:
    """Bytes of a GPU's own memory; None for a device that uses the machine's main memory.

    Raises UserError where there is no such GPU.
    """
    if not device.startswith("cuda"):
        return None
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    place = torch.device(device).index or 0
    if place >= count:
        raise UserError(f"the device {device!r} is not there: torch sees {count} CUDA devices; use cpu")
    return int(torch.cuda.get_device_properties(place).total_memory)
