"""Training frames: moments of every phase with the picture, the label image and the state that goes with them.

Three sources: posed frames (a new layout, arm pose and light each, no physics), episodes of the expert with
perturbed actions, and, for corrections, rollouts of a policy. Every frame carries its moment, so that the expert's
action and the teacher's words are computed where they are needed.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np

from sample_data.world.expert import CARRY, HOME, Phase, decide, is_done
from sample_data.world.moment import Moment
from sample_data.world.tabletop import Tabletop
from sample_data.world.tasks import BLOCKS, LABELS, TASKS, THINGS

PIXELS = 128  # what the policy's vision tower sees
NAMES = LABELS[2:]


def shrink(picture: np.ndarray) -> np.ndarray:
    """Mean of 2 x 2 pixels, uint8 [256, 256, 3] -> [128, 128, 3]: equals PIL's box filter up to rounding."""
    blocks = picture.reshape(PIXELS, 2, PIXELS, 2, 3).astype(np.uint16)
    return ((blocks.sum((1, 3)) + 2) // 4).astype(np.uint8)


@dataclass(frozen=True)
class Frames:
    """Columns of F frames. Things that are not in view have NaN positions; ``task`` indexes TASKS."""

    picture: np.ndarray  # uint8 [F, 128, 128, 3]
    label: np.ndarray  # uint8 [F, 128, 128], index into LABELS
    task: np.ndarray  # int16 [F]
    position: np.ndarray  # float32 [F, 8, 3], in the order of NAMES
    yaw: np.ndarray  # float32 [F, 8]
    state: np.ndarray  # float32 [F, 7]
    posed: np.ndarray  # bool [F]: no physics

    def __len__(self) -> int:
        return len(self.task)

    def moment(self, index: int) -> Moment:
        seen = np.flatnonzero(~np.isnan(self.yaw[index]))
        state = self.state[index].astype(float)
        return Moment(
            list(TASKS)[self.task[index]],
            {NAMES[i]: self.position[index, i].astype(float) for i in seen},
            {NAMES[i]: float(self.yaw[index, i]) for i in seen},
            state[:3],
            state[3:6],
            float(state[6]),
        )

    def save(self, path: Path) -> None:
        with h5py.File(path.with_suffix(".part"), "w") as file:
            for name, column in asdict(self).items():
                file[name] = column
        path.with_suffix(".part").rename(path)

    @staticmethod
    def load(paths: list[Path]) -> Frames:
        columns: dict[str, list[np.ndarray]] = {}
        for path in paths:
            with h5py.File(path) as file:
                for name in file:
                    columns.setdefault(name, []).append(file[name][:])
        return Frames(**{name: np.concatenate(parts) for name, parts in columns.items()})


class Recorder:
    """Collects frames of one table."""

    def __init__(self, table: Tabletop) -> None:
        self.table = table
        self.rows: list[tuple] = []

    def take(self, posed: bool) -> None:
        table, moment = self.table, self.table.moment()
        position, yaw = np.full((len(NAMES), 3), np.nan, np.float32), np.full(len(NAMES), np.nan, np.float32)
        for name in moment.position:
            position[NAMES.index(name)], yaw[NAMES.index(name)] = moment.position[name], moment.yaw[name]
        picture, label = shrink(table.render()), table.render_labels()[::2, ::2]
        self.rows.append((picture, label, list(TASKS).index(moment.task), position, yaw, moment.state, posed))

    def frames(self) -> Frames:
        picture, label, task, position, yaw, state, posed = (
            np.stack(column) for column in zip(*self.rows, strict=True)
        )
        return Frames(picture, label, task.astype(np.int16), position, yaw, state, posed)


def pose_table(table: Tabletop, seed: int) -> bool:
    """Lay a table without physics in a moment of a random phase; False if the arm cannot get there."""
    table.reset(seed, settle=False)
    rng, thing = table.rng, table.goal_thing
    receptacle = TASKS[table.task].receptacle
    draw = rng.random()
    if draw < 0.50:
        gap = 0.0 if rng.random() < 0.06 else 0.088
        tool, tilt = open_pose(table.moment(), rng)
        return table.pose_arm(tool, tilt, gap) < 0.004
    goal = table.moment().position[receptacle]
    if draw < 0.90:
        tool, tilt = holding_pose(table.moment(), rng)
        _hold(table, tool, tilt, rng)
        return table.pose_arm(tool, tilt, THINGS[thing].held_gap + rng.normal(0, 0.0004)) < 0.004
    spot = goal[:2] + rng.normal(0, 0.010, 2)
    height = THINGS[receptacle].rim + THINGS[thing].half_height
    table.place(thing, np.array([*spot, height]), rng.uniform(-1.0, 1.0))
    floor = THINGS[receptacle].rim + THINGS[thing].grasp_height
    tool = np.array([*(spot + rng.normal(0, 0.006, 2)), rng.uniform(floor, HOME + 0.01)])
    return table.pose_arm(tool, np.array([*rng.normal(0, 0.03, 2), rng.uniform(-0.8, 0.8)]), 0.088) < 0.004


def open_pose(moment: Moment, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Anywhere, near the thing, or above it on the way down."""
    thing, yaw = moment.position[moment.goal.thing], moment.grasp_yaw(moment.goal.thing)
    draw = rng.random()
    if draw < 0.35:
        tool = np.array([rng.uniform(0.18, 0.40), rng.uniform(-0.19, 0.19), rng.uniform(0.06, 0.16)])
        return tool, np.array([*rng.uniform(-0.12, 0.12, 2), rng.uniform(-0.7, 0.7)])
    if draw < 0.65:
        tool = np.array([*(thing[:2] + rng.normal(0, 0.03, 2)), rng.uniform(0.07, 0.13)])
        return tool, np.array([*rng.normal(0, 0.03, 2), yaw + rng.normal(0, 0.15)])
    bottom = moment.grasp_height(moment.goal.thing) + rng.uniform(-0.002, 0.007)
    height = bottom if rng.random() < 0.4 else rng.uniform(0.006, 0.10)  # closing happens in a thin layer: show it
    tool = np.array([*(thing[:2] + rng.normal(0, 0.006, 2)), height])
    return tool, np.array([*rng.normal(0, 0.02, 2), yaw + rng.normal(0, 0.06)])


def holding_pose(moment: Moment, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Lifting anywhere, carrying, close to the receptacle, or lowering over it."""
    thing, receptacle = THINGS[moment.goal.thing], moment.goal.receptacle
    floor, goal = THINGS[receptacle].rim, moment.position[receptacle]
    tilt = np.array([*rng.normal(0, 0.02, 2), rng.uniform(-0.9, 0.9)])
    anywhere = np.array([rng.uniform(0.18, 0.40), rng.uniform(-0.18, 0.18)])
    draw = rng.random()
    if draw < 0.25:
        return np.array([*anywhere, rng.uniform(thing.grasp_height, CARRY)]), tilt
    if draw < 0.50:
        return np.array([*anywhere, CARRY + rng.normal(0, 0.008)]), tilt
    spread, low, high = 0.006, floor + thing.grasp_height, CARRY + 0.01
    if draw < 0.68:
        spread, low = 0.03, CARRY - 0.015
    elif draw > 0.90:
        high = low + 0.012
    return np.array([*(goal[:2] + rng.normal(0, spread, 2)), rng.uniform(low, high)]), tilt


def _hold(table: Tabletop, tool: np.ndarray, tilt: np.ndarray, rng: np.random.Generator) -> None:
    """Put the task's thing between the fingers."""
    name = table.goal_thing
    thing = THINGS[name]
    offset = np.array([*rng.normal(0, 0.003, 2), thing.half_height - thing.grasp_height + rng.normal(0, 0.001)])
    turns = rng.integers(4) * np.pi / 2 if name in BLOCKS else 0.0
    table.place(name, tool + offset, tilt[2] + turns + rng.normal(0, 0.04))


def record_posed(table: Tabletop, seeds: range) -> Frames:
    """One frame a seed, less those that the arm cannot reach."""
    recorder = Recorder(table)
    for seed in seeds:
        if pose_table(table, seed):
            recorder.take(posed=True)
    return recorder.frames()


def record_episodes(table: Tabletop, seeds: range) -> Frames:
    """The expert at work, its actions perturbed so that frames off its path come with the way back."""
    recorder = Recorder(table)
    for seed in seeds:
        table.reset(seed)
        noise = 0.006 * table.rng.random()
        for _ in range(60):
            moment = table.moment()
            recorder.take(posed=False)
            if is_done(moment):
                break
            decision = decide(moment)
            action = decision.action.copy()
            if decision.phase not in (Phase.GRASP, Phase.RELEASE):
                action[:3] += table.rng.normal(0, noise, 3)
                action[5] += table.rng.normal(0, 4 * noise)
            table.step(action)
    return recorder.frames()


def make(folder: Path, worker: int, workers: int, posed: int, episodes: int, block: int = 500) -> None:
    """Write blocks of frames; blocks that are there already are kept, so a killed run goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    table, start = Tabletop(), time.time()
    # Evaluation and shipped episodes use seeds below one million.
    plans = [("episodes", record_episodes, 1_000_000, episodes, 25), ("posed", record_posed, 2_000_000, posed, block)]
    for kind, record, first, total, size in plans:
        for number in range(worker, -(-total // size), workers):
            path = folder / f"{kind}-{number:04d}.h5"
            if not path.exists():
                record(table, range(first + number * size, first + (number + 1) * size)).save(path)
                print(f"{path.name} {time.time() - start:.0f} s", flush=True)


def held_out(table: Tabletop, folder: Path) -> Path:
    """Frames of 30 unperturbed and perturbed expert episodes that no training sees."""
    path = folder / "held-out.h5"
    if not path.exists():
        record_episodes(table, range(900_000, 900_030)).save(path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--posed", type=int, default=24_000)
    parser.add_argument("--episodes", type=int, default=300)
    options = parser.parse_args()
    make(options.folder, options.worker, options.workers, options.posed, options.episodes)
