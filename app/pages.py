"""The pages, one line each; a page's module is imported when the page is chosen.

Pages are chosen by a parameter, not by path: at /compare Streamlit's browser side first looks for its server there and
leaves two errors in the console.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast


@dataclass(frozen=True)
class Page:
    show: str  # "module:function", which takes `Chosen` and draws the page
    below: str | None = None  # the same for a part that takes its time and so comes after the side bar
    comparing: bool = False  # the side bar asks for a second checkpoint
    lists_episodes: bool = False  # it has the fields that narrow the list of episodes; else the side bar has them
    needs_episode: bool = True  # without one the page that says how to add some is shown
    with_choice: bool = True  # the side bar asks for episode and checkpoints; else ``show`` takes nothing
    for_leads: bool = False  # not offered to annotators


PAGES: Mapping[str, Page] = MappingProxyType(  # title -> page, the first one by default
    {
        "Trajectory": Page("app.views.trajectory:show"),
        "Compare": Page("app.views.compare:show", below="app.views.compare:weights", comparing=True),
        "What if": Page("app.views.what_if:show"),
        "Evidence": Page("app.views.evidence:show", comparing=True),
        "Catalogue": Page("app.views.catalogue:show", lists_episodes=True, needs_episode=False),
        "Data set": Page("app.views.overview:show", needs_episode=False),
        "Review": Page("app.views.review:show", with_choice=False),
        "Projects": Page("app.views.projects:show", with_choice=False, for_leads=True),
        "Training": Page("app.views.training:show", needs_episode=False, with_choice=False),
    }
)


def drawn_by(name: str) -> Callable[..., None]:
    """The function that a `Page` names."""
    module, function = name.split(":")
    return cast("Callable[..., None]", getattr(importlib.import_module(module), function))
