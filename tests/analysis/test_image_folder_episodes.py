"""Folders of images: every accepted layout, numeric order, and a sentence for whatever is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.episodes import BrokenEpisode, open_source
from analysis.episodes.hdf5_writer import encode_image
from analysis.episodes.image_folder import ImageFolderSource
from models.errors import UserError
from tests.tiny_image_folder import STEPS, picture, write_image_folder


def reason(path: Path) -> str:
    (entry,) = ImageFolderSource(path).scan()
    assert isinstance(entry, BrokenEpisode), entry
    assert "\n" not in entry.reason
    return entry.reason


def test_frames_come_in_numeric_order(tmp_path):
    source = open_source(write_image_folder(tmp_path / "e", seed=2))
    assert isinstance(source, ImageFolderSource)
    episode = source.open("e")
    for step in range(STEPS):
        np.testing.assert_array_equal(episode.frame("front", step), picture(2, step))
        np.testing.assert_allclose(episode.actions[step], [0.1 * step, 2, step % 2], rtol=1e-6)
    meta = episode.meta
    assert (meta.action_names, meta.action_units) == (("x", "yaw", "gripper"), ("m", "rad", "open"))
    assert (meta.instruction, meta.fps, meta.success) == ("put the red block on the towel", 5.0, True)


def test_the_ten_lines_of_the_documentation_write_one(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "episode-image-folder.md").read_text(encoding="utf-8")
    names: dict[str, Callable[..., None]] = {}
    exec(compile(page.split("```python\n")[1].split("```")[0], "episode-image-folder.md", "exec"), names)
    frames = [Image.fromarray(picture(0, step)) for step in range(STEPS)]
    names["save"](tmp_path / "e", frames, [[step, 0, 1] for step in range(STEPS)], "push", 10)
    episode = open_source(tmp_path).open("e")
    assert (episode.meta.instruction, episode.meta.fps, episode.meta.action_units) == ("push", 10.0, ("m", "m", "open"))
    np.testing.assert_array_equal(episode.frame("front", 11), picture(0, 11))


def test_bytes_are_passed_through(tmp_path):
    folder = write_image_folder(tmp_path / "e")
    jpeg = encode_image(picture(0, 3), "jpeg", 90)
    (folder / "frames" / "front" / "3.png").write_bytes(jpeg)  # the bytes tell, not the suffix
    episode = open_source(folder).open("e")
    assert episode.encoded_frame("front", 3) == (jpeg, "image/jpeg")
    assert episode.encoded_frame("front", 4) == ((folder / "frames/front/4.png").read_bytes(), "image/png")


@pytest.mark.parametrize("place", ["frames", "."])
def test_one_camera_needs_no_folder_of_its_name(tmp_path, place):
    folder = write_image_folder(tmp_path / "e")
    for file in sorted((folder / "frames" / "front").iterdir()):
        file.rename(folder / place / f"frame_{file.name}")
    (folder / "frames" / "front").rmdir()
    episode = open_source(folder).open("e")
    assert episode.meta.cameras == ("image",)
    np.testing.assert_array_equal(episode.frame("image", 11), picture(0, 11))


def test_everything_may_stand_in_the_json(tmp_path):
    rows = [[0.1 * step, 1.0] for step in range(STEPS)]
    folder = write_image_folder(
        tmp_path / "e",
        actions=rows,
        action_names=["x", "gripper"],
        action_units=["m", "open"],
        states=rows,
        state_names=["a", "b"],
        state_units=["rad", "rad"],
        rationales=[{"start": 0, "stop": 4, "author": "me", "parts": {"planning": "go left"}}],
    )
    (folder / "actions.csv").unlink()
    episode = open_source(folder).open("e")
    np.testing.assert_allclose(episode.actions, rows, rtol=1e-6)
    np.testing.assert_allclose(episode.states, rows, rtol=1e-6)
    assert episode.meta.state_names == ("a", "b") and episode.meta.has_rationale
    assert (episode.rationales[0].stop, episode.rationales[0].text) == (4, "go left")


def test_a_column_of_time_gives_the_rate(tmp_path):
    folder = write_image_folder(tmp_path / "e")
    (folder / "episode.json").unlink()
    rows = [f"{100 + 0.25 * step},{step}" for step in range(STEPS)]
    (folder / "actions.csv").write_text("\n".join(["time [s],x [m]", *rows]))
    shutil.copy(folder / "actions.csv", folder / "states.csv")
    episode = open_source(folder).open("e")
    assert episode.meta.fps == pytest.approx(4) and episode.meta.action_names == ("x",)
    assert episode.states.shape == (STEPS, 1) and episode.meta.success is None


@pytest.mark.parametrize(
    ("column", "scale"),
    [("timestamp", 1), ("t", 1), ("time_s", 1), ("Timestamp [s]", 1), ("time [ms]", 1000), ("timestamp [ns]", 1e9)],
)
def test_a_column_of_time_by_any_name_is_no_action(tmp_path, column, scale):
    folder = write_image_folder(tmp_path / "e", fps=None)
    rows = [f"{(1_700_000_000 + 0.25 * step) * scale},{step}" for step in range(STEPS)]
    (folder / "actions.csv").write_text("\n".join([f"{column},x [m]", *rows]))
    episode = open_source(folder).open("e")
    assert episode.meta.fps == pytest.approx(4) and episode.meta.action_names == ("x",)
    np.testing.assert_array_equal(episode.actions[:, 0], range(STEPS))


def test_columns_that_number_the_rows_are_no_actions(tmp_path):
    folder = write_image_folder(tmp_path / "e")
    names = ("step", "frame", "Frame_Index", "index", "episode_index", "x")
    (folder / "actions.csv").write_text("\n".join([",".join(names), *(f"{step}," * 5 + "7" for step in range(STEPS))]))
    shutil.copy(folder / "actions.csv", folder / "states.csv")
    episode = open_source(folder).open("e")
    assert (episode.meta.action_names, episode.meta.state_names) == (("x",), ("x",))
    assert (episode.actions == 7).all() and (episode.states == 7).all()


def test_a_folder_of_folders_is_one_source(tmp_path):
    write_image_folder(tmp_path / "day_1" / "a")
    write_image_folder(tmp_path / "day_2" / "a")
    (tmp_path / "day_2" / "a" / "actions.csv").write_text("x [m]\n1\n")
    good, broken = open_source(tmp_path).scan()
    assert good.id == "day_1/a" and open_source(tmp_path).open("day_1/a").meta == good
    assert isinstance(broken, BrokenEpisode) and broken.path.endswith("day_2/a")


@pytest.mark.parametrize("id", ["", "b", "../outside", "link", "data"])
def test_ids_do_not_lead_out_of_the_folder(tmp_path, id):
    outside = write_image_folder(tmp_path / "outside")
    write_image_folder(tmp_path / "data" / "a")
    (tmp_path / "data" / "link").symlink_to(outside)
    with pytest.raises(UserError, match="there is no episode"):
        ImageFolderSource(tmp_path / "data").open(id)


def test_the_digest_follows_tables_and_frames(tmp_path):
    folder = write_image_folder(tmp_path / "e")
    (before,) = ImageFolderSource(folder).scan()
    (folder / "frames/front/0.png").write_bytes(encode_image(np.zeros((16, 24, 3), np.uint8), "png", 0))
    (after,) = ImageFolderSource(folder).scan()
    assert before.digest != after.digest


def test_a_list_reads_no_frame(tmp_path, monkeypatch):
    folder = write_image_folder(tmp_path / "e")
    original, read = Path.read_bytes, []
    monkeypatch.setattr(Path, "read_bytes", lambda self: (read.append(self.name), original(self))[1])
    assert len(list(ImageFolderSource(folder).scan())) == 1
    assert set(read) == {"episode.json", "actions.csv"}


def table(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "actions.csv").write_text(text)


def said(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "episode.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def rows(value: str, at: int) -> str:
    return "x [m]\n" + "\n".join(value if step == at else "0.5" for step in range(STEPS))


def link_a_frame(folder: Path) -> None:
    (folder / "frames/front/2.png").unlink()
    (folder / "frames/front/2.png").symlink_to("/etc/hostname")


def link_the_frames(folder: Path) -> None:
    shutil.move(folder / "frames", folder.parent.parent / "frames")
    (folder / "frames").symlink_to(folder.parent.parent / "frames")


def link_the_table(folder: Path) -> None:
    (folder / "actions.csv").unlink()
    (folder / "actions.csv").symlink_to("/etc/hostname")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "nan": (table(rows("nan", 3)), "1 actions that are no finite number; the first is nan at step 3, dimension 'x'"),
    "word": (table(rows("left", 3)), "holds something that is no number at step 3: ['left']"),
    "ragged": (table(rows("1,2", 3)), "has 2 values at step 3; expected 1"),
    "no header": (table("0.1\n" * STEPS), "has the column '0.1'; expected a header"),
    "empty": (table(""), "e/actions.csv is empty"),
    "zero steps": (table("x [m]\n"), "zero steps"),
    "only counters": (table("step,t\n" + "1,2\n" * STEPS), "has no column besides step, t; expected one a dimension"),
    "odd time": (
        table("time [h],x\n" + "1,2\n" * STEPS),
        "has the time in 'h'; expected one of s, sec, seconds, ms, us, ns",
    ),
    "names twice": (table("x,x\n" + "1,2\n" * STEPS), "names a column twice"),
    "short": (table("x [m]\n1\n"), "camera 'front' has 12 frames and there are 1 actions"),
    "no rate": (said(fps=None), "does not say its frame rate"),
    "odd rate": (said(fps=-1), "says -1 frames a second"),
    "odd success": (said(success="yes"), "'success' in e/episode.json is 'yes'"),
    "odd instruction": (said(instruction=3), "'instruction' in e/episode.json is 3"),
    "twice": (said(actions=[[1]]), "has actions twice"),
    "rationale": (
        said(rationales=[{"start": 0, "stop": 99, "parts": {"planning": "go"}}]),
        "rationale 0 in e/episode.json covers steps [0, 99) of 12",
    ),
    "no json": (lambda folder: (folder / "episode.json").write_text("{"), "is no JSON"),
    "deep json": (lambda folder: (folder / "episode.json").write_text("[" * 200_000), "is no JSON"),
    "list": (lambda folder: (folder / "episode.json").write_text("[]"), "holds list; expected an object"),
    "no frames": (lambda folder: shutil.rmtree(folder / "frames"), "e has no frames"),
    "gap": (lambda folder: (folder / "frames/front/4.png").unlink(), "has no frame 4 between 0 and 11"),
    "same number": (lambda folder: (folder / "frames/front/04.jpg").touch(), "two frames 4: 04.jpg and 4.png"),
    "no number": (lambda folder: (folder / "frames/front/first.png").touch(), "has no number at the end of its name"),
    "link": (link_a_frame, "2.png of camera 'front' in e is a link that leads out"),
    "linked folder": (link_the_frames, "frames in e is a link that leads out"),
    "linked table": (link_the_table, "e/actions.csv is a link that leads out"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_says_what_is_wrong(tmp_path, case):
    change, sentence = BROKEN[case]
    folder = write_image_folder(tmp_path / "data" / "e")
    change(folder)
    assert sentence in reason(folder)
    with pytest.raises(UserError):
        ImageFolderSource(folder).open("e")


def test_a_table_without_end_is_refused(tmp_path, monkeypatch):
    folder = write_image_folder(tmp_path / "e")
    monkeypatch.setattr("analysis.episodes.image_folder_table.MAX_BYTES", 50)
    assert "bytes; at most 50 are read" in reason(folder)


def test_an_image_that_cannot_be_decoded_is_reported_where_it_is_read(tmp_path):
    folder = write_image_folder(tmp_path / "e")
    (folder / "frames/front/2.png").write_text("no image")
    episode = open_source(folder).open("e")
    with pytest.raises(UserError, match=r"2\.png of camera 'front' cannot be decoded"):
        episode.step(2)
    (folder / "frames/front/3.png").unlink()
    with pytest.raises(UserError, match=r"3\.png .* cannot be read"):
        episode.step(3)
