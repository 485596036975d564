"""Whether maps of different methods put the patches in the same order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

from analysis.evidence.asked_map import AskedMap
from analysis.evidence.maps import patches_of
from analysis.evidence.moment import Moment
from analysis.evidence.probe import Values
from analysis.metrics.rank_agreement import spearman
from analysis.records import Setting
from models.policy import Policy


@dataclass(frozen=True)
class AgreementProbe:
    """``spearman I J``: rank agreement of maps I and J (numbers among ``maps``) over the patches of all images."""

    maps: tuple[AskedMap, ...]
    seed: int = 0

    name: ClassVar[str] = "agreement"
    version: ClassVar[int] = 1

    def why_not(self, policy: Policy) -> str | None:
        return next((why for map in self.maps if (why := map.why_not(policy)) is not None), None)

    def settings(self) -> dict[str, Setting]:
        maps: list[Setting] = [[map.method, map.settings, map.query, map.scalar] for map in self.maps]
        return {"maps": maps, "seed": self.seed}

    def __call__(self, moment: Moment) -> Values:
        found = [patches_of(map, moment, seed=self.seed) for map in self.maps]
        return {
            f"spearman {i} {j}": spearman(one.values, two.values)
            for (i, one), (j, two) in combinations(enumerate(found), 2)
            if one is not None and two is not None and one.values.shape == two.values.shape
        }
