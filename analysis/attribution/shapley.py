"""Shapley values by sampled orders: what a region adds, averaged over the orders in which regions can appear."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.features import Fill, Hiding, Over, SeenObject, features, laid_out
from analysis.attribution.perturbing import described, squared_change, why_not
from analysis.attribution.scoring import Scorer, Words
from analysis.attribution.settings import setting, settings_of
from analysis.attribution.target import Target
from analysis.cancelled import Asked, Progress
from models.policy import Policy
from models.types import Observation, Prediction


@dataclass(frozen=True)
class ShapleySampling:
    """Castro, Gomez and Tejada (2009): in each random order regions appear one by one; a region's score is the mean
    of what the value gains when it appears. The scores sum exactly to value minus value with everything hidden. Of the
    whole action the value is minus its mean squared change, so they sum to the change when everything is hidden.
    """

    name: ClassVar[str] = "shapley"
    title: ClassVar[str] = "Shapley values"
    signed: ClassVar[bool] = True

    over: Over = setting("regions", "what appears, one after the other")
    side: int = setting(3, "regions along a side of the image", least=1)
    orders: int = setting(12, "random orders", least=2)
    fill: Fill = setting("mean", "what hidden pixels become")
    words: Words = setting("held", "whether the policy says its own rationale again or may write another")
    seed: int = setting(0, "of the random orders", least=0)
    camera: str | None = setting(None, "the image that is hidden from; all if empty")
    seen: tuple[SeenObject, ...] = field(default=(), metadata={"from_step": True})

    def why_not(self, policy: Policy) -> str | None:
        return why_not(policy)

    def __call__(
        self,
        policy: Policy,
        observation: Observation,
        target: Target,
        *,
        prediction: Prediction | None = None,
        progress: Progress | None = None,
        cancelled: Asked | None = None,
    ) -> AttributionMap:
        said = prediction if prediction is not None else policy.predict(observation)
        found = features(self.over, observation, said, camera=self.camera, side=self.side, seen=self.seen)
        hiding = Hiding(observation, self.fill, said.rationale)
        scorer = Scorer(policy, observation, said, target, self.words, by_predicting=self.over == "rationale")
        random = np.random.default_rng(self.seed)
        orders = np.stack([random.permutation(len(found)) for _ in range(self.orders)])
        coalitions = _coalitions(orders)
        changed = (hiding.told([each for i, each in enumerate(found) if i not in present]) for present in coalitions)
        measured = scorer(changed, len(coalitions), progress, cancelled)
        # of the whole action: minus how far it is from the action that sees everything
        values = -squared_change(scorer, measured) if target.vector else measured[:, 0]
        whole = 0.0 if target.vector else float(scorer.reference[0])
        worth = dict(zip(coalitions, values, strict=True)) | {frozenset(range(len(found))): whole}
        gains = _gains(orders, worth)
        error = gains.std(axis=0, ddof=1) / np.sqrt(self.orders)
        return AttributionMap(
            layout=said.layout,
            scores=laid_out(said.layout, found, gains.mean(axis=0)),
            method=self.name,
            settings=settings_of(self),
            target=target,
            signed=self.signed,
            standard_error=laid_out(said.layout, found, error),
            forwards=scorer.forwards,
            notes=described(scorer, found) | {"value with all hidden": float(worth[frozenset()])},
        )


def _coalitions(orders: Int[np.ndarray, "O F"]) -> list[frozenset[int]]:
    """Every set of features that is present at some time, each once; without the whole, which is the reference."""
    found: dict[frozenset[int], None] = {}
    for order in orders:
        for count in range(len(order)):
            found.setdefault(frozenset(order[:count].tolist()))
    return list(found)


def _gains(orders: Int[np.ndarray, "O F"], worth: dict[frozenset[int], float]) -> Float[np.ndarray, "O F"]:
    gains = np.zeros(orders.shape)
    for row, order in enumerate(orders.tolist()):
        for count, feature in enumerate(order):
            present = frozenset(order[:count])
            gains[row, feature] = worth[present | {feature}] - worth[present]
    return gains
