"""How alike two models represent the same input. Formulas and sources in docs/metrics.md."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def linear_cka(first: Float[np.ndarray, "n a"], second: Float[np.ndarray, "n b"]) -> float:
    """Linear centred kernel alignment of n inputs' representations, 0 to 1; nan where one does not vary.

    ||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F) with centred columns (Kornblith et al. 2019, arXiv 1905.00414).
    """
    x, y = (rows.astype(np.float64) - rows.astype(np.float64).mean(axis=0) for rows in (first, second))
    scale = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / scale) if scale > 0 else float("nan")
