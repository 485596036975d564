"""Whether a map's order of patches is the order in which hiding them moves the action."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float, Int

from analysis.attribution.features import Feature, Fill, Hiding, windows
from analysis.evidence.effect import image_effects
from analysis.evidence.maps import ISS, MEAN_ATTENTION, maps_of
from analysis.evidence.moment import Moment
from analysis.evidence.probe import Values
from analysis.evidence.probes.significance import SignificanceProbe
from analysis.metrics.curves import area_under, highest_first, steps_of
from analysis.metrics.rank_agreement import kendall, spearman
from analysis.records import Setting
from models.errors import UserError
from models.policy import Policy
from models.registry import function

Map = Float[np.ndarray, "R C"]


@dataclass(frozen=True)
class FaithfulnessProbe:
    """Deletion and insertion curves of a method's map on the first image, against random orders and against ISS.

    ``deletion MAP``: area under `Change.size` from the original answer while patches are hidden, highest first: larger
    is better. ``insertion MAP``: the same while they come back onto a frame that is all hidden: smaller is better.
    MAP is ``map``, ``random`` (mean of ``orders`` random ones) or ``iss``. ``deletion gain`` = map - random,
    ``insertion gain`` = random - map, so that a gain above 0 speaks for the map; ``iss ... gain`` likewise.
    ``agreement spearman`` and ``kendall``: with ISS. ``randomised spearman``: with the map of a copy with new weights.
    """

    method: str = MEAN_ATTENTION
    method_settings: str = "{}"  # JSON, sorted: the method's own settings, where not as usual
    fill: Fill = "blur"
    strides: int = 8
    orders: int = 3
    masks: int = 64  # of ISS
    seed: int = 0

    name: ClassVar[str] = "faithfulness"
    version: ClassVar[int] = 1

    def why_not(self, policy: Policy) -> str | None:
        return None if policy.info.action_space is not None else f"{policy.info.name} predicts no actions"

    def settings(self) -> dict[str, Setting]:
        return {
            "method": self.method,
            "method_settings": self.method_settings,
            "fill": self.fill,
            "strides": self.strides,
            "orders": self.orders,
            "masks": self.masks,
            "seed": self.seed,
        }

    def __call__(self, moment: Moment) -> Values:
        maps = self._maps(moment, None)
        camera = next(iter(maps), None)
        if camera is None:
            return {}
        tried = {"map": maps[camera]}
        if self.method != ISS:
            tried["iss"] = SignificanceProbe(self.masks, fill=self.fill, seed=self.seed).maps(moment)[camera]
        values = self._curves(moment, camera, tried)
        if "iss" in tried:
            values["agreement spearman"] = spearman(tried["map"], tried["iss"])
            values["agreement kendall"] = kendall(tried["map"], tried["iss"])
        return values | {"randomised spearman": self._randomised(moment, camera, tried["map"])}

    def _maps(self, moment: Moment, policy: Policy | None) -> dict[str, Map]:
        return maps_of(self.method, json.loads(self.method_settings), moment, policy)

    def _curves(self, moment: Moment, camera: str, maps: dict[str, Map]) -> Values:
        patches = windows(moment.observation, moment.answer.layout, camera, 1, 1)
        seed = moment.seed(self.seed)
        orders = {name: highest_first(map, seed) for name, map in maps.items()}
        draw = np.random.default_rng(seed)
        orders |= {f"random {index}": draw.permutation(len(patches)) for index in range(self.orders)}
        areas = {name: self._areas(moment, patches, order) for name, order in orders.items()}
        random = [areas.pop(f"random {index}") for index in range(self.orders)]
        areas["random"] = (float(np.mean([a for a, _ in random])), float(np.mean([b for _, b in random])))
        values = {f"deletion {name}": area[0] for name, area in areas.items()}
        values |= {f"insertion {name}": area[1] for name, area in areas.items()}
        for name in maps:
            kind = "" if name == "map" else f"{name} "
            values[f"{kind}deletion gain"] = areas[name][0] - areas["random"][0]
            values[f"{kind}insertion gain"] = areas["random"][1] - areas[name][1]
        return values

    def _areas(self, moment: Moment, patches: tuple[Feature, ...], order: Int[np.ndarray, " P"]) -> tuple[float, float]:
        """Under the deletion and the insertion curve of one order."""
        counts = steps_of(len(patches), self.strides)
        hiding = Hiding(moment.observation, self.fill)
        hidden = [[patches[place] for place in order[:count]] for count in counts]
        shown = [[patches[place] for place in order[count:]] for count in counts]
        effects = image_effects(moment.policy, moment.answer, [hiding(each) for each in (*hidden, *shown)])
        curves = effects.reshape(2, len(counts))
        areas = area_under(counts / len(patches), curves)
        return float(areas[0]), float(areas[1])

    def _randomised(self, moment: Moment, camera: str, map: Map) -> float:
        """Rank agreement with what the same method says of a copy with new weights; nan where none can be made."""
        try:
            other = self._maps(moment, _twin(moment.policy, self.seed + 1))
        except UserError:
            return math.nan
        return spearman(map, other[camera]) if camera in other and other[camera].shape == map.shape else math.nan


_twins: WeakKeyDictionary[Policy, Policy] = WeakKeyDictionary()


def _twin(policy: Policy, seed: int) -> Policy:
    """One copy a policy, kept while the policy is."""
    make: Callable[[Policy, int], Policy] = function("models.reinitialised:reinitialised")
    try:
        if policy not in _twins:
            _twins[policy] = make(policy, seed)
        return _twins[policy]
    except TypeError:  # a policy that cannot be a weak key is small
        return make(policy, seed)
