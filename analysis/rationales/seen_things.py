"""Names that stand for things: those seen anywhere in a data set, and those that commonly lie on tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.episodes import OpenedSource
from analysis.types import EpisodeMeta
from models.errors import UserError
from models.teachers.answer import common_things

LOOKED_AT = 50  # episodes, evenly spread over the data set, whose first step is asked what is in view


def seen_things(source: OpenedSource, metas: Sequence[EpisodeMeta]) -> frozenset[str]:
    """Lower-case names. A teacher who says one that is not in the scene made it up.

    ``metas``: the whole data set, whichever episodes are explained, so that the same answer is judged alike.
    """
    found: set[str] = set()
    for meta in metas[:: math.ceil(len(metas) / LOOKED_AT)]:
        try:
            step = source.open(meta.id).step(0)
        except UserError:
            continue  # named where it is to be explained
        found |= {seen.name.lower() for each in step.objects.values() for seen in each}
    return common_things() | found - {"robot"}
