"""SpatialVLA's action tokens by hand: ids, edges, clipping, marginals."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.action_tokens import ActionScale
from models.config_section import ConfigSection
from models.errors import UserError
from models.families.spatial_action_grid import NAMES, SpatialActionGrid, said
from tests.tiny_spatialvla import BINS, EDGES

FIRST = 100
PROCESSOR = {"action_config": {"num_bins": BINS, "use_spherical": True}, "bin_policy": EDGES}
PLAIN = ActionScale((-1.0,) * 7, (1.0,) * 7, (True,) * 7)  # un-normalising changes nothing


def grid(change: Callable[[dict[str, Any]], object] = lambda processor: None) -> SpatialActionGrid:
    processor = copy.deepcopy(PROCESSOR)
    change(processor)
    return SpatialActionGrid.read(ConfigSection("processor_config.json:", processor), FIRST)


def test_ids_follow_each_other() -> None:
    found = grid()
    assert [found.ids(kind) for kind in range(3)] == [range(100, 132), range(132, 159), range(159, 161)]
    assert found.size == 61


def test_the_last_axis_counts_fastest() -> None:
    """theta cell 1 (1.2 to 1.6), phi cell 2 (0.1 to 1.3), r cell 0 (0 to 0.6); roll 2, pitch 0, yaw 1; open."""
    ids = [FIRST + 1 * 8 + 2 * 2 + 0, FIRST + 32 + 2 * 9 + 0 * 3 + 1, FIRST + 32 + 27 + 1]
    theta, phi, r = 1.4, 0.7, 0.3
    xyz = (r * math.sin(theta) * math.cos(phi), r * math.sin(theta) * math.sin(phi), r * math.cos(theta))
    expected = [*xyz, (0.3 + 1.0) / 2, (-1.0 - 0.1) / 2, (-0.3 + 0.1) / 2, 1.0]
    np.testing.assert_allclose(grid().normalised(ids), [expected], atol=1e-12)


def test_the_sphere_is_clipped_to_the_cube() -> None:
    r = (0.6 + math.sqrt(3)) / 2  # 1.166
    found = grid().normalised([FIRST + 0 * 8 + 0 * 2 + 1, FIRST + 32, FIRST + 59])[0]
    assert r * math.cos(0.6) < 1
    assert found[2] == pytest.approx(r * math.cos(0.6))
    below = grid().normalised([FIRST + 3 * 8 + 1, FIRST + 32, FIRST + 59])[0]
    assert r * math.cos((2.1 + math.pi) / 2) < -1
    assert below[2] == -1


def test_actions_lead_back_to_the_cells_they_lie_in() -> None:
    """But where the cube cuts a point off, which then may lie in a cell beside."""
    found = grid()
    every = [[t, FIRST + 32 + t % 27, FIRST + 59 + t % 2] for t in range(FIRST, FIRST + 32)]
    points = found.normalised([id for step in every for id in step])
    uncut = np.abs(points[:, :3]).max(axis=1) < 1
    assert uncut.sum() > 20
    np.testing.assert_array_equal(found.encoded(points)[uncut], np.array(every)[uncut])
    # theta 1.4 is cell 1, phi 0.7 cell 2, r 0.3 cell 0; beyond the cube: as at its side
    inside = np.array([[0.3 * math.sin(1.4) * math.cos(0.7), 0.3 * math.sin(1.4) * math.sin(0.7), 0.3 * math.cos(1.4)]])
    rest = np.array([[0.9, -0.5, 0.0, 0.7]])
    ids = [[FIRST + 1 * 8 + 2 * 2, FIRST + 32 + 2 * 9 + 0 * 3 + 1, FIRST + 60]]
    np.testing.assert_array_equal(found.encoded(np.hstack([inside, rest])), ids)
    far, near = np.array([[5.0, 0.2, 0.1, 9, 9, 9, 9]]), np.array([[1.0, 0.2, 0.1, 1, 1, 1, 1]])
    np.testing.assert_array_equal(found.encoded(far), found.encoded(near))
    assert [found.shape(kind) for kind in range(3)] == [(4, 4, 2), (3, 3, 3), ()]


def test_ids_outside_their_own_range_are_clipped_into_it() -> None:
    found = grid()
    inside = found.normalised([FIRST + 31, FIRST + 32, FIRST + 60, FIRST, FIRST + 58, FIRST + 59])
    np.testing.assert_array_equal(found.normalised([FIRST + 60, 0, 10_000, 3, FIRST + 60, FIRST + 3]), inside)


def test_without_a_policy_cells_are_uniform() -> None:
    found = grid(lambda processor: processor.pop("bin_policy"))
    first = found.normalised([FIRST, FIRST + 32, FIRST + 59])[0]
    theta, phi, r = math.pi / 8, -math.pi * 3 / 4, math.sqrt(3) / 4
    assert first[2] == pytest.approx(r * math.cos(theta))
    assert first[0] == pytest.approx(r * math.sin(theta) * math.cos(phi))
    np.testing.assert_allclose(first[3:6], -2 / 3)


def test_a_grid_that_is_not_spherical() -> None:
    found = grid(lambda processor: processor["action_config"].update(use_spherical=False))
    np.testing.assert_allclose(found.normalised([FIRST, FIRST + 32, FIRST + 59])[0][:3], [0.6, -1.0, 0.3])


def test_marginals_of_rotation_and_gripper_by_hand() -> None:
    found, probabilities = grid(), np.zeros(27)
    probabilities[[0, 1, 9 + 3]] = 0.5, 0.2, 0.3  # roll 0 pitch 0 yaw 0 and 1; roll 1 pitch 1 yaw 0
    for dimension, expected in ((3, [0.7, 0.3, 0]), (4, [0.7, 0.3, 0]), (5, [0.8, 0.2, 0])):
        values, told = found.marginal(dimension, probabilities, PLAIN)
        np.testing.assert_allclose(told, expected)
        assert values[0] == pytest.approx({3: -0.6, 4: -0.55, 5: -0.65}[dimension])
    values, told = found.marginal(6, np.array([0.25, 0.75]), PLAIN)
    np.testing.assert_allclose((values, told), ([0, 1], [0.25, 0.75]))


def test_many_values_are_told_in_cells_of_equal_width() -> None:
    def finer(processor: dict[str, Any]) -> None:
        processor.pop("bin_policy")
        processor["action_config"]["num_bins"]["translation"] = {"theta_bins": 16, "phi_bins": 32, "r_bins": 8}

    found = grid(finer)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4096))
    for dimension in range(3):
        values, told = found.marginal(dimension, probabilities, PLAIN)
        assert len(values) == 64
        assert told.sum() == pytest.approx(1)
        np.testing.assert_allclose(np.diff(values), values[1] - values[0])
        mean = probabilities @ found.points[0][:, dimension]
        assert told @ values == pytest.approx(mean, abs=(values[1] - values[0]) / 2)


def test_values_are_in_robot_units() -> None:
    scale = ActionScale((-2.0,) * 7, (4.0,) * 7, (True,) * 6 + (False,))
    values, _ = grid().marginal(3, np.ones(27), scale)
    np.testing.assert_allclose(values, 0.5 * (np.array([-0.6, 0.05, 0.65]) + 1) * 6 - 2)
    np.testing.assert_allclose(grid().marginal(6, np.ones(2), scale)[0], [0, 1])
    low, high = grid().limits(scale)
    assert (low[6], high[6]) == (0, 1)
    assert (low[3], high[3]) == pytest.approx((values[0], values[-1]))


def test_what_tokens_say() -> None:
    action = np.array([0.012, -0.034, 0, 0.1, -0.2, 0, 0.0])
    assert said(0, action, action) == "move x+0.012 y-0.034 z+0"
    assert said(1, action, action) == "turn roll+0.1 pitch-0.2 yaw+0"
    assert said(2, action, action) == "gripper closed"
    assert said(2, action, np.ones(7)) == "gripper open"
    assert len(NAMES) == 7


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda p: p.pop("action_config"), "action_config is missing, expected an object"),
        (lambda p: p["action_config"].pop("num_bins"), "action_config.num_bins is missing"),
        (lambda p: p["action_config"]["num_bins"]["rotation"].pop("yaw_bins"), "rotation.yaw_bins is missing"),
        (lambda p: p["action_config"]["num_bins"].update(gripper=0), "num_bins.gripper is 0, expected a whole number"),
        (lambda p: p.update(bin_policy=[1]), r"bin_policy is \[1\], expected an object"),
        (lambda p: p["bin_policy"].pop("rotation"), "bin_policy.rotation is missing"),
        (lambda p: p["bin_policy"]["translation"]["r_bins"].pop(), "r_bins has 2 values, expected 3"),
        (lambda p: p["bin_policy"]["translation"]["r_bins"].reverse(), "r_bins is .*, expected ascending edges"),
        (lambda p: p["bin_policy"]["translation"].update(r_bins=[0, math.nan, 1]), "r_bins is .*, expected ascending"),
        (
            lambda p: p["bin_policy"]["rotation"].update(yaw_bins="wide"),
            "yaw_bins is 'wide', expected a list",
        ),
    ],
)
def test_malformed_grids(change: Callable[[dict[str, Any]], object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        grid(change)
