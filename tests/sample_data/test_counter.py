"""The simulated counter: skipped where mujoco or the second robot's model is not installed."""

import importlib.util

import numpy as np
import pytest

# Looked up, not imported: mujoco must not be imported before MUJOCO_GL is set, gym-aloha gives only files.
for needed in ("mujoco", "gym_aloha"):
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed: make test installs it", allow_module_level=True)

from analysis.episodes import open_source
from sample_data.counter.counter import HEIGHT, WIDTH, Counter
from sample_data.counter.expert import decide, is_done, plan
from sample_data.counter.moment import Moment
from sample_data.counter.tasks import CLOSED, KINDS, KNOB, LABELS, OPENED, Kind
from sample_data.counter.teacher import explain
from sample_data.recipe.ship import Diary, ship_episodes


@pytest.fixture(scope="module")
def counter() -> Counter:
    return Counter()


def _play(counter: Counter, seed: int, task: str | None = None) -> list[Moment]:
    counter.reset(seed, task)
    moments = [counter.moment()]
    while len(moments) < 40 and not is_done(moments[-1]):
        counter.step(decide(moments[-1]).action)
        moments.append(counter.moment())
    return moments


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_expert_succeeds_and_never_goes_back_in_its_plan(counter: Counter, kind: Kind) -> None:
    for seed in range(4):
        left = [len(plan(moment)) for moment in _play(counter, seed, kind.value)]
        assert counter.succeeded(), (kind, seed)
        assert left == sorted(left, reverse=True), (kind, seed, left)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_doing_nothing_never_succeeds(counter: Counter, kind: Kind) -> None:
    for seed in range(3):
        counter.reset(seed, kind.value)
        for _ in range(5):
            counter.step(np.array([0, 0, 0, 0, 0, 0, 1.0]))
        assert not counter.succeeded()


def test_a_seed_is_a_counter(counter: Counter) -> None:
    counter.reset(7)
    first, words, task = counter.moment(), counter.instruction, counter.task
    counter.reset(8)
    counter.reset(7)
    assert (words, task) == (counter.instruction, counter.task)
    assert all(np.array_equal(first.position[name], counter.moment().position[name]) for name in first.position)


@pytest.mark.slow
def test_the_drawer_starts_as_the_task_needs_it_and_moves(counter: Counter) -> None:
    opened, closed = _play(counter, 3, "open drawer"), _play(counter, 3, "close drawer")
    assert opened[0].opening < CLOSED and opened[-1].opening > OPENED
    assert closed[0].opening > OPENED and closed[-1].opening < CLOSED
    assert counter.is_lifted(KNOB)


@pytest.mark.slow
def test_near_means_nearer_than_to_anything_else(counter: Counter) -> None:
    last = _play(counter, 1, "move near")[-1]
    assert last.is_nearest() and last.distance_to_target() < 0.115
    moved = dict(last.position)
    other = next(name for name in moved if name not in (last.goal.thing, last.goal.target, KNOB))
    moved[other] = moved[last.goal.thing] + [0.03, 0, 0]
    assert not Moment(last.goal, moved, last.yaw, 0.0, last.tool, last.tilt, last.gap).is_reached()


@pytest.mark.slow
def test_what_the_teacher_says_is_true(counter: Counter) -> None:
    for kind in KINDS:
        for moment in _play(counter, 2, kind.value)[::3]:
            parts = explain(moment).parts
            names = [name for name in moment.position if name != KNOB]
            assert all(f"the {name}" in parts["observation"] for name in [*names, "drawer"])
            if kind in (Kind.OPEN, Kind.CLOSE):
                said = "closed" if moment.opening <= CLOSED else f"{round(100 * moment.opening)} cm open"
                assert said in parts["situation"]
            if "left of the gripper" in parts["spatial"]:
                assert moment.position[moment.goal.thing][1] > moment.tool[1]
            assert parts["planning"].endswith(" .")


@pytest.mark.slow
def test_pictures_show_what_is_there(counter: Counter) -> None:
    counter.reset(1)
    picture, labels = counter.render(), counter.render_labels()
    assert picture.shape == (HEIGHT, WIDTH, 3) and labels.shape == (HEIGHT, WIDTH)
    seen = {LABELS[label] for label in np.unique(labels)}
    assert seen >= {"robot", "drawer"} and seen & set(counter.things)
    assert seen <= {"background", "robot", "drawer", *counter.things}


@pytest.mark.slow
def test_recorded_episodes_open(counter: Counter, tmp_path) -> None:
    paths = ship_episodes(tmp_path, counter, per_task=1, first_seed=100)
    source = open_source(tmp_path)
    episodes = [source.open(meta.id) for meta in source.scan()]
    assert len(paths) == len(episodes) == len(KINDS)
    for episode in episodes:
        assert episode.meta.success and episode.meta.fps == 3 and episode.meta.has_rationale
        assert episode.step(0).observation.images["head"].shape == (HEIGHT, WIDTH, 3)
        assert {thing.name for thing in episode.step(0).objects["head"]} >= {"robot", "drawer"}


@pytest.mark.slow
def test_a_diary_keeps_failures_too(counter: Counter, tmp_path) -> None:
    counter.reset(4, "pick can")
    diary = Diary(counter, 4)
    for _ in range(2):
        still = np.array([0, 0, 0, 0, 0, 0, 1.0])
        diary.note(still)
        counter.step(still)
    path = diary.write(tmp_path / "still.hdf5", "still")
    assert next(iter(open_source(path).scan())).success is False
