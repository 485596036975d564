"""What an export says about how a rationale was reviewed, written as a rationale beside it."""

from __future__ import annotations

from models.types import Rationale

NOTE = "review"  # the one part, and the author


def is_note(rationale: Rationale) -> bool:
    """Whether it says how another was reviewed: nothing to train on, and nothing to review."""
    return tuple(rationale.parts) == (NOTE,)
