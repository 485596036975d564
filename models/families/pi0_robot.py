"""States, actions and cameras of a π0 policy's robot, and how the network takes them. No torch.

LeRobot's folders say all of it. transformers' own layout names neither cameras nor sizes; its processor_config.json may
hold means and standard deviations (``state_mean``, ``actions_std`` ...), which are read into the same values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from models.checkpoint_files import CheckpointFiles
from models.config_section import ConfigSection
from models.errors import UserError
from models.families.lerobot_folder import ACTION, STATE, TRAINING_DATA, Feature, LerobotFolder
from models.families.lerobot_relative import RelativeActions
from models.families.lerobot_statistics import MEAN_STD, Scaling
from models.families.pi0_config import PI0Config
from models.types import ActionSpace, Observation

PROCESSOR = "processor_config.json"


@dataclass(frozen=True)
class Robot:
    folder: LerobotFolder  # of transformers' own layout: one that says as much as there is
    config: PI0Config
    named: bool  # whether the files name cameras
    relative: RelativeActions | None = None  # None: actions are absolute

    @staticmethod
    def read(files: CheckpointFiles, folder: LerobotFolder | None, config: PI0Config) -> Robot:
        """Raises UserError for statistics that do not fit the sizes."""
        if folder is not None:
            return Robot(folder, config, named=True, relative=RelativeActions.read(folder))
        return Robot(_described(files, config), config, named=False)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Empty where any length up to the network's will do."""
        return tuple(f"state {index}" for index in range(self.folder.state_size))

    def action_space(self, data_set: str | None) -> ActionSpace:
        space = self.folder.action_space(data_set, self.config.chunk)
        names = self.folder.config.fields.get("action_feature_names")
        if isinstance(names, list) and len(names) == len(space.names):
            return replace(space, names=tuple(map(str, names)))
        return space

    def cameras(self, observation: Observation) -> dict[str, str]:
        """The observation's cameras in the order in which they are read -> the policy's name (LeRobot's feature).

        Raises UserError where the observation has none that the policy reads.
        """
        if self.named:
            found = self.folder.found_cameras(tuple(observation.images))
            return {name: feature for feature, name in found.items()}
        if not observation.images:
            raise UserError("the policy reads at least one image, the observation has none")
        return {name: name for name in observation.images}

    def read_state(self, observation: Observation, data_set: str | None) -> Float[np.ndarray, " S"]:
        """Normalised, with zeros behind it. Raises UserError for a state that is missing or has another length."""
        size, limit = self.folder.state_size, self.config.state_dim
        scaling = self.folder.scaling(STATE, data_set)
        exact = size > 0 and scaling.changes  # else the published code takes fewer values too
        expected = f"{size}" if exact else f"1 to {size or limit}"
        if observation.state is None:
            raise UserError(f"the policy reads {expected} state values, the observation has no state")
        state = np.asarray(observation.state, np.float32)
        fits = state.ndim == 1 and (len(state) == size if exact else 1 <= len(state) <= (size or limit))
        if not fits:
            raise UserError(
                f"the policy reads {expected} state values, the observation's state has shape {state.shape}"
            )
        if not np.isfinite(state).all():
            raise UserError("the observation's state has values that are not finite")
        padded = np.zeros(limit, np.float32)
        padded[: len(state)] = scaling.normalise(state)
        return padded

    def robot_actions(
        self, values: Float[np.ndarray, "T A"], observation: Observation, data_set: str | None
    ) -> Float[np.ndarray, "T D"]:
        """What the network wrote, without its padding, in robot units where statistics are stored."""
        actions = self.folder.scaling(ACTION, data_set).restore(values[:, : self.folder.action_size])
        if self.relative is None or observation.state is None:
            return actions
        return self.relative.absolute(actions, np.asarray(observation.state, np.float32))


def _described(files: CheckpointFiles, config: PI0Config) -> LerobotFolder:
    file = files.find(PROCESSOR)
    section = ConfigSection.read(file) if file is not None else ConfigSection(f"{PROCESSOR}:", {})
    scalings = {
        name: found for name, key in ((STATE, "state"), (ACTION, "actions")) if (found := _scaling(section, key))
    }
    sizes = {name: len(scaling.statistics["mean"]) for name, scaling in scalings.items()}
    for name, limit in ((STATE, config.state_dim), (ACTION, config.action_dim)):
        if sizes.get(name, 0) > limit:
            raise UserError(
                f"{section.where} has statistics of {sizes[name]} values for {name}, expected at most {limit}"
            )
    inputs = {STATE: Feature("STATE", (sizes[STATE],))} if STATE in sizes else {}
    outputs = {ACTION: Feature("ACTION", (sizes.get(ACTION, config.action_dim),))}
    stored: Mapping[str, Mapping[str, Scaling]] = {TRAINING_DATA: scalings} if scalings else {}
    return LerobotFolder(files.model, files.config(), inputs, outputs, (), stored)


def _scaling(section: ConfigSection, key: str) -> Scaling | None:
    if not (section.has(f"{key}_mean") and section.has(f"{key}_std")):
        return None
    mean = np.array(section.numbers(f"{key}_mean"), np.float32)
    return Scaling(MEAN_STD, {"mean": mean, "std": np.array(section.numbers(f"{key}_std", len(mean)), np.float32)})
