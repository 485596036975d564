"""Whether a map's order of patches is the order in which hiding them moves what the map is about."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Int

from analysis.attribution.features import Feature, Fill, Hiding
from analysis.evidence.aim import Aim
from analysis.evidence.asked_map import ISS, MEAN, AskedMap
from analysis.evidence.effect import image_effects
from analysis.evidence.maps import Patches, patches_of
from analysis.evidence.moment import Moment
from analysis.evidence.probe import Values
from analysis.metrics.curves import area_under, highest_first, steps_of
from analysis.metrics.rank_agreement import kendall, spearman
from analysis.records import Setting
from models.errors import UserError
from models.policy import BatchScoring, Policy
from models.registry import function

SAID = ("action", "rationale", "word")  # kinds of queries about what the policy said


@dataclass(frozen=True)
class FaithfulnessProbe:
    """Deletion and insertion curves of a map over the patches of all images, against random orders and against ISS.

    ``deletion MAP``: area under the change of what the map is about while patches are hidden, highest first: larger is
    better. ``insertion MAP``: the same while they come back onto frames that are all hidden: smaller is better. MAP is
    ``map``, ``random`` (mean of ``orders`` random ones) or ``iss``. ``deletion gain`` = map - random, ``insertion
    gain`` = random - map, so that a gain above 0 speaks for the map; ``iss ... gain`` likewise. ``agreement spearman``
    and ``kendall``: with ISS. ``randomised spearman``: with the map of a copy with new weights.
    """

    map: AskedMap = MEAN
    fill: Fill = "blur"
    strides: int = 8
    orders: int = 3
    masks: int = 64  # of ISS
    seed: int = 0

    name: ClassVar[str] = "faithfulness"
    version: ClassVar[int] = 2

    def why_not(self, policy: Policy) -> str | None:
        if policy.info.action_space is None and not isinstance(policy, BatchScoring):
            return f"{policy.info.name} predicts no actions, and words cannot be put into its mouth"
        return self.map.why_not(policy)

    def settings(self) -> dict[str, Setting]:
        return {
            "method": self.map.method,
            "method_settings": self.map.settings,
            "query": self.map.query,
            "scalar": self.map.scalar,
            "fill": self.fill,
            "strides": self.strides,
            "orders": self.orders,
            "masks": self.masks,
            "seed": self.seed,
        }

    def __call__(self, moment: Moment) -> Values:
        found = patches_of(self.map, moment, seed=self.seed)
        if found is None:
            return {}
        values = self._areas_of(moment, found, "map")
        if self.map.method != ISS and (iss := self._significance(moment)) is not None:
            values |= self._areas_of(moment, replace(iss, aim=found.aim), "iss")
            if iss.values.shape == found.values.shape:
                values["agreement spearman"] = spearman(found.values, iss.values)
                values["agreement kendall"] = kendall(found.values, iss.values)
        return values | {"randomised spearman": self._randomised(moment, found)}

    def _significance(self, moment: Moment) -> Patches | None:
        """ISS of the same, made once for all maps of a moment; None where it cannot explain that."""
        query = self.map.query if self.map.query.split(".")[0] in SAID else "action"
        scalar = None if query == "action" else self.map.scalar
        try:
            iss = AskedMap.of(ISS, {"masks": self.masks, "fill": self.fill}, query, scalar)
            return patches_of(iss, moment, seed=self.seed)
        except UserError:
            return None

    def _areas_of(self, moment: Moment, found: Patches, name: str) -> Values:
        seed, kind = moment.seed(self.seed), "" if name == "map" else f"{name} "
        draw = np.random.default_rng(seed)
        orders = [highest_first(found.values, seed)]
        orders += [draw.permutation(len(found.features)) for _ in range(self.orders)]
        (deletion, insertion), *others = [self._areas(moment, found, order) for order in orders]
        random = [float(np.mean(areas)) for areas in zip(*others, strict=True)]
        return {
            f"deletion {name}": deletion,
            f"insertion {name}": insertion,
            "deletion random": random[0],
            "insertion random": random[1],
            f"{kind}deletion gain": deletion - random[0],
            f"{kind}insertion gain": random[1] - insertion,
        }

    def _areas(self, moment: Moment, found: Patches, order: Int[np.ndarray, " P"]) -> tuple[float, float]:
        """Under the deletion and the insertion curve of one order; several maps share the random ones."""
        patches = found.features
        key = (self.fill, self.strides, found.aim, tuple(patch.name for patch in patches), order.tobytes())
        return moment.once(("areas", *key), lambda: self._measured(moment, patches, order, found.aim))

    def _measured(
        self, moment: Moment, patches: tuple[Feature, ...], order: Int[np.ndarray, " P"], aim: Aim
    ) -> tuple[float, float]:
        counts = steps_of(len(patches), self.strides)
        hiding = Hiding(moment.observation, self.fill)
        hidden = [[patches[place] for place in order[:count]] for count in counts]
        shown = [[patches[place] for place in order[count:]] for count in counts]
        changed = [hiding(each) for each in (*hidden, *shown)]
        effects = image_effects(moment.policy, moment.observation, moment.answer, changed, aim, moment.still)
        areas = area_under(counts / len(patches), effects.reshape(2, len(counts)))
        return float(areas[0]), float(areas[1])

    def _randomised(self, moment: Moment, found: Patches) -> float:
        """Rank agreement with what the same method says of a copy with new weights; nan where none can be made."""
        try:
            twin = moment.once(("twin", self.seed), lambda: replace(moment, policy=_twin(moment.policy, self.seed + 1)))
            other = patches_of(self.map, twin, self.seed)
        except UserError:
            return math.nan
        same = other is not None and other.values.shape == found.values.shape
        return spearman(found.values, other.values) if other is not None and same else math.nan


_twins: WeakKeyDictionary[Policy, tuple[int, Policy]] = WeakKeyDictionary()  # the seed, and its copy


def _twin(policy: Policy, seed: int) -> Policy:
    """One copy a policy, of the last seed, kept while the policy is."""
    make: Callable[[Policy, int], Policy] = function("models.reinitialised:reinitialised")
    try:
        if policy not in _twins or _twins[policy][0] != seed:
            _twins.pop(policy, None)  # before the next is made: two copies would take twice the memory
            _twins[policy] = (seed, make(policy, seed))
        return _twins[policy][1]
    except TypeError:  # a policy that cannot be a weak key is small
        return make(policy, seed)
