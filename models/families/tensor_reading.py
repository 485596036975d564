"""One stored tensor, read into memory of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from models.checkpoint import TensorInfo
from models.errors import UserError

STORED = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
STORED |= {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
STORED |= {"BOOL": torch.bool}
BLOCK = 1 << 24  # bytes read at once where the number type changes


def read_tensor(info: TensorInfo, dtype: torch.dtype | None = None) -> Tensor:
    """A stored tensor in memory of its own; a floating-point one in ``dtype``.

    Raises UserError for a number type that is not supported here, such as FP8.
    """
    if info.dtype not in STORED:
        raise UserError(f"{info.file}: the tensor {info.name} is stored as {info.dtype}; known are {', '.join(STORED)}")
    kind = STORED[info.dtype]
    out = torch.empty(info.shape, dtype=dtype if dtype is not None and kind.is_floating_point else kind)
    flat, step = out.reshape(-1), BLOCK // kind.itemsize
    with info.file.open("rb") as stream:
        stream.seek(info.start)
        for start in range(0, info.size, step):
            part = flat[start : start + step]
            raw = bytearray(len(part) * kind.itemsize)
            if stream.readinto(raw) != len(raw):
                raise UserError(f"{info.file} is truncated: it ends inside the tensor {info.name}")
            part.copy_(torch.frombuffer(raw, dtype=kind))
    return out
