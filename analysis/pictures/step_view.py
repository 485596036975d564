"""What all charts of a step have in common: where they come from, and how values are shaded."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.pictures.panels import Shown
from analysis.pictures.provenance import Model, Provenance, episode_words
from analysis.pictures.shapes import Drawing, Text, moved
from analysis.pictures.view import View
from analysis.types import EpisodeMeta

WIDTH = 900.0  # pixels
STRONGEST = 0.7  # share of the colour in what is shaded most


def step_provenance(
    title: str, meta: EpisodeMeta, step: int, shown: Sequence[Shown], view: View, method: str, samples: str = ""
) -> Provenance:
    """``settings`` are what of the view is not as usual."""
    usual = vars(View())
    settings = {name: value for name, value in vars(view).items() if value != usual[name]}
    models = tuple(Model(one.name, one.digest, one.record) for one in shown)
    return Provenance(title, episode_words(meta, [step]), method, samples, models, settings)


def headed(name: str, drawing: Drawing, many: bool) -> Drawing:
    """With the policy's name above it, where there are several."""
    if not many:
        return drawing
    words = Text(0, 15, name, 14)
    return Drawing(drawing.width, drawing.height + 24, (words, *moved(drawing.shapes, 0, 24)), drawing.says)


def nothing(why: str) -> Drawing:
    """A sentence in place of a drawing."""
    return Drawing(WIDTH, 24, (Text(0, 16, why, 13, "quiet"),))
