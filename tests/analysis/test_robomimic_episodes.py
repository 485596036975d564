"""robomimic and LIBERO: what is stored comes back upright, named and in numeric order; what is broken is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from analysis.episodes import BrokenEpisode, open_source
from analysis.episodes.hdf5_trajectory import Hdf5Trajectory
from analysis.episodes.robomimic import RobomimicSource
from analysis.episodes.robomimic_env import words_of
from analysis.types import EpisodeMeta
from models.errors import UserError
from tests.tiny_episode import write_tiny_episode
from tests.tiny_robomimic import SIDE, STEPS, actions, numbers, picture, write_libero, write_robomimic

LIBERO_NAME = "KITCHEN_SCENE3_turn_on_the_stove_demo.hdf5"


def metas(path: Path) -> list[EpisodeMeta | BrokenEpisode]:
    return list(RobomimicSource(path).scan())


def reason(path: Path) -> str:
    found = [entry.reason for entry in metas(path) if isinstance(entry, BrokenEpisode)]
    assert found and "\n" not in found[0]
    return found[0]


def test_demonstrations_come_in_numeric_order(tmp_path):
    path = write_robomimic(tmp_path / "lift.hdf5", demos=(0, 1, 2, 10, 11))
    ids = [meta.id for meta in metas(path)]
    assert ids == [f"lift/demo_{demo}" for demo in (0, 1, 2, 10, 11)]


@pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
def test_what_robomimic_stores_comes_back(tmp_path, compression):
    source = open_source(write_robomimic(tmp_path / "lift.hdf5", compression=compression).parent)
    assert isinstance(source, RobomimicSource)
    episode = source.open("lift/demo_1")
    meta = episode.meta
    assert (meta.length, meta.fps, meta.task, meta.robot) == (STEPS, 20.0, "Lift", "Panda")
    assert meta.cameras == ("agentview", "robot0_eye_in_hand")
    assert meta.action_names == ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    assert meta.state_names[:9] == ("x", "y", "z", "qx", "qy", "qz", "qw", "gripper_0", "gripper_1")
    others = {"layout": "robomimic", "splits": "valid", "other observations": "object"}
    assert meta.extra == {"actions_are": "relative", **others}
    np.testing.assert_allclose(episode.actions, actions(1), rtol=1e-6)
    np.testing.assert_allclose(episode.states, np.hstack([numbers(n, 1) for n in (3, 4, 2, 7)]))
    for step in range(STEPS):
        np.testing.assert_array_equal(episode.frame("agentview", step), picture(1, step))


def test_libero_is_shown_upright_with_its_instruction(tmp_path):
    source = open_source(write_libero(tmp_path / LIBERO_NAME))
    assert isinstance(source, RobomimicSource)
    episode = source.open(f"{Path(LIBERO_NAME).stem}/demo_1")
    assert (episode.meta.instruction, episode.meta.fps) == ("turn on the stove", 20.0)
    assert episode.meta.extra["layout"] == "LIBERO" and "upside down" in episode.meta.extra["frames"]
    assert episode.meta.cameras == ("agentview", "eye_in_hand")
    assert episode.meta.state_names[:8] == ("x", "y", "z", "rx", "ry", "rz", "gripper_0", "gripper_1")
    assert episode.states.shape == (STEPS, 15)  # ee_pos and ee_ori say again what ee_states says
    np.testing.assert_array_equal(episode.frame("agentview", 2), picture(1, 2))
    np.testing.assert_array_equal(episode.frame("eye_in_hand", 2), picture(1, 2)[:, ::-1])


def test_libero_rendered_the_other_way_round_is_left_as_it_is(tmp_path):
    path = write_libero(tmp_path / LIBERO_NAME)
    with h5py.File(path, "r+") as file:
        file["data"].attrs["macros_image_convention"] = "opencv"
    episode = open_source(path).open(f"{path.stem}/demo_0")
    np.testing.assert_array_equal(episode.frame("agentview", 1), picture(0, 1)[::-1])


def test_the_player_gets_the_upright_frame_as_png(tmp_path):
    from analysis.episodes.encoded_image import decode

    episode = open_source(write_libero(tmp_path / LIBERO_NAME)).open(f"{Path(LIBERO_NAME).stem}/demo_0")
    data, media = episode.encoded_frame("agentview", 3)
    assert media == "image/png"
    np.testing.assert_array_equal(decode(data, "frame"), picture(0, 3))


def test_an_instruction_is_read_from_the_file_name(tmp_path):
    path = write_libero(tmp_path / LIBERO_NAME, instruction=None)
    assert {meta.instruction for meta in metas(path)} == {"turn on the stove"}
    assert words_of(Path("LIVING_ROOM_SCENE12_pick_up_the_mug_demo.hdf5")) == "pick up the mug"
    assert words_of(Path("pick_up_the_milk_demo.hdf5")) == "pick up the milk"


@pytest.mark.parametrize("solved", [True, False])
def test_success_is_a_reward_of_one(tmp_path, solved):
    path = write_robomimic(tmp_path / "lift.hdf5", solved=solved)
    assert {meta.success for meta in metas(path)} == {solved}
    with h5py.File(path, "r+") as file:
        del file["data/demo_0/rewards"], file["data/demo_1/rewards"], file["data/demo_1/dones"]
    assert [meta.success for meta in metas(path)] == [True, None]


def test_absolute_actions_are_metres_and_radians(tmp_path):
    path = write_robomimic(tmp_path / "lift.hdf5", controller_configs={"type": "OSC_POSE", "control_delta": False})
    assert metas(path)[0].action_units == ("m", "m", "m", "rad", "rad", "rad", "closed")


def test_a_folder_of_files_is_one_source(tmp_path):
    write_libero(tmp_path / "libero_90" / LIBERO_NAME)
    write_libero(tmp_path / "libero_10" / LIBERO_NAME)
    found = metas(tmp_path)
    assert [meta.id for meta in found][:2] == [f"libero_10/{Path(LIBERO_NAME).stem}/demo_{k}" for k in (0, 1)]
    assert len({meta.id for meta in found}) == 4
    assert RobomimicSource(tmp_path).open(found[3].id).meta == found[3]


@pytest.mark.parametrize("id", ["", "demo_0", "other/demo_0", "../outside/demo_0", "/etc/demo_0", "inside/link/demo_0"])
def test_ids_do_not_lead_out_of_the_folder(tmp_path, id):
    outside = write_robomimic(tmp_path / "outside.hdf5")
    write_robomimic(tmp_path / "data" / "inside" / "lift.hdf5")
    (tmp_path / "data" / "inside" / "link.hdf5").symlink_to(outside)
    with pytest.raises(UserError, match="there is no"):
        RobomimicSource(tmp_path / "data").open(id)


def test_our_own_files_are_not_claimed(tmp_path):
    write_tiny_episode(tmp_path / "ours.hdf5")
    assert not RobomimicSource.handles(tmp_path)


def delete(name: str) -> Callable[[h5py.File], None]:
    return lambda file: file.__delitem__(name)


def replace(name: str, values: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = values

    return change


def attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    return lambda file: file["data"].attrs.__setitem__(name, value)


def claim_a_trillion(file: h5py.File) -> None:
    del file["data/demo_0/actions"]
    file.create_dataset("data/demo_0/actions", shape=(10**12, 7), chunks=(1024, 7), dtype="f4")


def claim_wide_frames(file: h5py.File) -> None:
    del file["data/demo_0/obs/agentview_image"]
    file.create_dataset(
        "data/demo_0/obs/agentview_image", shape=(STEPS, 10**6, 10**6, 3), chunks=(1, 64, 64, 3), dtype="u1"
    )


def store_outside(file: h5py.File) -> None:
    del file["data/demo_0/actions"]
    outside = [("/etc/hostname", 0, h5py.h5f.UNLIMITED)]
    file.create_dataset("data/demo_0/actions", shape=(STEPS, 7), dtype="f4", external=outside)


def store_virtually(file: h5py.File) -> None:
    del file["data/demo_0/actions"]
    layout = h5py.VirtualLayout(shape=(STEPS, 7), dtype="f8")
    layout[:] = h5py.VirtualSource("other.hdf5", "actions", shape=(STEPS, 7))
    file.create_virtual_dataset("data/demo_0/actions", layout)


def use_a_plug_in(file: h5py.File) -> None:
    del file["data/demo_0/actions"]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((1, 7))
    properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())  # Zstandard
    space = h5py.h5s.create_simple((STEPS, 7))
    h5py.h5d.create(file["data/demo_0"].id, b"actions", h5py.h5t.IEEE_F32LE, space, dcpl=properties)


NAN = np.where(np.arange(35).reshape(STEPS, 7) == 19, np.nan, 0.5)
BROKEN: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "no actions": (delete("data/demo_0/actions"), "demo_0 in lift.hdf5 has no dataset /data/demo_0/actions"),
    "no observations": (delete("data/demo_0/obs"), "has no group /data/demo_0/obs"),
    "nan": (replace("data/demo_0/actions", NAN), "1 actions that are no finite number; the first is nan at step 2"),
    "zero steps": (replace("data/demo_0/actions", np.zeros((0, 7))), "demo_0 in lift.hdf5 has zero steps"),
    "short frames": (
        replace("data/demo_0/obs/agentview_image", np.zeros((STEPS - 1, SIDE, SIDE, 3), np.uint8)),
        "lengths disagree in demo_0 in lift.hdf5: /data/demo_0/obs/agentview_image has 4 entries, expected 5",
    ),
    "float frames": (
        replace("data/demo_0/obs/agentview_image", np.zeros((STEPS, SIDE, SIDE, 3))),
        "is float64 [5, 24, 24, 3]; expected frames",
    ),
    "short rewards": (replace("data/demo_0/rewards", np.zeros(3)), "/data/demo_0/rewards has 3 entries, expected 5"),
    "words for actions": (replace("data/demo_0/actions", [b"left"] * STEPS), "expected numbers [steps, columns]"),
    "huge": (claim_a_trillion, "claims [1000000000000, 7]"),
    "wide frames": (claim_wide_frames, "implausibly large"),
    "external storage": (store_outside, "keeps its data in another file"),
    "virtual storage": (store_virtually, "keeps its data in another file"),
    "plug-in": (use_a_plug_in, "compressed by HDF5 filter 32015"),
    "external link": (replace("data/demo_0/actions", h5py.ExternalLink("o.hdf5", "/a")), "/actions in demo_0"),
    "soft link": (replace("data/demo_0/actions", h5py.SoftLink("/data/demo_1/actions")), "is a link"),
    "no json": (attribute("env_args", "{env"), "is no JSON: '{env'"),
    "odd rate": (attribute("env_args", json.dumps({"env_kwargs": {"control_freq": "fast"}})), "control_freq of 'fast'"),
    "no demos": (replace("data", h5py.SoftLink("/elsewhere")), "/data in lift.hdf5 is a link"),
    "odd mask": (replace("mask/train", 3.5), "/mask/train in lift.hdf5 is float64 []; expected a list of names"),
}


def test_states_that_are_no_number_are_left_out_and_named(tmp_path):
    path = write_robomimic(tmp_path / "lift.hdf5", demos=(0,))
    with h5py.File(path, "r+") as file:
        replace("data/demo_0/obs/robot0_eef_pos", NAN[:, 4:])(file)
    (meta,) = metas(path)
    episode = RobomimicSource(path).open("lift/demo_0")
    assert episode.meta == meta and episode.states is None and meta.state_names == ()
    assert "the first is nan at step 2, dimension 'y'" in meta.extra["state"]
    assert episode.step(2).observation.state is None and len(episode.actions) == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_demonstration_says_what_is_wrong(tmp_path, case):
    change, sentence = BROKEN[case]
    path = write_robomimic(tmp_path / "lift.hdf5")
    with h5py.File(path, "r+") as file:
        change(file)
    assert sentence in reason(path)
    with pytest.raises(UserError):
        RobomimicSource(path).open("lift/demo_0")


def test_the_other_demonstrations_stay(tmp_path):
    path = write_robomimic(tmp_path / "lift.hdf5")
    with h5py.File(path, "r+") as file:
        del file["data/demo_0/actions"]
    broken, good = metas(path)
    assert isinstance(broken, BrokenEpisode) and broken.path.endswith("lift.hdf5/demo_0")
    assert isinstance(good, EpisodeMeta) and RobomimicSource(path).open("lift/demo_1").step(0).index == 0


def test_low_dimensional_files_are_told_how_to_get_images(tmp_path):
    path = write_robomimic(tmp_path / "low_dim.hdf5", demos=(0,))
    with h5py.File(path, "r+") as file:
        del file["data/demo_0/obs/agentview_image"], file["data/demo_0/obs/robot0_eye_in_hand_image"]
    assert "dataset_states_to_obs.py" in reason(path)


def test_what_is_listed_is_what_is_opened_where_two_files_differ_by_suffix_only(tmp_path):
    write_robomimic(tmp_path / "a.hdf5", demos=(5,))
    write_robomimic(tmp_path / "a.h5", demos=(3,))
    listed, broken = metas(tmp_path)
    assert isinstance(listed, EpisodeMeta) and isinstance(broken, BrokenEpisode)
    assert RobomimicSource(tmp_path).open(listed.id).meta == listed


def test_a_file_without_demonstrations(tmp_path):
    path = write_robomimic(tmp_path / "lift.hdf5", demos=())
    assert "has no demonstrations" in reason(path)
    with pytest.raises(UserError, match="it has 0 others"):
        RobomimicSource(path).open("lift/demo_0")


def test_files_beside_are_named(tmp_path):
    write_robomimic(tmp_path / "a.hdf5")
    (tmp_path / "b.hdf5").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    (tmp_path / "c.hdf5").write_bytes((tmp_path / "a.hdf5").read_bytes()[:-3000])
    (tmp_path / "d.hdf5").symlink_to("/etc/hostname")
    write_robomimic(tmp_path / "a.h5")
    reasons = " | ".join(entry.reason for entry in metas(tmp_path) if isinstance(entry, BrokenEpisode))
    for sentence in ("Git LFS pointer", "cut short", "leads out of", "but for the suffix"):
        assert sentence in reasons


def test_a_list_reads_no_whole_frame(tmp_path, monkeypatch):
    path = write_robomimic(tmp_path / "lift.hdf5")
    sizes = []
    original = h5py.Dataset.__getitem__

    def watched(self: h5py.Dataset, *selection: object, **more: object) -> object:
        found = original(self, *selection, **more)
        if self.ndim == 4:
            sizes.append(np.asarray(found).size)
        return found

    monkeypatch.setattr(h5py.Dataset, "__getitem__", watched)
    assert len(metas(path)) == 2
    assert sizes and max(sizes) <= SIDE * 3  # one row of pixels, for the digest


def test_a_file_that_changes_after_opening_is_noticed(tmp_path):
    path = write_robomimic(tmp_path / "lift.hdf5")
    episode = RobomimicSource(path).open("lift/demo_0")
    assert isinstance(episode, Hdf5Trajectory)
    write_robomimic(path, demos=(0, 1, 2))
    with pytest.raises(UserError, match="was changed or removed"):
        episode.step(0)
