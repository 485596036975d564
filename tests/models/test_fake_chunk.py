"""The planted chunk policy, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import UserError
from models.fake_chunk import PlantedChunkPolicy
from models.types import Capture, Observation, Part

FRONT, WRIST = np.zeros((4, 6, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)
FRONT[2:, :3] = 255  # patch 2
WRIST[:4, 4:] = 51  # patch 1, mean 0.2
SEEN = Observation({"wrist": WRIST, "front": FRONT}, "find light", np.array([0.5, 9.0], np.float32))


def test_actions_marks_and_depth() -> None:
    """f = 1, w = 0.2, state 0.5: reach is 0.6, 0.7, 0.8, 0.9, grip 0.2."""
    said = PlantedChunkPolicy().predict(SEEN)
    np.testing.assert_allclose(said.actions, [[0.6, 0.2], [0.7, 0.2], [0.8, 0.2], [0.9, 0.2]])
    assert (len(said.tokens), said.written) == (0, 4)
    assert said.layout.tokens[8:] == ("<bos>", "find", "light", "+0.5", "step 0", "step 1", "step 2", "step 3")
    assert [(mark.camera, mark.kind, mark.at) for mark in said.marks] == [
        ("front", "box", (0, 2, 3, 4)),
        ("wrist", "point", (6, 2)),
    ]
    np.testing.assert_allclose(said.depth[0].metres, [[2, 2], [1, 2]])


def test_planted_rows() -> None:
    """Step 1 looks at patch 1 of "wrist" (position 5): at the end 0.6, 0.3 on the state, 0.1 on <bos>."""
    first, _, last = PlantedChunkPolicy().predict(SEEN, Capture(queries=(Part.ACTION,))).attention
    assert (first.denoising_step, last.denoising_step, last.stream) == (0, 2, "action expert")
    assert (last.queries, last.produced) == ((12, 13, 14, 15), (0, 1, 2, 3))
    expected = np.zeros(16)
    expected[[5, 8, 11]] = 0.6, 0.1, 0.3
    np.testing.assert_allclose(last.weights[0, 0, 1], expected, atol=1e-7)
    np.testing.assert_allclose(first.weights[1, 0, 0, [2, 8]], [0.2, 0.5], atol=1e-7)
    np.testing.assert_allclose(last.weights[:, 1], 1 / 16, atol=1e-7)


def test_a_camera_that_is_missing_is_named() -> None:
    with pytest.raises(UserError, match="reads the camera 'front'; the observation has image"):
        PlantedChunkPolicy().predict(Observation({"image": WRIST}, "find light", np.zeros(1, np.float32)))
