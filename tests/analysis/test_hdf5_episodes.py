"""The HDF5 format: what is written comes back, and every broken file gets its own sentence."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from analysis.episodes import BrokenEpisode, open_source
from analysis.episodes.hdf5_writer import Series, encode_image
from analysis.types import EpisodeMeta
from models.errors import UserError
from tests.tiny_episode import ACTION_NAMES, ACTION_UNITS, HEIGHT, STEPS, WIDTH, action, contents, frame, mask
from tests.tiny_episode import write_tiny_episode as write


def only(path: Path) -> EpisodeMeta | BrokenEpisode:
    (entry,) = open_source(path).scan()
    return entry


def reason(path: Path) -> str:
    entry = only(path)
    assert isinstance(entry, BrokenEpisode), entry
    assert "\n" not in entry.reason
    return entry.reason


@pytest.mark.slow
def test_what_is_written_comes_back(tiny_episode):
    meta = only(tiny_episode)
    assert (meta.id, meta.length, meta.fps, meta.cameras, meta.success) == ("tiny", STEPS, 5.0, ("shoulder",), True)
    assert (meta.action_names, meta.action_units) == (ACTION_NAMES, ACTION_UNITS)
    assert (meta.task, meta.robot, dict(meta.extra)) == ("block on towel", "none", {"seed": "7"})
    episode = open_source(tiny_episode).open("tiny")
    for index in range(STEPS):
        step = episode.step(index)
        np.testing.assert_array_equal(step.observation.images["shoulder"], frame(index))
        np.testing.assert_array_equal(step.action, action(index))
        assert step.phase == "reach"


def test_truth_comes_back(tiny_episode):
    (block,) = open_source(tiny_episode).open("tiny").step(2).objects["shoulder"]
    assert (block.name, block.box) == ("red block", (16.0, 16.0, 24.0, 24.0))
    np.testing.assert_array_equal(block.mask, mask(2) == 1)
    np.testing.assert_allclose(block.position, [0.2, 0, 0.02])


def test_things_out_of_view_have_no_box(tmp_path):
    truth = contents()["truth"]["shoulder"]
    truth.boxes[3] = np.nan
    path = write(tmp_path / "e.hdf5", truth={"shoulder": truth}, positions=None)
    (block,) = open_source(path).open("tiny").step(3).objects["shoulder"]
    assert block.box is None and block.position is None


def test_rationales_come_back_in_the_order_of_the_questions(tiny_episode):
    first, second = open_source(tiny_episode).open("tiny").rationales
    assert list(first.parts.items()) == [("observation", "a red block"), ("planning", "go right")]
    assert (first.start, first.stop, first.author) == (0, 3, "test")
    assert dict(second.parts) == {"observation": "still a red block"}


def test_encoded_bytes_are_passed_through(tmp_path):
    jpegs = [encode_image(frame(step), "jpeg", 80) for step in range(STEPS)]
    episode = open_source(write(tmp_path / "e.hdf5", images={"wrist": jpegs}, encoding="jpeg")).open("tiny")
    assert episode.encoded_frame("wrist", 4) == (jpegs[4], "image/jpeg")
    assert episode.frame("wrist", 4).shape == (HEIGHT, WIDTH, 3)


def test_the_writer_is_deterministic(tmp_path):
    first, second = write(tmp_path / "a.hdf5"), write(tmp_path / "b.hdf5")
    assert first.read_bytes() == second.read_bytes()


def test_the_writer_refuses_lengths_that_disagree_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match=r"episode of 6 actions: there are 5 phases"):
        write(tmp_path / "e.hdf5", phases=["reach"] * 5)
    with pytest.raises(UserError, match="encoding 'gif'"):
        write(tmp_path / "e.hdf5", encoding="gif")
    assert list(tmp_path.iterdir()) == []


def test_an_instruction_may_be_long_or_look_like_html(tmp_path):
    text = "<script>alert(1)</script>" + "ä" * 10_000
    assert only(write(tmp_path / "e.hdf5", instruction=text)).instruction == text


def test_text_that_is_no_utf8_is_replaced(tmp_path):
    path = write(tmp_path / "e.hdf5")
    with h5py.File(path, "r+") as file:
        file.attrs["instruction"] = b"put \xff there"
    assert only(path).instruction == "put \N{REPLACEMENT CHARACTER} there"


def test_only_the_tail_is_missing(tmp_path):
    path = write(tmp_path / "e.hdf5")
    path.write_bytes(path.read_bytes()[:-100])
    assert "cut short" in reason(path)


def test_other_files(tmp_path):
    (tmp_path / "text.hdf5").write_text("hello")
    (tmp_path / "empty.hdf5").touch()
    assert "does not begin with HDF5's signature" in reason(tmp_path / "text.hdf5")
    assert "empty.hdf5 is empty" in reason(tmp_path / "empty.hdf5")
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["data"] = [1, 2]
    assert "no VLA Lens episode" in reason(tmp_path / "other.hdf5")


def delete(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]

    return change


def shorten(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        attributes, values, kind = dict(file[name].attrs), file[name][:-1], file[name].dtype
        del file[name]
        file.create_dataset(name, data=values, dtype=kind).attrs.update(attributes)

    return change


def attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    return lambda file: file.attrs.__setitem__(name, value)


def poison(name: str, value: float) -> Callable[[h5py.File], None]:
    return lambda file: file[name].__setitem__((2, 5), value)


def store_outside(file: h5py.File) -> None:
    del file["actions"]
    file.create_dataset("actions", shape=(STEPS, 7), dtype="f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def link_outside(file: h5py.File) -> None:
    del file["actions"]
    file["actions"] = h5py.ExternalLink("other.hdf5", "/actions")


def claim_a_trillion(file: h5py.File) -> None:
    del file["actions"]
    file.create_dataset("actions", shape=(10**12, 7), chunks=(1024, 7), dtype="f4")


def relabel(file: h5py.File) -> None:
    file["actions"].attrs["names"] = ["x", "y"]


BROKEN = {
    "no actions": (delete("actions"), "has no /actions"),
    "no images": (delete("observations/images/shoulder"), "has no images"),
    "short images": (shorten("observations/images/shoulder"), "has 5 entries, expected 6"),
    "short state": (shorten("observations/state"), "/observations/state has 5 entries, expected 6"),
    "short masks": (shorten("truth/shoulder/mask"), "/truth/shoulder/mask has 5 entries, expected 6"),
    "short phases": (shorten("steps/phase"), "/steps/phase has 5 entries, expected 6"),
    "short rationales": (shorten("rationales/stop"), "/rationales/stop has 1 entries, expected 2"),
    "nan action": (
        poison("actions", np.nan),
        "1 actions that are no finite number; the first is nan at step 2, dimension",
    ),
    "infinite action": (poison("actions", np.inf), "inf at step 2, dimension 'yaw'"),
    "nan state": (poison("observations/state", np.nan), "state that are no finite number"),
    "other version": (attribute("version", 2), "is version 2 of the episode format"),
    "no rate": (attribute("fps", 0.0), "says 0.0 frames a second"),
    "odd rate": (attribute("fps", "fast"), "no number in its attribute 'fps'"),
    "names": (relabel, "has 7 columns and 2 names"),
    "external storage": (store_outside, "keeps its data in another file"),
    "external link": (link_outside, "is a link; only data inside the file"),
    "huge": (claim_a_trillion, "claims [1000000000000, 7]"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_says_what_is_wrong(tmp_path, case):
    change, sentence = BROKEN[case]
    path = write(tmp_path / "e.hdf5")
    with h5py.File(path, "r+") as file:
        change(file)
    assert sentence in reason(path)
    with pytest.raises(UserError):
        open_source(path).open("tiny")


def test_zero_steps(tmp_path):
    assert "zero steps" in reason(write(tmp_path / "e.hdf5", **contents(steps=0)))


def test_an_instruction_without_end_is_refused(tmp_path):
    assert "at most 100,000" in reason(write(tmp_path / "e.hdf5", instruction="a" * 100_001))


def test_a_rationale_outside_the_episode(tmp_path):
    path = write(tmp_path / "e.hdf5")
    with h5py.File(path, "r+") as file:
        file["rationales/stop"][1] = 99
    assert "rationale 1" in reason(path) and "[3, 99) of 6" in reason(path)


def test_an_image_that_cannot_be_decoded_is_reported_where_it_is_read(tmp_path):
    path = write(tmp_path / "e.hdf5")
    with h5py.File(path, "r+") as file:
        images = file["observations/images/shoulder"]
        images[2] = np.frombuffer(b"no image at all", np.uint8)
        images[3] = images[3][: len(images[3]) // 2]
        images[4] = np.frombuffer(encode_image(np.zeros((9, 9, 3), np.uint8), "png", 0), np.uint8)
    episode = open_source(path).open("tiny")
    assert episode.frame("shoulder", 1).shape == (HEIGHT, WIDTH, 3)
    for index, sentence in (
        (2, "frame 2 of camera 'shoulder' in e.hdf5 cannot be decoded"),
        (4, "png of 9 x 9 pixels"),
    ):
        with pytest.raises(UserError, match=sentence):
            episode.encoded_frame("shoulder", index)
    with pytest.raises(UserError, match=r"frame 3 .* cannot be decoded"):
        episode.step(3)


def test_a_first_image_that_cannot_be_decoded_is_reported_at_opening(tmp_path):
    path = write(tmp_path / "e.hdf5")
    with h5py.File(path, "r+") as file:
        file["observations/images/shoulder"][0] = np.frombuffer(b"no image", np.uint8)
    with pytest.raises(UserError, match=r"frame 0 .* cannot be decoded"):
        open_source(path).open("tiny")


def test_good_files_are_listed_beside_broken_ones(tmp_path):
    write(tmp_path / "a.hdf5", id="a")
    (tmp_path / "b.hdf5").write_text("broken")
    write(tmp_path / "below" / "c.h5", id="c")
    write(tmp_path / "d.hdf5", id="a")
    write(tmp_path / ".hidden.hdf5", id="hidden")
    entries = list(open_source(tmp_path).scan())
    assert [e.id for e in entries if isinstance(e, EpisodeMeta)] == ["a", "c"]
    reasons = [e.reason for e in entries if isinstance(e, BrokenEpisode)]
    assert "signature" in reasons[0] and "the id 'a', as a.hdf5 has" in reasons[1]


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    outside = write(tmp_path / "outside" / "e.hdf5")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.hdf5").symlink_to(outside)
    (inside / "folder").symlink_to(outside.parent)
    assert "leads out of" in reason(inside)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = write(tmp_path / "e.hdf5")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(h5py, "File", denied)  # root may read everything, so a mode of 0 would not do
    assert "may not be read" in reason(path)


def test_a_file_that_changes_after_opening_is_noticed(tmp_path):
    path = write(tmp_path / "e.hdf5")
    episode = open_source(path).open("tiny")
    write(path, instruction="something else")
    with pytest.raises(UserError, match="was changed or removed"):
        episode.step(0)


@pytest.mark.slow
def test_no_handle_outlives_its_use(tiny_episode):
    def handles() -> int:
        return len(os.listdir("/proc/self/fd"))

    open_source(tiny_episode).open("tiny")  # starts the process that tries HDF5 files, which stays
    before = handles()
    episodes = [open_source(tiny_episode).open("tiny") for _ in range(20)]
    assert all(episode.step(0).index == 0 for episode in episodes)
    assert handles() == before


@pytest.mark.slow
def test_frames_are_decoded_on_demand(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), dtype=np.uint8)
    picture = encode_image(noise, "jpeg", 60)
    count = 300  # 900 MB decoded
    actions = Series(np.zeros((count, 1), np.float32), ("x",), ("m",))
    plain = {"states": None, "phases": None, "truth": None, "positions": None, "rationales": ()}
    path = write(tmp_path / "e.hdf5", actions=actions, images={"c": [picture] * count}, encoding="jpeg", **plain)
    tracemalloc.start()
    episode = open_source(path).open("tiny")
    assert episode.frame("c", 299).shape == (1000, 1000, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 3_000_000 < peak < 30_000_000  # bytes: one frame, not all


def test_series_names_follow_their_columns(tmp_path):
    path = write(
        tmp_path / "e.hdf5", actions=Series(np.zeros((STEPS, 2), np.float32), ("left", "right"), ("rad", "rad"))
    )
    assert only(path).action_names == ("left", "right")
