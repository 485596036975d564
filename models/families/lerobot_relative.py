"""Actions that a LeRobot policy predicts relative to the state, turned back into absolute ones. No torch.

As published in lerobot's relative_action_processor.py: a whole chunk is relative to the one state that was seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from models.config_section import ConfigSection
from models.errors import UserError
from models.families.lerobot_folder import LerobotFolder

RELATIVE, ABSOLUTE = "relative_actions_processor", "absolute_actions_processor"


@dataclass(frozen=True)
class RelativeActions:
    relative: Bool[np.ndarray, " D"]  # which action dimensions are relative to the state's value of the same number

    @staticmethod
    def read(folder: LerobotFolder) -> RelativeActions | None:
        """None where actions are absolute. Raises UserError where only one of the two steps is there."""
        steps = {name: folder.step(name) for name in (RELATIVE, ABSOLUTE)}
        enabled = {name for name, config in steps.items() if config is not None and config.flag("enabled", False)}
        before = steps[RELATIVE]
        if not enabled:
            return None
        if before is None or len(enabled) == 1:
            missing = ABSOLUTE if RELATIVE in enabled else RELATIVE
            raise UserError(f"{folder.folder}: {enabled.pop()} is enabled without {missing}, so actions have no units")
        return RelativeActions(_mask(before, folder.action_size))

    def absolute(self, actions: Float[np.ndarray, "T D"], state: Float[np.ndarray, " S"]) -> Float[np.ndarray, "T D"]:
        """``actions`` and ``state`` in robot units. Raises UserError for a state shorter than an action."""
        if len(state) < len(self.relative):
            raise UserError(
                f"the policy's {len(self.relative)} actions are relative to the state, which has {len(state)} values"
            )
        return actions + np.where(self.relative, state[: len(self.relative)], 0).astype(actions.dtype)


def _mask(step: ConfigSection, size: int) -> Bool[np.ndarray, " D"]:
    """Every dimension but those whose name contains one of the excluded joints'."""
    excluded = [name.lower() for name in step.strings("exclude_joints")] if step.has("exclude_joints") else []
    names = [name.lower() for name in step.strings("action_names")] if step.has("action_names") else []
    mask = np.ones(size, dtype=bool)
    for index, name in enumerate(names[:size]):
        mask[index] = not any(part in name for part in excluded if part)
    return mask
