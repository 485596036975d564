"""The robot's part of an action-token checkpoint: sections ``vla`` and ``norm_stats`` of config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.action_tokens import ActionScale, ActionTokens, StateTokens
from models.config_section import ConfigSection
from models.errors import UserError
from models.rationale_text import RationaleFormat
from models.types import ActionSpace

PLACEHOLDERS = ("{instruction}", "{state}")


@dataclass(frozen=True)
class ActionTokenConfig:
    """docs/checkpoint-action-tokens.md as values."""

    name: str
    prompt: str
    lowercase: bool
    state: StateTokens | None
    action: ActionTokens
    rationale: RationaleFormat | None
    scales: Mapping[str, ActionScale]  # data set -> un-normalising
    fps: float | None

    @staticmethod
    def read(config: ConfigSection) -> ActionTokenConfig | None:
        """None where config.json has no section ``vla``."""
        if not config.has("vla"):
            return None
        vla = config.section("vla")
        action = ActionTokens.read(vla.section("action"))
        state = StateTokens.read(vla.section("state")) if vla.has("state") else None
        prompt = vla.text("prompt")
        if "{instruction}" not in prompt or ("{state}" in prompt) != (state is not None):
            raise UserError(
                f"{vla.where}.prompt is {prompt!r}; expected {{instruction}}, and {{state}} exactly where there is a "
                "section state"
            )
        stats = config.section("norm_stats")
        scales = {
            key: ActionScale.read(stats.section(key).section("action"), len(action.names)) for key in stats.fields
        }
        return ActionTokenConfig(
            name=vla.text("name"),
            prompt=prompt,
            lowercase=vla.flag("lowercase", False),
            state=state,
            action=action,
            rationale=RationaleFormat.read(vla.section("rationale")) if vla.has("rationale") else None,
            scales=scales,
            fps=vla.number("fps") if vla.has("fps") else None,
        )

    def scale(self, action_stats: str | None) -> ActionScale:
        """The statistics of a data set, or the only ones. Raises UserError where that is not clear: never guessed."""
        known = ", ".join(self.scales) or "none"
        if action_stats is None:
            if len(self.scales) != 1:
                raise UserError(f"name the data set whose statistics un-normalise the actions: action_stats of {known}")
            return next(iter(self.scales.values()))
        if action_stats not in self.scales:
            raise UserError(f"the checkpoint has no action statistics {action_stats!r}; it has {known}")
        return self.scales[action_stats]

    def action_space(self, scale: ActionScale | None) -> ActionSpace:
        """In robot units; without limits where several data sets have statistics and none was chosen."""
        low, high = scale.limits() if scale is not None else ((), ())
        return ActionSpace(self.action.names, self.action.units, low, high, self.action.chunk, self.action.bins)
