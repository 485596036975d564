"""ALOHA: raw and padded JPEG frames, names of both arms, and what is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from analysis.episodes import BrokenEpisode, open_source
from analysis.episodes.aloha import AlohaSource
from models.errors import UserError
from tests.tiny_aloha import CAMERAS, STEPS, actions, jpeg, picture, write_aloha


def reason(path: Path) -> str:
    (entry,) = AlohaSource(path).scan()
    assert isinstance(entry, BrokenEpisode), entry
    assert "\n" not in entry.reason
    return entry.reason


def test_raw_frames_come_back(tmp_path):
    source = open_source(write_aloha(tmp_path / "episode_0.hdf5", seed=1))
    assert isinstance(source, AlohaSource)
    (meta,) = source.scan()
    assert (meta.id, meta.length, meta.fps, meta.cameras, meta.robot) == ("episode_0", STEPS, 50.0, CAMERAS, "ALOHA")
    assert (meta.action_names[0], meta.action_names[13]) == ("left_waist", "right_gripper")
    assert (meta.action_units[0], meta.action_units[6]) == ("rad", "open")
    episode = source.open("episode_0")
    np.testing.assert_allclose(episode.actions, actions(1), rtol=1e-6)
    np.testing.assert_allclose(episode.states, actions(1) - 0.01, rtol=1e-5)
    np.testing.assert_array_equal(episode.frame("cam_high", 2), picture(1, 2))
    assert episode.encoded_frame("cam_high", 2)[1] == "image/png"


def test_padded_jpegs_are_passed_through_without_their_padding(tmp_path):
    episode = open_source(write_aloha(tmp_path / "episode_0.hdf5", compressed=True)).open("episode_0")
    assert episode.encoded_frame("cam_left_wrist", 3) == (jpeg(0, 3), "image/jpeg")
    assert np.abs(episode.frame("cam_high", 1).astype(int) - picture(0, 1)).mean() < 8  # of 255: a JPEG of quality 50


@pytest.mark.parametrize("kind", ["vlen", "fixed"])
def test_byte_strings_are_frames_too(tmp_path, kind):
    path = write_aloha(tmp_path / "episode_0.hdf5", compressed=True)
    with h5py.File(path, "r+") as file:
        for camera in CAMERAS:
            name = f"observations/images/{camera}"
            del file[name]
            if kind == "fixed":
                file[name] = np.array([jpeg(0, step) for step in range(STEPS)])
            else:
                data = file.create_dataset(name, shape=(STEPS,), dtype=h5py.vlen_dtype(np.uint8))
                for step in range(STEPS):
                    data[step] = np.frombuffer(jpeg(0, step), np.uint8)
    assert open_source(path).open("episode_0").encoded_frame("cam_high", 3) == (jpeg(0, 3), "image/jpeg")


def test_a_mobile_base_and_other_robots_have_names(tmp_path):
    (mobile,) = open_source(write_aloha(tmp_path / "m" / "e.hdf5", columns=16)).scan()
    assert mobile.action_names[14:] == ("base_linear", "base_angular") and mobile.action_units[14:] == ("m/s", "rad/s")
    (other,) = open_source(write_aloha(tmp_path / "o" / "e.hdf5", columns=8)).scan()
    assert other.action_names[0] == "action_0" and other.state_names[0] == "qpos_0"


def test_an_instruction_is_read_where_relatives_keep_it(tmp_path):
    path = write_aloha(tmp_path / "e.hdf5")
    with h5py.File(path, "r+") as file:
        file["language_raw"] = np.array([b"hand over the cube"])
    (meta,) = open_source(path).scan()
    assert meta.instruction == "hand over the cube"


def test_a_folder_is_one_source(tmp_path):
    write_aloha(tmp_path / "task" / "episode_0.hdf5", seed=0)
    write_aloha(tmp_path / "task" / "episode_1.hdf5", seed=1)
    metas = list(open_source(tmp_path).scan())
    assert [meta.id for meta in metas] == ["task/episode_0", "task/episode_1"]
    assert metas[0].digest != metas[1].digest


def replace(name: str, values: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = values

    return change


def remove_images(file: h5py.File) -> None:
    for camera in CAMERAS:
        del file[f"observations/images/{camera}"]


HIGH = "observations/images/cam_high"
BROKEN: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "nan": (replace("action", np.full((STEPS, 14), np.nan)), "the first is nan at step 0, dimension 'left_waist'"),
    "zero steps": (replace("action", np.zeros((0, 14))), "has zero steps"),
    "short state": (replace("observations/qpos", np.zeros((3, 14))), "/observations/qpos has 3 entries, expected 4"),
    "short frames": (replace(HIGH, np.zeros((3, 2, 2, 3), np.uint8)), "cam_high has 3 entries, expected 4"),
    "four channels": (replace(HIGH, np.zeros((STEPS, 2, 2, 4), np.uint8)), "expected frames"),
    "empty frames": (replace(HIGH, np.zeros((STEPS, 0, 2, 3), np.uint8)), "they are empty"),
    "no images": (remove_images, "has no images"),
    "link": (replace(HIGH, h5py.ExternalLink("other.hdf5", "/x")), "is a link"),
}


def test_states_that_are_no_number_are_left_out_and_named(tmp_path):
    path = write_aloha(tmp_path / "e.hdf5")
    with h5py.File(path, "r+") as file:
        file["observations/qpos"][1, 3] = np.inf
    (meta,) = AlohaSource(path).scan()
    episode = AlohaSource(path).open("e")
    assert episode.meta == meta and episode.states is None and meta.state_names == ()
    assert "the first is inf at step 1, dimension 'left_forearm_roll'" in meta.extra["state"]
    assert len(episode.actions) == STEPS


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_says_what_is_wrong(tmp_path, case):
    change, sentence = BROKEN[case]
    path = write_aloha(tmp_path / "e.hdf5")
    with h5py.File(path, "r+") as file:
        change(file)
    assert sentence in reason(path)
    with pytest.raises(UserError):
        AlohaSource(path).open("e")


def test_bytes_that_are_no_image_are_reported_where_they_are_read(tmp_path):
    path = write_aloha(tmp_path / "e.hdf5", compressed=True)
    with h5py.File(path, "r+") as file:
        file[HIGH][2] = 7
        file[HIGH][3] = 0
    episode = open_source(path).open("e")
    for index in (2, 3):
        with pytest.raises(UserError, match=f"frame {index} of camera 'cam_high' in e.hdf5 cannot be decoded"):
            episode.encoded_frame("cam_high", index)
        with pytest.raises(UserError, match=f"frame {index} .* cannot be decoded"):
            episode.step(index)
