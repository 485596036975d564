"""How much memory a device has. Imports torch only when it is asked for one."""

from __future__ import annotations

from pathlib import Path

from models.errors import UserError

FALLBACK = 2 * 10**9  # bytes, where the system does not say


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


def free_memory(device: str) -> int:
    """Bytes that can be taken now: of a GPU, or of main memory within the control group's limit."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    free = FALLBACK
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        free = min(free, max(int(limit) - int(used), 0)) if limit != "max" else free
    except (OSError, StopIteration, ValueError):  # not Linux, or no control group: what is known so far
        pass
    return free
