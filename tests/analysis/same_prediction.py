"""Equality of predictions, which dataclasses with arrays do not have by themselves."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def assert_same(first: Any, second: Any, where: str = "prediction", attention_error: float = 0.0) -> None:
    """Every field equal, arrays also in shape and dtype; attention weights may differ by ``attention_error``."""
    assert type(first) is type(second), where
    if is_dataclass(first):
        for field in fields(first):
            name = f"{where}.{field.name}"
            assert_same(getattr(first, field.name), getattr(second, field.name), name, attention_error)
    elif isinstance(first, np.ndarray):
        assert (first.shape, first.dtype) == (second.shape, second.dtype), where
        tolerance = attention_error if where.endswith(".weights") else 0.0
        np.testing.assert_allclose(first, second, rtol=0, atol=tolerance, err_msg=where)
    elif isinstance(first, tuple):
        assert len(first) == len(second), where
        for index, (left, right) in enumerate(zip(first, second, strict=True)):
            assert_same(left, right, f"{where}[{index}]", attention_error)
    elif isinstance(first, dict):
        assert list(first.items()) == list(second.items()), where
    else:
        assert first == second or first is second or (first != first and second != second), where
