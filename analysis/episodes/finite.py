"""Numbers that are none: NaN and infinity in what was recorded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

LEFT_OUT = "state"  # key of EpisodeMeta.extra that says why an episode is without its states


def not_finite(values: Float[np.ndarray, "T C"], columns: Sequence[str], what: str) -> str:
    """Which of ``what`` are NaN or infinite, as a part of a sentence; empty where none is."""
    bad = np.argwhere(~np.isfinite(values))
    if not len(bad):
        return ""
    step, column = (int(index) for index in bad[0])
    return (
        f"{len(bad)} {what} that are no finite number; the first is {values[step, column]} at step {step}, dimension "
        f"{columns[column]!r}"
    )


def without_states(values: Float[np.ndarray, "T C"] | None, columns: Sequence[str]) -> dict[str, str]:
    """What EpisodeMeta.extra says where states cannot be used, so that frames and actions can; else nothing."""
    said = "" if values is None else not_finite(values, columns, "numbers")
    return {LEFT_OUT: f"left out: it has {said}"} if said else {}
