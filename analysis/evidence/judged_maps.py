"""Several maps of one policy over the same steps: the badge of each, and how far they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from analysis.evidence.asked_map import AskedMap
from analysis.evidence.faithful import Faithfulness, faithful
from analysis.evidence.measurements import Progress, Subject, measure
from analysis.evidence.probe import Probe
from analysis.evidence.probes.agreement import AgreementProbe
from analysis.evidence.probes.faithfulness import FaithfulnessProbe
from analysis.evidence.verdict import Number, Sample
from analysis.records import RecordStore
from models.errors import UserError
from models.policy import Policy

USUAL = FaithfulnessProbe()  # the settings of a test that a badge counts


@dataclass(frozen=True)
class JudgedMaps:
    maps: tuple[AskedMap, ...]
    found: tuple[Faithfulness, ...]  # of each
    agreement: tuple[tuple[int, int, Number], ...]  # of every two, by their places in ``maps``: Spearman's rho


def judge_maps(
    policy: Policy,
    subjects: Sequence[Subject],
    maps: Sequence[AskedMap],
    records: RecordStore,
    steps: int,
    progress: Progress | None = None,
    test: FaithfulnessProbe = USUAL,
) -> JudgedMaps:
    """Measures what records do not hold yet; random orders and ISS are run once a step for all maps.

    ``test``: with which settings.

    Raises UserError, before anything is run, for a map that cannot be made of the policy.
    """
    maps = tuple(dict.fromkeys(each.fitted(policy.info) for each in maps))
    tests: list[Probe] = [replace(test, map=each) for each in maps]
    for map, own in zip(maps, tests, strict=True):
        if (why := own.why_not(policy)) is not None:
            raise UserError(f"{map.text} cannot be tested: {why}")
    together = [*tests, AgreementProbe(maps)] if len(maps) > 1 else tests
    sample = Sample.of(measure(policy, subjects, together, records, steps, progress))
    each = [measure(policy, subjects, [own], records, steps) for own in tests]  # read from the records
    agreement = [
        (i, j, sample.number("rank agreement (Spearman)", sample.values(f"spearman {i} {j}"), ""))
        for i, j in combinations(range(len(maps)), 2)
    ]
    found = tuple(faithful(measured, map.text) for map, measured in zip(maps, each, strict=True))
    return JudgedMaps(maps, found, tuple(agreement))
