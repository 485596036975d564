"""Open loop: what a policy would do and say at steps of recorded episodes, against what was done and is there."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from analysis import attention
from analysis.attention_map import image_map, patch_grid
from analysis.attention_share import sink_positions, without_sink
from analysis.cameras import CameraPlan
from analysis.evaluation.rationale_truth import Scene, judge
from analysis.metrics.coverage import object_mask, patch_coverage, visible_share
from analysis.metrics.grounding import in_object
from analysis.things import is_robot, named_things, things_in_view
from analysis.types import Episode, Step
from models.policy import Policy
from models.types import Capture, Part, Prediction


@dataclass(frozen=True)
class StepScore:
    """One step of one episode. Lists run over action dimensions of the first predicted step."""

    step: int
    error: list[float]  # absolute, robot units
    tokens_right: int
    tokens: int  # 0: the policy has no action tokens
    judged: dict[str, bool | None]
    attention: float | None  # share of image attention on the things named, over their share of the area
    rationale: dict[str, str]  # what was said, by part


def score_episode(
    policy: Policy, episode: Episode, steps: Collection[int], cameras: CameraPlan, vocabulary: Collection[str]
) -> Iterator[StepScore]:
    """Predict each of ``steps`` for itself: nothing of an earlier error reaches a later one."""
    for index in steps:
        step = episode.step(index)
        shown = cameras.seen(step.observation)
        said = policy.predict(shown, Capture(queries=(Part.ACTION,)))
        error = np.abs(said.actions[0] - episode.actions[index])
        right, count = tokens_right(said, episode.actions[index : index + len(said.actions)])
        judged = judge(said.rationale, scene_of(step, episode), vocabulary) if policy.info.generates_rationale else None
        words = dict(said.rationale.parts) if said.rationale is not None else {}
        yield StepScore(
            index, error.tolist(), right, count, asdict(judged) if judged is not None else {},
            attention_on_named(said, step, cameras.pairs[0]), words,
        )  # fmt: skip


def tokens_right(said: Prediction, done: np.ndarray) -> tuple[int, int]:
    """How many of the action tokens are the bin nearest to what was done, and how many there are."""
    right = count = 0
    for each in said.action_distribution:
        if each.step < len(done):
            dimension = said.action_names.index(each.name)
            wanted = int(np.abs(each.values - done[each.step, dimension]).argmin())
            chosen = int(np.abs(each.values - said.actions[each.step, dimension]).argmin())
            right, count = right + (wanted == chosen), count + 1
    return right, count


def scene_of(step: Step, episode: Episode) -> Scene:
    things = {seen.name: seen for found in step.objects.values() for seen in found if not is_robot(seen)}
    positions = {name: seen.position for name, seen in things.items() if seen.position is not None}
    names, state = episode.meta.state_names, step.observation.state
    columns = [names.index(axis) for axis in ("x", "y", "z") if axis in names]
    gripper = np.asarray(state, float)[columns] if state is not None and len(columns) == 3 else None
    return Scene(step.observation.instruction, tuple(things), positions, gripper)


def attention_on_named(said: Prediction, step: Step, pair: tuple[str, str]) -> float | None:
    """Attention inside the named things over their area; ``pair``: the policy's camera, and what the episode calls it.

    Mean over all layers, heads and action tokens; sinks left out. None where nothing named is marked in the frame.
    """
    record = next((each for each in said.attention if each.stream in ("language", "action expert")), None)
    seen_as, camera = pair
    things = named_things(things_in_view(step, camera), step.observation.instruction)
    if record is None or not len(record.queries) or not things:
        return None
    rows = without_sink(attention.mean(record), sink_positions(record.layout, said.written))
    grid = patch_grid(record.layout, seen_as)
    frame = step.observation.images[camera]
    height, width = frame.shape[:2]
    coverage = patch_coverage(grid, object_mask(things, height, width))
    found = in_object(image_map(rows, record.layout, seen_as).mean(0), coverage, visible_share(grid, height, width))
    return found.ratio if np.isfinite(found.ratio) else None
