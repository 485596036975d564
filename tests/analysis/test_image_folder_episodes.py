"""Folders of images: every accepted layout, numeric order, and a sentence for whatever is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.episodes import BrokenEpisode, open_source
from analysis.episodes.encoded_image import decode
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


@pytest.mark.parametrize(
    ("place", "cameras"),
    [
        ("images", ("image",)),
        ("images/left arm", ("left arm",)),
        ("front", ("front",)),
        ("frames/rgb", ("rgb",)),
    ],
)
def test_frames_may_lie_in_a_folder_of_any_name(tmp_path, place, cameras):
    folder = write_image_folder(tmp_path / "e")
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / "frames" / "front").rename(folder / "moved")
    shutil.rmtree(folder / "frames")
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / "moved").rename(folder / place)
    episode = open_source(tmp_path).open("e")
    assert episode.meta.cameras == cameras
    np.testing.assert_array_equal(episode.frame(cameras[0], 11), picture(0, 11))


def test_depth_beside_pictures_is_no_camera(tmp_path):
    folder = write_image_folder(tmp_path / "e", cameras=("front", "front_depth"))
    assert open_source(folder).open("e").meta.cameras == ("front",)


@pytest.mark.parametrize("name", ["frame_{:04}_rgb.png", "ep7_{}.png", "{} left.png"])
def test_the_last_number_of_a_name_is_the_frames(tmp_path, name):
    folder = write_image_folder(tmp_path / "e")
    for step in range(STEPS):
        (folder / f"frames/front/{step}.png").rename(folder / "frames/front" / name.format(step))
    np.testing.assert_array_equal(open_source(folder).open("e").frame("front", 11), picture(0, 11))


@pytest.mark.parametrize("kind", ["webp", "bmp"])
def test_webp_and_bmp_are_passed_on_as_png(tmp_path, kind):
    folder = write_image_folder(tmp_path / "e")
    for step in range(STEPS):
        (folder / f"frames/front/{step}.png").unlink()
        Image.fromarray(picture(0, step)).save(folder / f"frames/front/{step}.{kind}", lossless=True)
    episode = open_source(folder).open("e")
    np.testing.assert_array_equal(episode.frame("front", 11), picture(0, 11))
    data, media = episode.encoded_frame("front", 11)
    assert media == "image/png"
    np.testing.assert_array_equal(decode(data, "the frame"), picture(0, 11))


@pytest.mark.parametrize("description", ["episode.json", "metadata.json", "run 7.json"])
@pytest.mark.parametrize("table", ["actions.csv", "data.csv"])
def test_the_only_table_of_its_kind_may_have_any_name(tmp_path, description, table):
    folder = write_image_folder(tmp_path / "data" / "e")
    (known,) = open_source(folder).scan()
    (folder / "episode.json").rename(folder / description)
    (folder / "actions.csv").rename(folder / table)
    (found,) = open_source(tmp_path / "data").scan()
    assert replace(found, digest="") == replace(known, digest="")
    (folder / table).write_text("x\n1\n")
    (changed,) = open_source(folder).scan()
    assert isinstance(changed, BrokenEpisode) and "there are 1 actions" in changed.reason


def test_a_json_of_any_name_with_actions_and_no_names_of_them(tmp_path):
    folder = write_image_folder(tmp_path / "e", actions=[[step, 1] for step in range(STEPS)])
    (folder / "actions.csv").unlink()
    (folder / "episode.json").rename(folder / "rollout.json")
    (folder / "log.csv").write_text("time,loss\n0,1\n")  # the actions are told already
    episode = open_source(folder).open("e")
    assert episode.meta.action_names == ("action 0", "action 1") and episode.meta.action_units == ("", "")
    np.testing.assert_array_equal(episode.actions[:, 0], range(STEPS))


def steps_of(folder: Path, **changes: object) -> None:
    """Frames named step by step, backwards, so that their numbers do not tell the order."""
    steps = [
        {"action": [step, 1], "state": [step], "image": f"frames/front/{STEPS - 1 - step}.png"} for step in range(STEPS)
    ]
    (folder / "episode.json").write_text(json.dumps({"fps": 5, "steps": steps} | changes))
    (folder / "actions.csv").unlink()


def test_steps_name_their_actions_states_and_images(tmp_path):
    folder = write_image_folder(tmp_path / "e")
    steps_of(folder)
    episode = open_source(folder).open("e")
    assert episode.meta.cameras == ("front",) and episode.meta.length == STEPS
    np.testing.assert_array_equal(episode.states[:, 0], range(STEPS))
    np.testing.assert_array_equal(episode.frame("front", 0), picture(0, STEPS - 1))


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([{"action": [1]}, {}], "step 1 in e/episode.json has no 'action', and others have"),
        ([{"action": 1}], "actions in e/episode.json are no list of lists"),
        ([{"action": [1], "image": 3}], "the images of the steps in e/episode.json are no texts"),
        ([{"action": [1], "image": "../../x.png"}], "names '../../x.png' as its image"),
        ([{"action": [1], "image": "\0.png"}], "as its image; expected frames/000000.png"),
        ([{"action": [1], "image": "\ud800.png"}], "as its image; expected frames/000000.png"),
        ([{"action": [1], "image": "x" * 300 + ".png"}], "as its image; expected frames/000000.png"),
        ([{"action": [1], "image": "actions.csv"}], "names 'actions.csv' as its image"),
        ([{"action": [1], "image": "99.png"}], "99.png of camera 'image' in e is no file"),
        ([{"action": [1], "image": "frames/front/1.png"}] * 2 + [{"action": [2]}], "step 2 in e/episode.json has no"),
        ([], "zero steps"),
        ("many", "has no actions"),
    ],
)
def test_steps_that_cannot_be_used(tmp_path, steps, sentence):
    folder = write_image_folder(tmp_path / "e")
    steps_of(folder, steps=steps)
    assert sentence in reason(folder)


def test_actions_and_states_in_one_table(tmp_path):
    folder = write_image_folder(tmp_path / "e")
    header = "time,action_x [m],state_x [m],action_y [m]"
    (folder / "actions.csv").write_text("\n".join([header, *(f"{step},{step},7,1" for step in range(STEPS))]))
    meta = open_source(folder).open("e").meta
    assert (meta.action_names, meta.state_names) == (("action_x", "action_y"), ("state_x",))


def charts(folder: Path) -> None:
    (folder / "loss.csv").write_text("step,loss\n0,1\n")
    Image.fromarray(picture(0, 0)).save(folder / "loss.png")


def frames_only(folder: Path) -> None:
    write_image_folder(folder / "e")
    (folder / "e" / "actions.csv").unlink()
    (folder / "e" / "episode.json").unlink()


def labels(folder: Path) -> None:
    frames_only(folder)
    (folder / "e" / "labels.json").write_text('{"0.png": "cat"}')


def two_tables(folder: Path) -> None:
    frames_only(folder)
    for name in ("a.csv", "b.csv"):
        (folder / "e" / name).write_text("x\n1\n")


@pytest.mark.parametrize("write", [charts, frames_only, labels, two_tables])
def test_pictures_alone_are_no_episode(tmp_path, write):
    write(tmp_path)
    with pytest.raises(UserError, match="no episodes were recognised"):
        open_source(tmp_path)


@pytest.mark.parametrize("where", ["data", "data/numbered"])
def test_a_table_beside_pictures_hides_no_episode(tmp_path, where):
    for name in ("a", "b"):
        write_image_folder(tmp_path / "data" / name)
        for file in (tmp_path / "data" / name / "frames" / "front").iterdir():
            file.rename(tmp_path / "data" / name / file.name)  # frames beside the table, as in a camera's folder
    (tmp_path / where).mkdir(exist_ok=True)
    charts(tmp_path / where)
    assert [entry.id for entry in open_source(tmp_path / "data").scan()] == ["a", "b"]


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
    "no number": (lambda folder: (folder / "frames/front/first.png").touch(), "has no number in its name"),
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
