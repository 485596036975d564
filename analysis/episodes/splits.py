"""Splits and filter masks: to which named parts of its data set an episode belongs, such as train or valid."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.types import EpisodeMeta

KEY = "splits"  # in EpisodeMeta.extra; formats that know splits write it, the catalogue filters by it
BETWEEN = ", "


def in_splits(names: Iterable[str]) -> dict[str, str]:
    """What EpisodeMeta.extra says of them; nothing where there is none."""
    said = BETWEEN.join(names)
    return {KEY: said} if said else {}


def splits_of(meta: EpisodeMeta) -> tuple[str, ...]:
    """The names that `in_splits` wrote."""
    return tuple(name for name in meta.extra.get(KEY, "").split(BETWEEN) if name)
