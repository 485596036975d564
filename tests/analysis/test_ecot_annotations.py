"""ECoT annotations: one pass into an index, joined to episodes, and everything that can be wrong with the file."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.annotations import AnnotatedEpisode, EcotAnnotation, EcotIndex, build_ecot_index
from analysis.annotations.ecot import read_annotation
from analysis.annotations.ecot_stream import PORTION
from analysis.annotations.json_nan import NanAsNull
from analysis.annotations.json_nesting import JsonNesting
from analysis.episodes import BrokenEpisode, open_source
from analysis.types import Episode, EpisodeMeta
from models.errors import UserError
from tests import tiny_ecot
from tests.tiny_ecot import file_path, write_large_ecot, write_tiny_ecot

META = EpisodeMeta("any", "any", "put the carrot on the plate", 6, 5.0, ("image_0",), None)
PEAK = """
import sys
from pathlib import Path
from analysis.annotations import build_ecot_index
index = build_ecot_index(Path(sys.argv[1]), Path(sys.argv[2]))
line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(len(index), int(line.split()[1]) / 1024)
"""


def of(number: int, id: str = "0", length: int = 6) -> EpisodeMeta:
    return replace(META, length=length, extra={"file_path": file_path(number), "episode_id": id})


def built(source: Path, at: Path) -> EcotIndex:
    index = build_ecot_index(source, at)
    assert index is not None
    return index


@pytest.fixture
def index(tmp_path: Path) -> EcotIndex:
    return built(write_tiny_ecot(tmp_path / "ecot.json"), tmp_path / "cache" / "ecot.sqlite")


def annotation(index: EcotIndex, meta: EpisodeMeta) -> EcotAnnotation:
    found = index.annotation(meta)
    assert found is not None
    return found


def test_equal_steps_become_one_rationale(index):
    said = annotation(index, of(0)).rationales
    assert [(part.start, part.stop) for part in said] == [(0, 2), (2, 4), (4, 6)]
    assert list(said[0].parts) == ["task", "plan", "subtask reasoning", "subtask", "move reasoning", "move"]
    assert [part.parts["subtask"] for part in said] == ["Reach for the carrot", "Grasp the carrot", "Grasp the carrot"]
    assert [part.parts["move"] for part in said] == ["move down", "move down", "close gripper"]
    assert said[0].parts["subtask reasoning"] == "The gripper is not there yet."


def test_a_gap_and_the_order_of_steps(index):
    steps = {step: tiny_ecot.reasoning(0) for step in ("10", "0", "9", "2", "1")}
    said = read_annotation("a", "0", {"reasoning": steps}).rationales
    assert [(part.start, part.stop) for part in said] == [(0, 3), (9, 11)]


def test_rationales_end_with_the_episode(index):
    said = annotation(index, of(0)).rationales_within(3)
    assert [(part.start, part.stop) for part in said] == [(0, 2), (2, 3)]


def test_boxes_are_scaled_to_the_frame_of_the_episode(index):
    carrot, plate = annotation(index, of(0)).objects(3, width=640, height=480)
    assert (carrot.name, carrot.box) == ("carrot", (120.0, 0.0, 160.0, 30.0))
    assert (plate.name, plate.box) == ("plate", (120.0, 60.0, 160.0, 90.0))
    assert [seen.name for seen in annotation(index, of(0)).objects(3, 256, 256, confidence=0.6)] == ["carrot"]
    assert annotation(index, of(0)).objects(6, 256, 256) == ()


def test_boxes_are_cut_to_the_frame():
    boxes = [[["left", [-20, 10, 30, 20]], ["outside", [300, 10, 310, 20]], ["thin", [5, 5, 5, 9]]]]
    (seen,) = read_annotation("a", "0", {"features": {"bboxes": boxes}}).objects(0, 256, 256)
    assert (seen.name, seen.box) == ("left", (0.0, 10.0, 30.0, 20.0))


def test_episodes_are_found_by_path_and_id(index):
    assert len(index) == 3
    assert len(annotation(index, of(0, "7")).boxes) == 3
    broken = BrokenEpisode("a", "is damaged")
    one = replace(of(1), has_rationale=True, annotated=annotation(index, of(1)).digest)
    assert list(index.marked([of(1), broken, of(2)])) == [one, broken, of(2)]
    assert index.annotation(of(1, "7")) is None and index.annotation(META) is None


def test_joined_to_an_episode(tmp_path, tiny_episode, index):
    source = open_source(tiny_episode)
    plain = source.open(next(iter(source.scan())).id)
    joined = AnnotatedEpisode.join(plain, annotation(index, of(0)))
    added = joined.rationales[len(plain.rationales) :]
    assert joined.meta.has_rationale and [(part.start, part.stop) for part in added] == [(0, 2), (2, 4), (4, 6)]
    seen = joined.step(1).objects[joined.camera]  # frames of 64 x 48
    assert [thing.box for thing in seen[-2:]] == [(4.0, 0.0, 8.0, 3.0), (4.0, 6.0, 8.0, 9.0)]
    assert len(seen) == len(plain.step(1).objects.get(joined.camera, ())) + 2
    assert joined.meta.annotated == annotation(index, of(0)).digest
    assert joined.step(1).action.tolist() == plain.actions[1].tolist()
    assert joined.encoded_frame(joined.camera, 1) == plain.encoded_frame(joined.camera, 1)


def test_what_is_joined_is_named_by_its_content(tmp_path, tiny_episode):
    def entry(box: int) -> dict[str, object]:
        return tiny_ecot.episode() | {"features": {"bboxes": [[["carrot", [box, 0, 20, 20]]]]}}

    names = [read_annotation(file_path(0), "0", stored).digest for stored in (entry(1), entry(1), entry(2))]
    assert names[0] == names[1] != names[2]
    source = open_source(tiny_episode)
    plain = source.open(next(iter(source.scan())).id)
    joined: Episode = plain
    for box in (1, 2):
        joined = AnnotatedEpisode.join(joined, read_annotation(file_path(0), "0", entry(box)))
    assert joined.meta.annotated == f"{names[0]} {names[2]}"


def test_an_episode_without_reasoning_has_boxes_only(tmp_path):
    bare = {key: value for key, value in tiny_ecot.episode().items() if key != "reasoning"}
    index = built(write_tiny_ecot(tmp_path / "ecot.json", {file_path(0): {"0": bare}}), tmp_path / "ecot.sqlite")
    assert list(index.marked([of(0)])) == [replace(of(0), annotated=annotation(index, of(0)).digest)]
    assert annotation(index, of(0)).rationales == () and len(annotation(index, of(0)).boxes) == 6


def test_an_index_is_made_once_and_again_when_the_file_changes(tmp_path):
    source, at = write_tiny_ecot(tmp_path / "ecot.json"), tmp_path / "ecot.sqlite"
    passes: list[tuple[int, int]] = []
    for _ in range(2):
        build_ecot_index(source, at, progress=lambda read, size: passes.append((read, size)))
        assert passes == [(source.stat().st_size,) * 2]
    write_tiny_ecot(source, {file_path(5): {"0": tiny_ecot.episode(5)}})
    assert len(built(source, at)) == 1


@pytest.mark.parametrize("damage", [b"no database", b"", "cut"])
def test_a_damaged_index_is_made_again(tmp_path, damage):
    source, at = write_tiny_ecot(tmp_path / "ecot.json"), tmp_path / "ecot.sqlite"
    whole = built(source, at).path.read_bytes()
    at.write_bytes(whole[:50] if damage == "cut" else damage)
    with pytest.raises(UserError, match="damaged or absent"):
        EcotIndex(at).annotation(of(0))
    assert len(built(source, at)) == 3


def test_cancelling_leaves_nothing_or_the_index_before(tmp_path):
    source, at = write_tiny_ecot(tmp_path / "ecot.json"), tmp_path / "cache" / "ecot.sqlite"
    assert build_ecot_index(source, at, cancelled=lambda: True) is None
    assert list(at.parent.iterdir()) == []
    built(source, at)
    write_tiny_ecot(source, {file_path(5): {"0": tiny_ecot.episode(5)}})
    assert build_ecot_index(source, at, cancelled=lambda: True) is None
    assert len(EcotIndex(at)) == 3


@pytest.mark.slow
def test_a_file_that_is_cut_short_says_how_far_it_got(tmp_path):
    source = tmp_path / "ecot.json"
    write_large_ecot(source, megabytes=2)
    whole = source.read_bytes()
    source.write_bytes(whole[:1_500_000])
    with pytest.raises(UserError, match=r"up to byte 1,500,000 of 1,500,000 \(\d\d recordings\), then it is cut short"):
        build_ecot_index(source, tmp_path / "cache" / "ecot.sqlite")
    assert list((tmp_path / "cache").iterdir()) == []
    source.write_bytes(whole[:1_000_000] + b"\xff\x00" + whole[1_000_002:])
    with pytest.raises(UserError, match=rf"up to byte {3 * PORTION:,} of .* then it is no valid JSON"):
        build_ecot_index(source, tmp_path / "cache" / "ecot.sqlite")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with b''; expected JSON"),
        (b"[1, 2]", "begins with"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"{}", "has no episodes"),
        (b'{"a": 1}', "'a' .* holds no episodes"),
        (b'{"a": {"0": {"actions": []}}}', "holds no episodes"),
        (b'{"a": {"0": {"reasoning": nan}}}', "no valid JSON"),
        (b'{"a": {"0": {"reasoning": {}}}} NaN', "no valid JSON"),
        (b'{"a": {"0": {"reasoning": -NaNs}}}', "no valid JSON"),
        (b'{"a": ' * 100_000, "nested more than 32 levels"),
        (b'{"' + b"a" * (33 << 20), "more than 32 MiB under one name"),
        (b'{"a": {"0": {"reasoning": {}}}} {', "no valid JSON"),
        (b'{"\\udc80": {"0": {"reasoning": {}}}}', "no valid JSON"),
    ],
)
def test_files_that_are_no_annotations(tmp_path, content, message):
    (tmp_path / "ecot.json").write_bytes(content)
    with pytest.raises(UserError, match=message):
        build_ecot_index(tmp_path / "ecot.json", tmp_path / "ecot.sqlite")
    assert not (tmp_path / "ecot.sqlite").exists()


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.json cannot be read: No such file"):
        build_ecot_index(tmp_path / "absent.json", tmp_path / "ecot.sqlite")


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"reasoning": []}, None),
        ({"reasoning": [1]}, "are no objects"),
        ({"reasoning": {"first": {}}}, "'first' in 'reasoning' is no step number"),
        ({"reasoning": {"0": {"task": 5}}}, "'task' of step 0 is no text"),
        ({"features": {"bboxes": {"0": []}}}, "no list with a list for each step"),
        ({"features": {"bboxes": [[["cup", [1, 2, 3]]]]}}, "expected .confidence, name"),
        ({"features": {"bboxes": [[["cup", [1, 2, 3, "4"]]]]}}, "expected four numbers"),
    ],
)
def test_an_episode_in_another_layout_is_named(stored, message):
    if message is None:
        assert read_annotation("a", "0", stored).rationales == ()
        return
    with pytest.raises(UserError, match=message) as raised:
        read_annotation("the/file", "7", stored)
    assert "episode 7 in the/file" in str(raised.value)


def test_depth_is_counted_outside_strings_and_across_portions():
    text = json.dumps({"a[": ['"[[{', "\\", {"b": [[1]]}], "c": '\\\\"]'}).encode()
    for size in (1, 2, 3, 7, len(text)):
        nesting = JsonNesting()
        depths = [nesting.deepest(text[start : start + size]) for start in range(0, len(text), size)]
        assert (max(depths), nesting.deepest(b" ")) == (5, 0)


def test_pythons_nan_becomes_null_outside_strings_and_across_portions():
    numbers = [float("nan"), 1, float("inf"), -float("inf"), None]
    text = json.dumps({'NaN"': numbers, "b\\": ["NaN, Infinity\\", '\\"NaN', "-Infinity"], "c": float("nan")}).encode()
    wanted = {'NaN"': [None, 1, None, None, None], "b\\": ["NaN, Infinity\\", '\\"NaN', "-Infinity"], "c": None}
    for size in (1, 2, 3, 5, 7, 11, 50, len(text)):
        nesting, strict, out = JsonNesting(), NanAsNull(), b""
        for start in range(0, len(text), size):
            portion = text[start : start + size]
            out += strict(portion, nesting.in_string, nesting.escaped)
            nesting.deepest(portion)
        assert json.loads(out + strict.kept) == wanted


def test_annotations_with_pythons_nan_are_read(tmp_path):
    one = tiny_ecot.episode(0)
    one["features"]["state_3d"][1] = [float("nan"), float("-inf"), 0]
    source = write_tiny_ecot(tmp_path / "ecot.json", {file_path(0): {"0": one}})
    assert b"NaN" in source.read_bytes()
    assert len(built(source, tmp_path / "ecot.sqlite")) == 1


@pytest.mark.slow
def test_a_large_file_is_indexed_in_less_than_300_mb(tmp_path):
    episodes = write_large_ecot(tmp_path / "ecot.json", megabytes=90)  # read whole, it would take five times as much
    arguments = [str(tmp_path / "ecot.json"), str(tmp_path / "ecot.sqlite")]
    done = subprocess.run([sys.executable, "-c", PEAK, *arguments], capture_output=True, text=True, check=True)
    found, peak = done.stdout.split()
    assert int(found) == episodes
    assert float(peak) < 300


@pytest.mark.slow
def test_joined_to_real_bridge_episodes(tmp_path, shared_data):
    source = open_source(shared_data / "episodes" / "bridge_rlds" / "bridge_dataset" / "1.0.0")
    metas = [entry for entry in source.scan() if isinstance(entry, EpisodeMeta)]
    keys = {(meta.extra["file_path"], meta.extra["episode_id"]) for meta in metas}
    assert len(keys) == len(metas) == 25
    path, id = metas[3].extra["file_path"], metas[3].extra["episode_id"]
    index = built(
        write_tiny_ecot(tmp_path / "ecot.json", {path: {id: tiny_ecot.episode(steps=10)}}), tmp_path / "ecot.sqlite"
    )
    marked = [entry.has_rationale for entry in index.marked(metas) if isinstance(entry, EpisodeMeta)]
    assert marked == [meta is metas[3] for meta in metas]
    joined = AnnotatedEpisode.join(source.open(metas[3].id), annotation(index, metas[3]))
    assert joined.camera == "image_0" and joined.rationales[-1].stop == metas[3].length == 10
    carrot, plate = joined.step(2).objects["image_0"]  # frames of 64 x 64
    assert (carrot.name, carrot.box, plate.box) == ("carrot", (8.0, 0.0, 12.0, 4.0), (8.0, 8.0, 12.0, 12.0))
