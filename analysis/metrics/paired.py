"""Two policies on the same trials."""

from __future__ import annotations

from math import comb


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p of McNemar's exact test: trials in which exactly one of two succeeded, ``b`` and ``c`` of them.

    p = min(1, 2 * sum over k = 0 ... min(b, c) of C(b + c, k) / 2^(b + c)); 1 where the two never differ.
    Source: Q. McNemar, Psychometrika 12 (1947), in its exact, binomial form.

    Raises:
        ValueError: a negative count.
    """
    if only_first < 0 or only_second < 0:
        raise ValueError(f"{only_first} and {only_second} trials; counts are 0 or more")
    total = only_first + only_second
    tail = sum(comb(total, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**total)
