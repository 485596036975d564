"""The seam of attribution methods. Importing it takes no torch."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.target import Target
from analysis.cancelled import Asked, Progress
from models.policy import Policy
from models.types import Observation, Prediction


@runtime_checkable
class AttributionMethod(Protocol):
    """A frozen dataclass whose fields are its visible settings; see `analysis.attribution.settings`."""

    name: ClassVar[str]  # in the registry, the command line and records
    title: ClassVar[str]  # as people call it
    signed: ClassVar[bool]  # whether negative scores mean something

    def why_not(self, policy: Policy) -> str | None:
        """One sentence that says why it cannot run on this policy; None where it can."""
        ...

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
        """Explains ``target`` of what the policy says to ``observation``.

        ``prediction``: what it says, where that is known already; attention in it is used as far as it goes.
        ``progress(done, total)`` counts forwards. Raises Cancelled once ``cancelled()``, and UserError for a target
        that the prediction does not have or a policy that `why_not` names a reason for.
        """
        ...
