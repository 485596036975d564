"""The planted policy, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.fakes import PlantedPolicy
from models.types import Capture, Observation, Part

DARK_BUT_LOWER_LEFT = np.zeros((4, 6, 3), np.uint8)
DARK_BUT_LOWER_LEFT[2:, :3] = 255
SEEN = Observation({"front": DARK_BUT_LOWER_LEFT}, "find light")


def test_action_and_bins() -> None:
    """The lower left patch has mean 1: bins 0, 0.5, 1 are 1, 0.5, 0 away, so weights 0, 0.5, 1 over 1.5."""
    prediction = PlantedPolicy().predict(SEEN)
    assert prediction.actions.tolist() == [[1.0]]
    np.testing.assert_allclose(prediction.action_distribution[0].probabilities, [0, 1 / 3, 2 / 3])
    assert prediction.rationale is not None
    assert prediction.rationale.parts == {"observation": "patch 2"}
    assert prediction.layout.tokens[4:] == ("<bos>", "find", "light", "<obs>", "patch", "2", "<act>", "brightness +1")


def test_planted_rows() -> None:
    """The action's row: head 0 puts 0.6 on patch 2, 0.1 on <bos> (4), 0.3 on "light" (6); head 1 is even over 11."""
    record = PlantedPolicy().predict(SEEN, Capture(queries=(Part.ACTION,))).attention[0]
    assert (record.queries, record.produced) == ((10,), (4,))
    expected = np.zeros(12)
    expected[[2, 4, 6]] = 0.6, 0.1, 0.3
    np.testing.assert_allclose(record.weights[1, 0, 0], expected, atol=1e-7)
    np.testing.assert_allclose(record.weights[1, 1, 0], [1 / 11] * 11 + [0], atol=1e-7)


@pytest.mark.parametrize("force", ["<obs> patch 0", "patch 0"])
def test_forced_words(force: str) -> None:
    prediction = PlantedPolicy().predict(SEEN, force=force)
    assert prediction.text == "<obs> patch 0"
    assert prediction.actions.tolist() == [[1.0]], "this policy does not listen to itself"
