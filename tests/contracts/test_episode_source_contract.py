"""What holds for every registered episode format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from analysis.episodes import BrokenEpisode, EpisodeSource, open_source
from analysis.episodes.source import FORMATS
from analysis.types import Episode, EpisodeMeta
from models.errors import UserError
from tests.tiny_aloha import write_aloha
from tests.tiny_episode import write_tiny_episode
from tests.tiny_image_folder import write_image_folder
from tests.tiny_lerobot_dataset import write_lerobot
from tests.tiny_rlds import write_bridge
from tests.tiny_robomimic import write_libero


def write_hdf5(folder: Path) -> Path:
    write_tiny_episode(folder / "first.hdf5", id="first")
    write_tiny_episode(folder / "second.hdf5", id="second")
    return folder


def write_robomimic_folder(folder: Path) -> Path:
    return write_libero(folder / "KITCHEN_SCENE3_turn_on_the_stove_demo.hdf5").parent


def write_aloha_folder(folder: Path) -> Path:
    write_aloha(folder / "episode_0.hdf5", seed=0)
    return write_aloha(folder / "episode_1.hdf5", seed=1, compressed=True).parent


def write_image_folders(folder: Path) -> Path:
    write_image_folder(folder / "episode_0", seed=0)
    return write_image_folder(folder / "episode_1", seed=1, cameras=("front", "wrist")).parent


def write_lerobot_folder(folder: Path) -> Path:
    return write_lerobot(folder, "v3.1", language=True)


def write_lerobot_sets(folder: Path) -> Path:
    for number in range(2):
        listed = write_lerobot(folder / f"user/set_{number}", "v2.1") / "meta/episodes.jsonl"
        listed.write_text(listed.read_text().splitlines()[number])
    return folder


WRITERS: Mapping[str, Callable[[Path], Path]] = {  # each writes two good episodes of known content
    "lerobot": write_lerobot_folder,
    "hdf5": write_hdf5,
    "robomimic": write_robomimic_folder,
    "aloha": write_aloha_folder,
    "rlds": write_bridge,
    "images": write_image_folders,
    "lerobot_sets": write_lerobot_sets,
}


@pytest.fixture(scope="module", params=FORMATS)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EpisodeSource:
    return open_source(WRITERS[request.param](tmp_path_factory.mktemp(request.param)))


@pytest.fixture(scope="module")
def metas(source: EpisodeSource) -> list[EpisodeMeta]:
    entries = list(source.scan())
    assert not [entry for entry in entries if isinstance(entry, BrokenEpisode)]
    return [entry for entry in entries if isinstance(entry, EpisodeMeta)]


@pytest.fixture(scope="module")
def episode(source: EpisodeSource, metas: list[EpisodeMeta]) -> Episode:
    return source.open(metas[0].id)


def test_every_format_has_a_case():
    assert WRITERS.keys() == FORMATS.keys()


def test_scan_is_stable_and_ids_are_unique(source, metas):
    assert len({meta.id for meta in metas}) == len(metas) == 2
    assert list(source.scan()) == metas


def test_two_episodes_have_two_digests(metas):
    assert len({meta.digest for meta in metas}) == 2
    assert all(len(meta.digest) == 16 for meta in metas)


def test_open_agrees_with_scan(source, metas):
    for meta in metas:
        assert source.open(meta.id).meta == meta


def test_lengths_and_names_agree(episode):
    meta = episode.meta
    assert episode.actions.shape == (meta.length, len(meta.action_names)) == (meta.length, len(meta.action_units))
    assert episode.states is None or episode.states.shape == (meta.length, len(meta.state_names))
    assert np.isfinite(episode.actions).all()


def test_every_step_can_be_read(episode):
    for index in range(episode.meta.length):
        step = episode.step(index)
        assert step.index == index
        assert step.time == pytest.approx(index / episode.meta.fps)
        assert set(step.observation.images) == set(episode.meta.cameras)
        assert step.observation.instruction == episode.meta.instruction
        np.testing.assert_array_equal(step.action, episode.actions[index])


def test_frames_are_those_of_the_step(episode):
    for camera in episode.meta.cameras:
        frame = episode.frame(camera, 1)
        assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
        np.testing.assert_array_equal(frame, episode.step(1).observation.images[camera])


def test_encoded_frames_are_images_a_browser_shows(episode):
    data, media = episode.encoded_frame(episode.meta.cameras[0], 0)
    assert data.startswith({"image/jpeg": b"\xff\xd8", "image/png": b"\x89PNG"}[media])


def test_rationales_lie_in_the_episode(episode):
    assert all(0 <= said.start < said.stop <= episode.meta.length and said.text for said in episode.rationales)


@pytest.mark.parametrize("index", [-1, 10**6])
def test_a_step_outside_is_refused(episode, index):
    with pytest.raises(UserError, match="steps 0 to"):
        episode.step(index)


def test_an_unknown_camera_is_refused(episode):
    with pytest.raises(UserError, match="no camera"):
        episode.frame("no such camera", 0)


def test_an_unknown_id_is_refused(source):
    with pytest.raises(UserError, match="nobody"):
        source.open("nobody")


def test_a_path_in_no_format_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no episode")
    with pytest.raises(UserError, match="no episodes were recognised"):
        open_source(tmp_path)
    with pytest.raises(UserError, match="nothing at"):
        open_source(tmp_path / "absent")
    with pytest.raises(UserError, match="known formats are"):
        open_source(tmp_path, format="vhs")
