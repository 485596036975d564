"""How long work is stopped from outside."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]  # done, of how many
Asked = Callable[[], bool]  # whether to stop


class Cancelled(Exception):
    """The work was stopped because somebody asked for it; nothing of it is to be kept but whole steps."""


def check(cancelled: Asked | None) -> None:
    """Raises Cancelled if ``cancelled`` says so."""
    if cancelled is not None and cancelled():
        raise Cancelled
