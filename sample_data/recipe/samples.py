"""What is drawn from the frames for training: a moment, words for it, and their ids.

A picture stays true when the arm's commanded pose is drawn anew, as long as the expert's answer is computed anew too:
this gives every frame endless variants, and teaches that the arm's pose stands in the state tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sample_data.recipe.architecture import IMAGE_TOKENS, STATE_HIGH, STATE_LOW, action_bins, state_bins
from sample_data.recipe.frames import Frames, holding_pose, open_pose
from sample_data.recipe.vocabulary import ACTION_0, ID, PARTS, STATE_0, encode
from sample_data.world.expert import PHASES, decide
from sample_data.world.moment import Moment
from sample_data.world.tasks import TASKS
from sample_data.world.teacher import explain


@dataclass(frozen=True)
class Sample:
    """One training sequence after the image tokens and <bos>."""

    prompt: list[int]  # instruction, then state
    answer: list[int]  # what is to be generated
    action: np.ndarray | None  # bins [7], None for detection
    spot: np.ndarray | None  # bins [2] of x and y for detection
    nouns: tuple[int, int]  # index in the prompt of the last word of the thing's and of the receptacle's name
    places: np.ndarray  # float32 [2, 2]: x, y of the two in metres
    phase: int


def redraw(frames: Frames, row: int, rng: np.random.Generator, share: float = 0.5) -> Moment:
    """The frame's moment, its task and arm pose drawn anew where the picture allows it."""
    moment = frames.moment(row)
    held = moment.holds(moment.goal.thing)
    if held:
        if rng.random() > share:
            return moment
        tool, tilt = holding_pose(moment, rng)
        thing = moment.goal.thing
        position = dict(moment.position) | {thing: moment.position[thing] + _clip(tool, 0, 3) - moment.tool}
        yaw = dict(moment.yaw) | {thing: moment.yaw[thing] + tilt[2] - moment.tilt[2]}
        return replace(moment, position=position, yaw=yaw, tool=_clip(tool, 0, 3), tilt=_clip(tilt, 3, 6))
    if not frames.posed[row] or moment.is_placed():
        return moment
    tasks = [task.name for task in TASKS.values() if {task.thing, task.receptacle} <= set(moment.position)]
    moment = replace(moment, task=tasks[rng.integers(len(tasks))])
    if rng.random() > share:
        return moment
    tool, tilt = open_pose(moment, rng)
    return replace(moment, tool=_clip(tool, 0, 3), tilt=_clip(tilt, 3, 6))


def _clip(values: np.ndarray, start: int, stop: int) -> np.ndarray:
    return np.clip(values, STATE_LOW[start:stop], STATE_HIGH[start:stop])


def prompt_ids(instruction: str, state: np.ndarray) -> list[int]:
    return encode(instruction) + (STATE_0 + state_bins(state)).tolist()


def act(frames: Frames, row: int, rng: np.random.Generator) -> Sample:
    """Instruction and state -> the action's tokens."""
    moment = redraw(frames, row, rng)
    goal, decision = moment.goal, decide(moment)
    words = goal.wordings[rng.integers(len(goal.wordings))].split()
    bins = action_bins(decision.action)
    places = np.stack([moment.position[goal.thing][:2], moment.position[goal.receptacle][:2]]).astype(np.float32)
    nouns = _ends(words, goal.thing), _ends(words, goal.receptacle)
    answer = [ID["<act>"], *(ACTION_0 + bins).tolist()]
    prompt = prompt_ids(" ".join(words), moment.state)
    return Sample(prompt, answer, bins, None, nouns, places, PHASES.index(decision.phase))


def detect(frames: Frames, row: int, rng: np.random.Generator) -> Sample:
    """ "detect carrot" -> its x and y as two state tokens; teaches that nouns name places."""
    moment = frames.moment(row)
    name = list(moment.position)[rng.integers(len(moment.position))]
    spot = state_bins(np.array([*moment.position[name][:2], *STATE_LOW[2:]]))[:2]
    prompt = prompt_ids(f"detect {name}", moment.state)
    places = np.stack([moment.position[name][:2]] * 2).astype(np.float32)
    noun = len(name.split())
    return Sample(prompt, (STATE_0 + spot).tolist(), None, spot, (noun, noun), places, 0)


def explained(frames: Frames, row: int, rng: np.random.Generator) -> Sample:
    """Like ``act``, the teacher's rationale generated first."""
    moment = redraw(frames, row, rng)
    goal, decision = moment.goal, decide(moment)
    instruction = goal.wordings[rng.integers(len(goal.wordings))]
    bins = action_bins(decision.action)
    answer = [*rationale_ids(moment), ID["<act>"], *(ACTION_0 + bins).tolist()]
    nothing = np.zeros((2, 2), np.float32)
    return Sample(
        prompt_ids(instruction, moment.state), answer, bins, None, (0, 0), nothing, PHASES.index(decision.phase)
    )


def rationale_ids(moment: Moment) -> list[int]:
    parts = explain(moment).parts
    return [number for marker, part in PARTS.items() for number in (ID[marker], *encode(parts[part]))]


def _ends(words: list[str], name: str) -> int:
    parts = name.split()
    starts = [i for i in range(len(words)) if words[i : i + len(parts)] == parts]
    return starts[0] + len(parts) - 1


@dataclass(frozen=True)
class Batch:
    """Right-padded ids: image tokens, <bos>, prompt, answer. Padding comes last and nothing looks ahead at it."""

    ids: np.ndarray  # int64 [B, S]
    suffix: np.ndarray  # int64 [B, S]: token_type_ids, 1 from the answer on (causal), 0 before (bidirectional)
    start: np.ndarray  # int64 [B]: index of the first token of the answer


def collate(samples: list[Sample]) -> Batch:
    head = [ID["<image>"]] * IMAGE_TOKENS + [ID["<bos>"]]
    length = max(len(head) + len(s.prompt) + len(s.answer) for s in samples)
    ids = np.full((len(samples), length), ID["<pad>"])
    suffix, start = np.ones_like(ids), np.zeros(len(samples), int)
    for i, sample in enumerate(samples):
        row = [*head, *sample.prompt, *sample.answer]
        start[i] = len(head) + len(sample.prompt)
        ids[i, : len(row)], suffix[i, : start[i]] = row, 0
    return Batch(ids, suffix, start)


def noise_actions(ids: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Replace a share of the action tokens that are read: else the model copies the phase from its earlier tokens."""
    is_action = ids >= ACTION_0
    random = rng.integers(ACTION_0, ACTION_0 + 256, ids.shape)
    return np.where(is_action & (rng.random(ids.shape) < share), random, ids)
