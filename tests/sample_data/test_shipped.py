"""What the repository ships: readable by h5py alone, whole, and true."""

import io
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

EPISODES = sorted((Path(__file__).parents[2] / "sample_data" / "episodes").glob("*.hdf5"))
CHECKPOINTS = Path(__file__).parents[2] / "sample_data" / "checkpoints"


def test_six_episodes_of_each_task() -> None:
    tasks = Counter(h5py.File(path).attrs["task"] for path in EPISODES)
    assert len(tasks) == 4
    assert all(count >= 6 for count in tasks.values())


@pytest.mark.slow
@pytest.mark.parametrize("path", EPISODES, ids=lambda path: path.stem)
def test_an_episode_is_whole(path: Path) -> None:
    with h5py.File(path) as file:
        steps = len(file["actions"])
        assert bool(file.attrs["success"])
        assert file["actions"].shape == (steps, 7)
        assert np.isfinite(file["actions"][:]).all()
        frames = file["observations/images/shoulder"]
        assert len(frames) == len(file["steps/phase"]) == len(file["observations/state"]) == steps
        assert Image.open(io.BytesIO(frames[steps - 1].tobytes())).size == (256, 256)
        mask = file["truth/shoulder/mask"]
        seen = np.asarray(Image.open(io.BytesIO(mask[0].tobytes())))
        boxes = file["truth/shoulder/box"][0]
        for number in range(1, len(mask.attrs["labels"])):
            rows, columns = np.nonzero(seen == number)
            expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [np.nan] * 4
            np.testing.assert_array_equal(boxes[number - 1], expected)
        assert list(file["rationales/start"]) == list(range(steps))
        assert all(text.endswith(b".") for text in file["rationales/parts/spatial"][:])


@pytest.mark.parametrize("name", ["base", "tuned"])
def test_a_checkpoint_is_small_enough_for_git(name: str) -> None:
    weights = CHECKPOINTS / name / "model.safetensors"
    assert weights.stat().st_size < 16 * 2**20
    assert not list((CHECKPOINTS / name).glob("*.bin"))
