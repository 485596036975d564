"""Records: a prediction comes back as it was, a crash or a race never leaves half of one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from analysis import records
from analysis.prediction_file import read_attention, read_prediction, write_prediction
from analysis.records import RecordStore, RunKey, capture_key, capture_of
from models.errors import UserError
from models.fake_chunk import PlantedChunkPolicy
from models.fakes import PlantedPolicy
from models.types import (
    ActionDistribution,
    AttentionRecord,
    Capture,
    DepthMap,
    FrameMark,
    Observation,
    Part,
    PatchGrid,
    Prediction,
    Rationale,
    Span,
    TokenLayout,
)
from tests.analysis.same_prediction import assert_same

KEY = RunKey("c" * 16, "e" * 16)
HALF = 2**-11  # largest rounding error of a weight in [0, 1] in half precision


def planted(step: int = 0) -> Prediction:
    frame = np.full((4, 6, 3), 20 * step, np.uint8)
    return PlantedPolicy().predict(Observation({"image": frame}, "look there"), Capture(prefix=True))


texts = st.text(max_size=12)
floats = st.floats(-1e6, 1e6, width=32)


def array(shape: tuple[int, ...], dtype: str) -> st.SearchStrategy[np.ndarray]:
    return arrays.arrays(dtype, shape, elements=st.floats(0, 1, width=32))


@st.composite
def layouts(draw: st.DrawFn) -> TokenLayout:
    lengths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    ends = np.cumsum(lengths).tolist()
    grid = st.builds(PatchGrid, texts, st.just(1), st.integers(1, 3), st.tuples(floats, floats, floats, floats))
    spans = tuple(
        Span(draw(st.sampled_from(Part)), draw(texts), stop - length, stop, draw(st.none() | grid))
        for length, stop in zip(lengths, ends, strict=True)
    )
    return TokenLayout(tuple(draw(texts) for _ in range(ends[-1])), spans)


@st.composite
def attention_records(draw: st.DrawFn, layout: TokenLayout) -> AttentionRecord:
    layers, heads, queries = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(0, 3))
    return AttentionRecord(
        weights=draw(array((layers, heads, queries, len(layout.tokens)), "float32")),
        layers=tuple(range(layers)),
        queries=tuple(range(queries)),
        produced=tuple(draw(st.integers(-1, 5)) for _ in range(queries)),
        layout=layout,
        stream=draw(st.sampled_from(["language", "vision", "action expert"])),
        denoising_step=draw(st.none() | st.integers(0, 9)),
    )


frame_marks = st.builds(FrameMark, texts, texts, st.just("box"), st.tuples(floats, floats, floats, floats))
frame_marks |= st.builds(FrameMark, texts, texts, st.just("point"), st.tuples(floats, floats))


@st.composite
def depth_maps(draw: st.DrawFn) -> DepthMap:
    shape, dtype = (draw(st.integers(1, 3)), draw(st.integers(1, 3))), draw(st.sampled_from(["float32", "float64"]))
    return DepthMap(draw(texts), draw(array(shape, dtype)), draw(st.tuples(floats, floats, floats, floats)))


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    layout, other = draw(layouts()), draw(layouts())
    dims, count = draw(st.integers(0, 3)), draw(st.integers(0, 4))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    distributions = tuple(
        ActionDistribution(0, 0, draw(texts), draw(array((bins,), "float64")), draw(array((bins,), dtype)), 0.75)
        for bins in draw(st.lists(st.integers(1, 4), max_size=3))
    )
    parts = st.dictionaries(texts, texts, max_size=4)
    records_of = st.sampled_from([layout, other]).flatmap(attention_records)
    return Prediction(
        actions=draw(array((draw(st.integers(0, 2)), dims), dtype)),
        action_names=tuple(draw(texts) for _ in range(dims)),
        action_units=tuple(draw(texts) for _ in range(dims)),
        tokens=np.arange(count, dtype=draw(st.sampled_from(["int32", "int64"]))),
        token_texts=tuple(draw(texts) for _ in range(count)),
        token_logprobs=-draw(array((count,), dtype)),
        text=draw(texts),
        rationale=draw(st.none() | st.builds(Rationale, parts, st.just(0), st.just(3), texts)),
        action_distribution=distributions,
        layout=layout,
        attention=tuple(draw(st.lists(records_of, max_size=3))),
        marks=tuple(draw(st.lists(frame_marks, max_size=3))),
        depth=tuple(draw(st.lists(depth_maps(), max_size=2))),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("predictions")


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(prediction=predictions(), dtype=st.sampled_from(["float16", "float32"]))
def test_any_prediction_comes_back(folder, prediction, dtype):
    path = folder / "step.h5"
    write_prediction(path, prediction, dtype)
    assert_same(read_prediction(path), prediction, attention_error=HALF if dtype == "float16" else 0.0)
    assert_same(read_prediction(path, attention=False), replace(prediction, attention=()))


def test_attention_alone_is_read_in_its_stored_precision(tmp_path):
    prediction = planted()
    write_prediction(tmp_path / "a.h5", prediction, "float16")
    weights = read_attention(tmp_path / "a.h5")
    assert weights.dtype == np.float16
    np.testing.assert_array_equal(weights, prediction.attention[0].weights.astype(np.float16))


def planted_chunk() -> Prediction:
    frame = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    seen = Observation({"front": frame, "wrist": frame}, "look there", np.zeros(1, np.float32))
    return PlantedChunkPolicy().predict(seen, Capture(prefix=True))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_chunk_without_tokens_comes_back(tmp_path, dtype):
    prediction = planted_chunk()
    write_prediction(tmp_path / "a.h5", prediction, dtype)
    found = read_prediction(tmp_path / "a.h5")
    assert_same(found, prediction, attention_error=HALF if dtype == "float16" else 0.0)
    assert [(record.stream, record.denoising_step) for record in found.attention] == [
        ("language", None),
        *(("action expert", step) for step in range(3)),
    ]


def test_parts_of_a_file_are_read_alone(tmp_path):
    prediction = planted_chunk()
    run = RecordStore(tmp_path).run(replace(KEY, attention_dtype="float32"))
    run.write(0, prediction)
    with run.open(0) as file:
        last = file.rows[-1]
        assert (last.stream, last.denoising_step, last.shape) == ("action expert", 2, (2, 2, 4, 16))
        np.testing.assert_array_equal(file.weights(last, (1,)), prediction.attention[-1].weights[1:])
        assert_same(file.prediction, replace(prediction, attention=()))
    with pytest.raises(UserError, match="step 1 is not in record"):
        run.open(1)


def test_what_json_has_no_word_for_comes_back_as_nan(tmp_path):
    said = planted()
    lost = replace(said.action_distribution[0], mass=float("nan"))
    prediction = replace(said, action_distribution=(lost,), token_logprobs=np.full(len(said.tokens), -np.inf))
    write_prediction(tmp_path / "a.h5", prediction, "float32")
    with h5py.File(tmp_path / "a.h5") as file:
        assert b"NaN" not in file["structure"][()].tobytes()
    assert_same(read_prediction(tmp_path / "a.h5"), prediction)


def test_a_file_of_version_1_still_opens(tmp_path):
    prediction = planted()
    write_prediction(tmp_path / "a.h5", prediction, "float32")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        stored = json.loads(file["structure"][()].tobytes()) | {"version": 1}
        del stored["marks"], stored["depth"], stored["attention"][0]["denoising_step"], file["structure"]
        file["structure"] = np.frombuffer(json.dumps(stored).encode(), np.uint8)
    assert_same(read_prediction(tmp_path / "a.h5"), prediction)


def test_text_that_unicode_forbids_comes_back(tmp_path):
    prediction = replace(planted(), text="half a pair \ud83d and a nul \0")
    write_prediction(tmp_path / "a.h5", prediction, "float32")
    assert read_prediction(tmp_path / "a.h5").text == prediction.text


def test_a_run_is_found_by_what_was_asked(tmp_path):
    store = RecordStore(tmp_path)
    run = store.run(KEY)
    assert (run.steps_done(), run.complete, store.runs()) == (frozenset(), False, ())
    run.write(3, planted(3))
    again = RecordStore(tmp_path).run(RunKey("c" * 16, "e" * 16))
    assert again.steps_done() == {3}
    assert_same(again.read(3), planted(3), attention_error=HALF)
    with pytest.raises(UserError, match="step 4 is not in record"):
        again.read(4)


def test_the_address_depends_on_every_part_of_the_key():
    keys = [
        KEY,
        replace(KEY, checkpoint="d" * 16),
        replace(KEY, episode="f" * 16),
        replace(KEY, method="swap"),
        replace(KEY, settings={"layers": [0]}),
        replace(KEY, attention_dtype="float32"),
    ]
    assert len({key.address for key in keys}) == len(keys)
    assert replace(KEY, settings={"a": 1, "b": 2}).address == replace(KEY, settings={"b": 2, "a": 1}).address


def test_the_address_is_stable_over_versions():
    # records on disk are found by this number: changing it orphans all of them
    assert capture_key("c", "e", Capture()).address == "ccb2aeef7ab36f1ae749b5f7fcea44b3"


@pytest.mark.parametrize(
    "capture", [Capture(), Capture(layers=(0, 2), queries=(Part.ACTION,), prefix=True, vision=True)]
)
def test_a_key_says_what_to_capture(capture):
    key = capture_key("c", "e", capture, action_stats="bridge")
    again = capture_of(RunKey(**json.loads(key.canonical())))
    assert (again.layers, set(again.queries)) == (capture.layers, set(capture.queries))
    assert (again.prefix, again.vision) == (capture.prefix, capture.vision)


def test_a_precision_that_loses_too_much_is_refused():
    with pytest.raises(UserError, match="float16 or float32"):
        RunKey("c", "e", attention_dtype="int8")


def test_runs_are_listed_by_episode_and_checkpoint(tmp_path):
    store = RecordStore(tmp_path)
    for checkpoint in ("base", "tuned"):
        for episode in ("one", "two"):
            store.run(RunKey(checkpoint, episode)).write(0, planted())
    assert [run.key.checkpoint for run in store.runs(episode="one")] == ["base", "tuned"]
    assert [run.key.episode for run in store.runs(checkpoint="tuned")] == ["one", "two"]
    (run,) = store.runs("one", "base")
    assert store.at(run.address) == run
    with pytest.raises(UserError, match="no record 'nowhere'"):
        store.at("nowhere")


def test_a_folder_that_was_renamed_or_edited_is_no_record(tmp_path):
    good, renamed = RecordStore(tmp_path).run(KEY), RecordStore(tmp_path).run(replace(KEY, episode="f" * 16))
    for run in (good, renamed):
        run.write(0, planted())
    renamed.path.rename(tmp_path / ("0" * 32))
    for name, text in (("half", "{"), ("list", "[]"), ("other", '{"a": 1}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key.json").write_text(text)
    assert RecordStore(tmp_path).runs() == (good,)


def test_the_manifest_comes_last_and_verifies_the_steps(tmp_path):
    run = RecordStore(tmp_path).run(KEY)
    run.write(0, planted(0))
    with pytest.raises(ValueError, match="lacks step 1"):
        run.finish(2)
    with pytest.raises(UserError, match="not complete"):
        run.damaged_steps()
    run.write(1, planted(1))
    run.finish(2)
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert manifest["key"]["checkpoint"] == "c" * 16 and manifest["steps"] == 2
    assert (run.complete, run.damaged_steps()) == (True, ())
    run.step_path(1).write_bytes(b"damaged")
    assert run.damaged_steps() == (1,)
    with pytest.raises(UserError, match=r"is damaged .* capture the episode again"):
        run.read(1)


def test_a_step_of_another_version_is_refused(tmp_path):
    run = RecordStore(tmp_path).run(KEY)
    run.write(0, planted())
    with h5py.File(run.step_path(0), "r+") as file:
        structure = json.loads(file["structure"][()].tobytes()) | {"version": 99}
        del file["structure"]
        file["structure"] = np.frombuffer(json.dumps(structure).encode(), np.uint8)
    with pytest.raises(UserError, match="is version 99"):
        run.read(0)


def test_the_first_writer_of_a_step_wins(tmp_path):
    run = RecordStore(tmp_path).run(KEY)
    run.write(0, planted(1))
    run.write(0, planted(9))
    assert_same(run.read(0), planted(1), attention_error=HALF)


def test_two_writers_that_both_start_before_either_ends(tmp_path, monkeypatch):
    run = RecordStore(tmp_path).run(KEY)
    both = threading.Barrier(2)
    write = records.write_prediction

    def write_together(path: Path, prediction: Prediction, dtype: str) -> None:
        both.wait(timeout=20)  # each has already seen that the step is missing
        write(path, prediction, dtype)

    monkeypatch.setattr(records, "write_prediction", write_together)
    writers = [threading.Thread(target=run.write, args=(0, planted(step))) for step in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=20)
    found = run.read(0).actions
    assert any(np.array_equal(found, planted(step).actions) for step in (1, 2))
    assert [path.name for path in (run.path / "steps").iterdir()] == ["000000.h5"]


WRITE_FOR_EVER = """
import sys
from analysis.records import RecordStore, RunKey
from tests.analysis.test_records import planted
run = RecordStore(sys.argv[1]).run(RunKey("c" * 16, "e" * 16))
print("ready", flush=True)
for step in range(100_000):
    run.write(step, planted(step % 9))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.02, 0.11, 0.23])
def test_a_killed_writer_leaves_only_whole_steps(tmp_path, seconds):
    script = WRITE_FOR_EVER.replace("sys.argv[1]", "__import__('pathlib').Path(sys.argv[1])")
    command = [sys.executable, "-c", script, str(tmp_path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": "."}) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
    run = RecordStore(tmp_path).run(KEY)
    for step in run.steps_done():
        assert_same(run.read(step), planted(step % 9), attention_error=HALF)
    assert not run.complete
    run.write(200_000, planted())  # and the next writer goes on
    assert 200_000 in run.steps_done()


def test_a_writer_that_dies_inside_a_step_leaves_none(tmp_path, monkeypatch):
    run = RecordStore(tmp_path).run(KEY)

    def half(path: Path, *_: object) -> None:
        path.write_bytes(b"half a step")
        raise KeyboardInterrupt

    monkeypatch.setattr(records, "write_prediction", half)
    with pytest.raises(KeyboardInterrupt):
        run.write(0, planted())
    assert run.steps_done() == frozenset() and list((run.path / "steps").iterdir()) == []


def test_what_a_dead_writer_left_is_removed_after_an_hour(tmp_path):
    run = RecordStore(tmp_path).run(KEY)
    run.write(0, planted())
    old, fresh = run.path / "steps" / ".000001.h5.a.part", run.path / "steps" / ".000001.h5.b.part"
    for part in (old, fresh):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 4000,) * 2)
    assert RecordStore(tmp_path).run(KEY).steps_done() == {0}
    assert not old.exists() and fresh.exists()
