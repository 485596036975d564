"""How a workspace runs its policies: device, number type, memory. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.types import CheckpointSpec

NUMBER_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}  # that policies run in
DEVICES = ("cpu", "cuda", "mps")
GIGABYTE = 10**9


@dataclass(frozen=True)
class Running:
    """What ``workspace.toml`` says; the defaults are those of a workspace that says nothing."""

    device: str = "cpu"  # "cuda:1" names the second of several
    dtype: str | None = None  # None: float32 on the CPU, the checkpoint's own elsewhere
    memory_gb: float | None = None  # for policies kept in memory, 10^9 bytes; None: half of what the device has

    def __post_init__(self) -> None:
        if self.device.partition(":")[0] not in DEVICES:
            raise UserError(f"device is {self.device!r}; it can be {', '.join(DEVICES)} or such as cuda:1")
        if self.dtype not in (None, *NUMBER_BYTES):
            raise UserError(f"dtype is {self.dtype!r}; it can be {', '.join(NUMBER_BYTES)}")
        if self.memory_gb is not None and not self.memory_gb > 0:
            raise UserError(f"memory_gb is {self.memory_gb!r}; expected a number above zero")

    def number_type(self, spec: CheckpointSpec) -> str:
        """The number type that a checkpoint runs in."""
        if self.dtype is not None:
            return self.dtype
        return spec.dtype if self.device != "cpu" and spec.dtype in NUMBER_BYTES else "float32"

    def recorded_number_type(self, spec: CheckpointSpec) -> str | None:
        """What a record's key says of it: nothing for float32, which changes no result."""
        return None if (used := self.number_type(spec)) == "float32" else used

    def memory_of(self, spec: CheckpointSpec) -> int:
        """Bytes that the checkpoint's weights take in memory."""
        return spec.parameters * NUMBER_BYTES[self.number_type(spec)]


def read_running(stored: Mapping[str, Any], where: str) -> Running:
    """The settings ``device``, ``dtype`` and ``memory_gb`` of a configuration. Raises UserError for a wrong one."""
    memory = stored.get("memory_gb")
    if memory is not None and (isinstance(memory, bool) or not isinstance(memory, int | float)):
        raise UserError(f"memory_gb in {where} is {memory!r}; expected a number above zero")
    device, dtype = stored.get("device", "cpu"), stored.get("dtype")
    if not isinstance(device, str) or not isinstance(dtype, str | None):
        raise UserError(f"device and dtype in {where} are {device!r} and {dtype!r}; expected texts")
    try:
        return Running(device, dtype, memory)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def machine_memory() -> int:
    """Bytes of main memory that this process may use: the machine's, or the control group's where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            total = min(total, int(limit.read_text()))
        except (OSError, ValueError):  # no control group, or one without a limit ("max")
            continue
    return total
