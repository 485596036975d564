"""The seam of measurements: what is measured at one step, by name. Importing it takes no torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

from analysis.evidence.moment import Moment
from analysis.records import Setting
from models.errors import UserError
from models.policy import Policy

Values = dict[str, float]  # name of a measurement -> its value; nan where it does not apply to this step

PROBES: Mapping[str, str] = {
    "action": "analysis.evidence.probes.action:ActionProbe",
    "attention": "analysis.evidence.probes.attention:AttentionProbe",
    "instruction": "analysis.evidence.probes.instruction:InstructionProbe",
    "rationale": "analysis.evidence.probes.rationale:RationaleProbe",
    "significance": "analysis.evidence.probes.significance:SignificanceProbe",
    "faithfulness": "analysis.evidence.probes.faithfulness:FaithfulnessProbe",
    "routes": "analysis.evidence.probes.routes:RoutesProbe",
    "lens": "analysis.evidence.probes.lens:LensProbe",
}
QUICK = ("action", "attention", "instruction", "rationale", "lens")  # seconds a step on a small policy; the rest longer


@runtime_checkable
class Probe(Protocol):
    """A frozen dataclass whose fields are its settings. What it returns depends on these and the moment alone."""

    name: ClassVar[str]
    version: ClassVar[int]  # counted up when the same settings come to mean something else

    def why_not(self, policy: Policy) -> str | None:
        """One sentence that says why it cannot measure this policy; None where it can."""
        ...

    def __call__(self, moment: Moment) -> Values: ...

    def settings(self) -> dict[str, Setting]: ...


def probe(name: str) -> Probe:
    """A probe with its usual settings, its module imported now. Raises UserError for a name that is not there."""
    if name not in PROBES:
        raise UserError(f"there is no measurement {name!r}; there are {', '.join(PROBES)}")
    module, _, own = PROBES[name].partition(":")
    made: Probe = getattr(importlib.import_module(module), own)()
    return made
