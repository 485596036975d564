"""What was measured inside one policy: its action lens layer by layer, and the heads that look at one place. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.evidence.measurements import Measurements
from analysis.evidence.verdict import Sample
from analysis.metrics.bootstrap import Estimate, bootstrap_mean

LOCALISES = "localises "


@dataclass(frozen=True)
class LensLayer:
    """What a layer would already say, see `analysis.evidence.probes.lens`."""

    layer: int
    to_last: Estimate  # Jensen-Shannon divergence of its odds of the bins from the last layer's, bits
    agrees: Estimate  # share of action tokens whose likeliest bin is the last layer's


@dataclass(frozen=True)
class LocalisingHead:
    layer: int
    head: int
    camera: str  # on which it looks at one place; "" where there is one
    share: Estimate  # of steps at which it is among the best


def lens_of(measured: Measurements) -> tuple[LensLayer, ...]:
    """Layer by layer, over the units of verdicts; none where the lens was not measured."""
    sample = Sample.of(measured)
    return tuple(
        LensLayer(layer, *(bootstrap_mean(sample.values(f"lens {layer} {name}")) for name in ("to last", "agrees")))
        for layer in range(sum(name.endswith(" to last") for name in measured.names()))
    )


def heads_of(measured: Measurements) -> tuple[LocalisingHead, ...]:
    """Every head that was ranked, the most frequent among the best first; none where attention was not measured."""
    sample, found = Sample.of(measured), []
    for name in measured.names():
        if name.startswith(LOCALISES):
            place, _, camera = name.removeprefix(LOCALISES).partition(" on ")
            layer, _, head = place.partition(".")
            found.append(LocalisingHead(int(layer), int(head), camera, bootstrap_mean(sample.values(name))))
    return tuple(sorted(found, key=lambda each: -each.share.value))
