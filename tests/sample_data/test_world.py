"""The simulated table: skipped where mujoco or the robot model is not installed."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

# Looked up, not imported: mujoco must not be imported before MUJOCO_GL is set, trossen-arm-sim gives only files.
for needed in ("mujoco", "trossen_arm_sim"):
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed: make test installs it", allow_module_level=True)

from sample_data.world.expert import PHASES, Phase, decide, is_done
from sample_data.world.moment import Moment
from sample_data.world.scene import project
from sample_data.world.tabletop import FRAME, Tabletop
from sample_data.world.tasks import LABELS, TASKS
from sample_data.world.teacher import explain


@pytest.fixture(scope="module")
def table() -> Tabletop:
    return Tabletop()


def _play(table: Tabletop, seed: int) -> list[Moment]:
    table.reset(seed)
    moments = [table.moment()]
    while len(moments) < 60 and not is_done(moments[-1]):
        table.step(decide(moments[-1]).action)
        moments.append(table.moment())
    return moments


@pytest.mark.slow
def test_the_expert_succeeds_and_passes_all_phases_in_order(table: Tabletop) -> None:
    wins = 0
    for seed in range(12):
        phases = [decide(moment).phase for moment in _play(table, seed)]
        order = [PHASES.index(phase) for phase in phases]
        wins += table.succeeded()
        assert order == sorted(order), phases
    assert wins == 12


def test_a_seed_is_a_table(table: Tabletop) -> None:
    table.reset(7)
    first, words = table.moment(), table.instruction
    table.reset(8)
    table.reset(7)
    assert words == table.instruction
    assert all(np.array_equal(first.position[name], table.moment().position[name]) for name in first.position)


def test_doing_nothing_never_succeeds(table: Tabletop) -> None:
    for seed in range(4):
        table.reset(seed)
        for _ in range(5):
            table.step(np.array([0, 0, 0, 0, 0, 0, 1.0]))
        assert not table.succeeded()


def _moment(**changes: object) -> Moment:
    position = {"carrot": np.array([0.30, 0.05, 0.014]), "plate": np.array([0.25, -0.10, 0.0])}
    moment = Moment(
        "carrot on plate", position, {"carrot": 0.2, "plate": 0.0}, np.array([0.24, 0.02, 0.12]), np.zeros(3), 0.088
    )
    return replace(moment, **changes)  # type: ignore[arg-type]


def test_the_teacher_says_where_things_are() -> None:
    parts = explain(_moment()).parts
    assert parts["spatial"] == "the carrot is 6 cm forward and 3 cm left of the gripper , the table is 12 cm below ."
    assert parts["observation"] == "i see the carrot and the plate ."
    assert parts["situation"] == "the carrot goes on the plate ; the gripper is open and empty ."
    assert parts["planning"].startswith("reach the carrot , descend")
    assert parts["planning"].endswith("release it , retreat .")


def test_the_teacher_knows_what_is_held() -> None:
    held = _moment(tool=np.array([0.30, 0.05, 0.012]), gap=0.0277)
    assert decide(held).phase is Phase.LIFT
    parts = explain(held).parts
    assert "the gripper holds the carrot" in parts["situation"]
    assert parts["spatial"].startswith("the plate is 5 cm back and 15 cm right of the carrot")
    assert parts["planning"].startswith("lift it")


def test_the_expert_opens_a_gripper_that_closed_on_nothing() -> None:
    decision = decide(_moment(gap=0.001))
    assert decision.action[6] == 1.0
    assert decision.action[2] > 0


@pytest.mark.slow
def test_projection_meets_the_rendered_masks() -> None:
    table = Tabletop()
    for seed in range(3):
        table.reset(seed)
        try:
            labels = table.render_labels()
        except Exception as error:
            pytest.skip(f"no software GL to render with: {error}")
        for name, place in table.moment().position.items():
            rows, columns = np.nonzero(labels == LABELS.index(name))
            if len(rows) > 150:  # less: hidden behind the arm
                column, row = project(place)
                assert abs(column * FRAME - columns.mean()) < 14, name
                assert abs(row * FRAME - rows.mean()) < 14, name


def test_every_wording_names_thing_and_receptacle() -> None:
    for task in TASKS.values():
        for wording in task.wordings:
            assert wording.index(task.thing) < wording.index(task.receptacle)
