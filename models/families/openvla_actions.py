"""OpenVLA's actions: ids of the vocabulary's last words, bins between them, and un-normalising by data set.

Kim et al., 2024 (2406.09246) and RT-2 before it: the 256 least used words stand for 256 edges of [-1, 1]; an action is
read back as the centre between two edges, so there are 255 of those and the lowest word shares one with the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from models.action_tokens import ActionScale
from models.checkpoint_files import CheckpointFiles
from models.config_section import ConfigSection
from models.errors import UserError
from models.types import ActionSpace

STATISTICS = "dataset_statistics.json"
NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
UNITS = ("m", "m", "m", "rad", "rad", "rad", "open")


@dataclass(frozen=True)
class OpenVLAActions:
    """Which ids are actions, and what they stand for before un-normalising."""

    words: int  # ids of the tokenizer's vocabulary, without the embeddings' padding
    bins: int

    @property
    def ids(self) -> range:
        return range(self.words - self.bins, self.words)

    def normalised(self, tokens: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """In [-1, 1]; any id has a value, as in the original: those outside the range are clipped to its ends."""
        edges = np.linspace(-1, 1, self.bins)
        centres = (edges[:-1] + edges[1:]) / 2
        return np.asarray(centres[np.clip(self.words - tokens - 1, 0, self.bins - 2)])

    def tokens(self, normalised: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The way back from `normalised`: the word of the last edge at or below a value, clipped to [-1, 1]."""
        edges = np.linspace(-1, 1, self.bins)
        return np.asarray(self.words - np.digitize(np.clip(normalised, -1, 1), edges))

    @property
    def ascending(self) -> Int[np.ndarray, " B"]:
        """The ids in the order of the values that they stand for: a larger id is a smaller value."""
        return np.array(self.ids)[::-1]


def read_statistics(files: CheckpointFiles, config: ConfigSection) -> dict[str, ConfigSection]:
    """Data set -> q01, q99 and mask of its actions. Raises UserError where there are none."""
    return {key: section.section("action") for key, section in data_sets(files, config).items()}


def data_sets(files: CheckpointFiles, config: ConfigSection, last: bool = False) -> dict[str, ConfigSection]:
    """Data set -> everything known of it: ``norm_stats``, then dataset_statistics.json over it.

    ``last``: of the two only that which was written last. Raises UserError where there are none.
    """
    sections = [config.section("norm_stats")] if config.has("norm_stats") else []
    file = files.find(STATISTICS)
    sections = [*([] if last else sections), ConfigSection.read(file)] if file is not None else sections
    found = {key: section.section(key) for section in sections for key in section.fields}
    if not found:
        raise UserError(f"{config.where} norm_stats is empty and there is no {STATISTICS}: actions have no units")
    return found


def dimensions(statistics: ConfigSection) -> int:
    """How many values an action has."""
    return len(statistics.numbers("q01"))


def choose(statistics: Mapping[str, ConfigSection], key: str | None) -> ActionScale:
    """Un-normalising by the data set ``key``, or the only one. Raises UserError where that is not clear."""
    section = statistics[chosen(statistics, key)]
    return ActionScale.read(section, dimensions(section))


def chosen(statistics: Mapping[str, ConfigSection], key: str | None) -> str:
    """``key``, or the only data set. Raises UserError where that is not clear."""
    known = ", ".join(statistics)
    if key is None and len(statistics) != 1:
        raise UserError(f"name the data set whose statistics un-normalise the actions: action_stats of {known}")
    if key is not None and key not in statistics:
        raise UserError(f"the checkpoint has no action statistics {key!r}; it has {known}")
    return key if key is not None else next(iter(statistics))


def action_names(count: int) -> tuple[str, ...]:
    """Seven values are a gripper's change of pose and its opening; of others no name is known."""
    return NAMES if count == len(NAMES) else tuple(f"action {number}" for number in range(count))


def action_units(count: int) -> tuple[str, ...]:
    return UNITS if count == len(UNITS) else ("",) * count


def action_space(actions: OpenVLAActions, scale: ActionScale) -> ActionSpace:
    """In robot units, of the chosen data set."""
    count, (low, high) = len(scale.mask), scale.limits()
    return ActionSpace(action_names(count), action_units(count), low, high, bins=actions.bins)


def unchosen_action_space(actions: OpenVLAActions, statistics: Mapping[str, ConfigSection]) -> ActionSpace:
    """Before a data set is chosen: no limits, and no names where the data sets have different numbers of values."""
    counts = {dimensions(section) for section in statistics.values()}
    count = counts.pop() if len(counts) == 1 else 0
    return ActionSpace(action_names(count) if count else (), action_units(count), (), (), bins=actions.bins)
