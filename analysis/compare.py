"""Two policies, or a policy and the recorded truth, side by side. Formulas in docs/metrics.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from analysis.attention_map import image_map, patch_grid
from analysis.records import Run
from analysis.types import Episode
from models.errors import UserError
from models.types import TokenLayout


@dataclass(frozen=True)
class PredictedActions:
    """The first action of every captured step's chunk: what the policy would have done there."""

    values: Float[np.ndarray, "T D"]  # robot units; NaN where the step was not captured
    names: tuple[str, ...]
    units: tuple[str, ...]

    @property
    def steps(self) -> Int[np.ndarray, " n"]:
        """The steps that were captured."""
        return np.flatnonzero(~np.isnan(self.values).any(axis=1))


@dataclass(frozen=True)
class ActionDifference:
    """Second minus first, over the steps that both have."""

    steps: Int[np.ndarray, " n"]
    difference: Float[np.ndarray, "n D"]
    names: tuple[str, ...]
    units: tuple[str, ...]

    @property
    def mean_absolute(self) -> Float[np.ndarray, " D"]:
        """Mean absolute difference of each dimension, in its unit; NaN if no step is shared."""
        if not len(self.steps):
            return np.full(len(self.names), np.nan)
        return np.abs(self.difference).mean(axis=0)


def predicted_actions(run: Run, length: int) -> PredictedActions:
    """The actions of a run over an episode of ``length`` steps.

    Raises UserError if no step was captured yet, or if the model predicts no actions.
    """
    done = sorted(step for step in run.steps_done() if step < length)
    if not done:
        raise UserError(f"record {run.address} has no captured step yet; capture the episode first")
    predictions = [run.read(step, attention=False) for step in done]
    if not len(predictions[0].actions):
        raise UserError(f"record {run.address} is of a model without actions; choose a policy that predicts some")
    values = np.full((length, len(predictions[0].action_names)), np.nan)
    values[done] = [prediction.actions[0] for prediction in predictions]
    return PredictedActions(values, predictions[0].action_names, predictions[0].action_units)


def recorded_actions(episode: Episode) -> PredictedActions:
    """What the robot was told in the episode, in the form of a prediction."""
    return PredictedActions(episode.actions.astype(np.float64), episode.meta.action_names, episode.meta.action_units)


def action_difference(first: PredictedActions, second: PredictedActions) -> ActionDifference:
    """Second minus first for the dimensions that both name, in the order of ``first``.

    With `recorded_actions` as ``first`` it is the action error, and ``mean_absolute`` its MAE per dimension.
    Raises UserError if no dimension is shared, if units differ, or if the episodes are of different lengths.
    """
    if len(first.values) != len(second.values):
        raise UserError(f"actions of {len(first.values)} steps cannot be compared with actions of {len(second.values)}")
    shared = [name for name in first.names if name in second.names]
    if not shared:
        raise UserError(f"no action dimension is shared: {', '.join(first.names)} against {', '.join(second.names)}")
    left, right = ([actions.names.index(name) for name in shared] for actions in (first, second))
    units = tuple(first.units[column] for column in left)
    for name, unit, other in zip(shared, units, (second.units[column] for column in right), strict=True):
        if unit != other:
            raise UserError(f"the action dimension {name!r} is in {unit!r} here and in {other!r} there")
    steps = np.intersect1d(first.steps, second.steps)
    difference = second.values[steps][:, right] - first.values[steps][:, left]
    return ActionDifference(steps, difference, tuple(shared), units)


def map_difference(
    first: Float[np.ndarray, "*rows K1"],
    first_layout: TokenLayout,
    second: Float[np.ndarray, "*rows K2"],
    second_layout: TokenLayout,
    camera: str | None = None,
) -> Float[np.ndarray, "*rows R C"]:
    """Second minus first on the patches of one image; the generated words of the two may differ.

    Raises UserError unless both see the image through the same patches.
    """
    grids = patch_grid(first_layout, camera), patch_grid(second_layout, camera)
    if grids[0] != grids[1]:
        (a, b) = ((grid.rows, grid.columns, grid.box) for grid in grids)
        raise UserError(f"the two policies see the image through different patches (rows, columns, box): {a} and {b}")
    return image_map(second, second_layout, camera) - image_map(first, first_layout, camera)


def row_difference(
    first: Float[np.ndarray, "*rows K1"],
    first_layout: TokenLayout,
    second: Float[np.ndarray, "*rows K2"],
    second_layout: TokenLayout,
) -> Float[np.ndarray, "*rows K"]:
    """Second minus first over the positions that both sequences begin with: the prompt, where inputs are the same.

    Raises UserError if not even the first position is shared.
    """
    common = int(shared_positions(first_layout, second_layout).sum())
    if not common:
        raise UserError("the two sequences share no position; compare policies on the same image and instruction")
    return second[..., :common] - first[..., :common]


def shared_positions(first: TokenLayout, second: TokenLayout) -> Bool[np.ndarray, " n"]:
    """For each position of the shorter sequence, whether the two are the same up to and including it."""
    length = min(len(first.tokens), len(second.tokens))
    same = [a == b for a, b in zip(first.tokens[:length], second.tokens[:length], strict=True)]
    return np.logical_and.accumulate(np.array(same, dtype=bool)) if length else np.zeros(0, dtype=bool)
