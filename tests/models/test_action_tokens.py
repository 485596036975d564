from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.action_tokens import ActionScale, ActionTokens, StateTokens
from models.config_section import ConfigSection
from models.errors import UserError

STATE = StateTokens(("x", "gap"), (-1.0, 0.0), (1.0, 0.1), bins=5, first_token="<s0>")
SCALE = ActionScale((-0.2, 0.0), (0.6, 1.0), (True, False))
ACTION = ActionTokens(("x", "gripper"), ("m", "open"), chunk=1, bins=5, first_token="<a0>", begin="<act>")


def test_state_bins_by_hand() -> None:
    """Five bins over [-1, 1] stand for -1, -0.5, 0, 0.5, 1; what is outside is clipped."""
    assert STATE.encode(np.array([0.3, 0.1])).tolist() == [3, 4]
    assert STATE.encode(np.array([-7.0, 0.0])).tolist() == [0, 0]
    np.testing.assert_allclose(STATE.decode(np.array([3, 4])), [0.5, 0.1])


@given(st.floats(-1, 1), st.floats(0, 0.1))
def test_state_is_off_by_half_a_bin_at_most(x: float, gap: float) -> None:
    there_and_back = STATE.decode(STATE.encode(np.array([x, gap])))
    assert abs(there_and_back[0] - x) <= 0.25 + 1e-9
    assert abs(there_and_back[1] - gap) <= 0.0125 + 1e-9


def test_unnormalising_by_hand() -> None:
    """-1, 0, 1 become q01, the middle, q99 where the mask is true and stay as they are where it is not."""
    found = SCALE.to_robot(np.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_allclose(found, [[-0.2, -1.0], [0.2, 0.0], [0.6, 1.0]])
    np.testing.assert_allclose(SCALE.limits(), [[-0.2, -1.0], [0.6, 1.0]])


def test_bin_centres_by_hand() -> None:
    np.testing.assert_allclose(ACTION.centres(SCALE)[:, 0], [-0.2, 0.0, 0.2, 0.4, 0.6])
    np.testing.assert_allclose(ACTION.centres(SCALE)[:, 1], [-1.0, -0.5, 0.0, 0.5, 1.0])


def test_no_mask_is_all_true() -> None:
    section = ConfigSection("stats", {"q01": [0.0, 0.0], "q99": [2.0, 2.0]})
    assert ActionScale.read(section, 2).mask == (True, True)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (None, r"reads 2 state values \(x, gap\), and the observation has no state"),
        (np.zeros(3), r"shape \(3,\)"),
        (np.array([0.0, np.nan]), "not finite in gap"),
    ],
)
def test_refuses_a_state(state: np.ndarray | None, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        STATE.encode(state)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"units": ["m"]}, "2 names and 1 units"),
        ({"bins": 1}, "bins is 1, expected a whole number of at least 2"),
        ({"begin": None}, "vla.action.begin is missing, expected a string"),
        ({"names": "x"}, "names is 'x', expected a list of strings"),
        ({"chunk": True}, "chunk is True"),
    ],
)
def test_refuses_a_section(change: dict, sentence: str) -> None:
    fields = {"names": ["x", "gripper"], "units": ["m", "open"], "bins": 5, "first_token": "<a0>", "begin": "<act>"}
    with pytest.raises(UserError, match=sentence):
        ActionTokens.read(ConfigSection("config.json: vla.action", fields | change))


def test_refuses_statistics_that_do_not_fit() -> None:
    with pytest.raises(UserError, match="q01 has 1 values, expected 2"):
        ActionScale.read(ConfigSection("stats", {"q01": [0.0], "q99": [2.0, 2.0]}), 2)
    with pytest.raises(UserError, match="mask is"):
        ActionScale.read(ConfigSection("stats", {"q01": [0.0] * 2, "q99": [2.0] * 2, "mask": [True]}), 2)
    with pytest.raises(UserError, match="low must be below high"):
        StateTokens.read(
            ConfigSection("state", {"names": ["x"], "low": [1], "high": [1], "bins": 4, "first_token": "<s0>"})
        )
