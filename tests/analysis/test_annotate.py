"""Teachers' rationales for episodes: what is asked, what is kept, what is kept aside, and that a run can be resumed."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.dataset_description import DatasetDescription
from analysis.episodes import BrokenEpisode, open_source
from analysis.rationales import KeptRationale, RationaleFile, TaughtSource, read_rationales
from analysis.rationales.annotate import Annotating, annotate
from analysis.rationales.clips import Per, stretches
from analysis.rationales.keyframes import keyframes
from analysis.workspace import Workspace
from models.errors import UserError
from models.teachers.teacher import BadAnswer, Clip, DatedRationale, Refused, Spent, TeacherSettings, Unanswered
from models.types import Rationale
from tests.teacher_endpoint import Reply, endpoint

EPISODES = Path(__file__).parents[2] / "sample_data" / "episodes"
RELATIVE = {"actions_are": "relative"}
ONE = EPISODES / "carrot-on-plate-0.hdf5"


class Says:
    """A teacher that answers by step."""

    author = "someone"
    spent = Spent()

    def __init__(self, special: Mapping[int, BadAnswer | str] | None = None) -> None:
        self.special, self.asked, self.origin = special or {}, [], {"prompt": "p1"}

    def explain(self, clip: Clip) -> Rationale:
        self.asked.append((clip.start, clip.stop))
        answer = self.special.get(clip.start, "the carrot is near the plate on the table")
        if isinstance(answer, BadAnswer):
            raise answer
        return Rationale({"observation": answer})


class Told(Says):
    """The same out of the command's settings."""

    def __init__(self, _: TeacherSettings) -> None:
        super().__init__()


@pytest.mark.slow
def test_every_step_gets_a_rationale_that_says_where_it_came_from(tmp_path: Path) -> None:
    source, out = open_source(ONE), tmp_path / "r.jsonl"
    told = annotate(source, Says(), out, Annotating())
    meta = next(iter(source.scan()))
    kept = read_rationales(out)
    assert told.written == len(kept) == meta.length
    assert {(k.rationale.start, k.rationale.stop) for k in kept} == {(i, i + 1) for i in range(meta.length)}
    first = kept[0]
    assert (first.episode, first.digest, first.rationale.author) == (meta.id, meta.digest, "someone")
    how = {"per": "step", "language": "en", "pictures": "4", "cameras": meta.cameras[0]}
    assert first.origin == {"prompt": "p1", **how}
    assert first.time.endswith("Z")


@pytest.mark.slow
def test_a_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    source, out = open_source(ONE), tmp_path / "r.jsonl"
    annotate(source, Says(), out, Annotating())
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:5]) + lines[5][:20])  # a kill in the middle of a line
    again = Says()
    told = annotate(source, again, out, Annotating())
    assert (told.earlier, told.written, len(again.asked)) == (5, len(lines) - 5, len(lines) - 5)
    assert len(read_rationales(out)) == len(lines)
    other = Says()
    other.origin = {"prompt": "p2"}
    assert annotate(source, other, out, Annotating()).written == len(lines)  # another prompt is another answer


@pytest.mark.slow
def test_answers_that_cannot_be_used_are_kept_aside_with_the_reason(tmp_path: Path) -> None:
    special = {
        0: BadAnswer("the part spatial is empty", "{}"),
        1: "die Karotte ist auf dem Tisch und der Teller ist nicht da",
        2: "there is a banana on the table",
        3: Unanswered("the endpoint does not answer"),
    }
    source, out = open_source(ONE), tmp_path / "r.jsonl"
    told = annotate(source, Says(special), out, Annotating(parallel=1))
    aside = [json.loads(line) for line in (tmp_path / "r.aside.jsonl").read_text().splitlines()]
    reasons = {line["start"]: line["reason"] for line in aside}
    assert told.aside == 4
    assert reasons[0] == "the part spatial is empty"
    assert "another language" in reasons[1]
    assert reasons[2] == "the answer names what is not in the scene: banana"
    assert aside[0]["parts"]["answer"] == "{}"
    again = Says()
    annotate(source, again, out, Annotating())
    assert again.asked == [(3, 4)]  # only what got no answer at all
    retried = Says()
    annotate(source, retried, out, Annotating(retry=True))
    assert sorted(retried.asked) == [(0, 1), (1, 2), (2, 3)]


def test_another_camera_picture_or_language_is_another_question(tmp_path: Path) -> None:
    source, out, once = open_source(ONE), tmp_path / "r.jsonl", Annotating(per=Per.TRAJECTORY)
    annotate(source, Says(), out, once)
    for what in (replace(once, pictures=2), replace(once, language="any")):
        assert [annotate(source, Says(), out, what).written for _ in range(2)] == [1, 0]
    with pytest.raises(UserError, match="no episode has a camera 'wrist'; their cameras are shoulder"):
        annotate(source, Says(), out, replace(once, cameras=("wrist",)))
    older = [json.loads(line) | {"origin": {"prompt": "p1"}} for line in out.read_text().splitlines()[:1]]
    out.write_text("".join(json.dumps(line) + "\n" for line in older))
    assert annotate(source, Says(), out, once).earlier == 1  # a file from before these were written


def test_what_was_kept_aside_earlier_is_counted_apart(tmp_path: Path) -> None:
    source, out = open_source(ONE), tmp_path / "r.jsonl"
    bad = Says({0: BadAnswer("no")})
    for _ in range(2):
        told = annotate(source, bad, out, Annotating(per=Per.TRAJECTORY))
    assert (told.earlier, told.aside, told.aside_earlier) == (0, 0, 1)


def test_one_refused_question_is_kept_aside_and_a_refused_first_ends_the_run_once(tmp_path: Path) -> None:
    source, what = open_source(ONE), Annotating(parallel=1)
    told = annotate(source, Says({3: Refused("a filter")}), tmp_path / "a.jsonl", what)
    assert (told.aside, told.unanswered) == (1, 0)
    out, first = tmp_path / "b.jsonl", Says({0: Refused("a filter")})
    with pytest.raises(UserError, match="the first question got no answer: a filter; --retry asks again"):
        annotate(source, first, out, what)
    assert annotate(source, first, out, what).aside_earlier == 1
    always = Says({step: Refused("too large") for step in range(4, 100)})
    with pytest.raises(UserError, match="3 questions in a row got no answer: too large"):
        annotate(source, always, tmp_path / "c.jsonl", what)


def test_an_interrupted_run_does_not_wait_for_the_endpoint(tmp_path: Path) -> None:
    class Slow(Says):
        stopped = threading.Event()

        def explain(self, clip: Clip) -> Rationale:
            if clip.start == 1:
                raise KeyboardInterrupt
            if clip.start > 1:
                self.stopped.wait(30)
            return super().explain(clip)

        def stop(self) -> None:
            self.stopped.set()

    begun, slow = time.monotonic(), Slow()
    with pytest.raises(KeyboardInterrupt):
        annotate(open_source(ONE), slow, tmp_path / "r.jsonl", Annotating(parallel=3))
    assert time.monotonic() - begun < 20
    assert slow.stopped.is_set()


def test_an_answer_out_of_the_cache_has_the_time_when_it_was_given(tmp_path: Path) -> None:
    class Dated(Says):
        def explain(self, clip: Clip) -> Rationale:
            return DatedRationale(super().explain(clip).parts, time="2020-01-02T03:04:05Z")

    annotate(open_source(ONE), Dated(), tmp_path / "r.jsonl", Annotating(per=Per.TRAJECTORY))
    assert read_rationales(tmp_path / "r.jsonl")[0].time == "2020-01-02T03:04:05Z"


def test_a_thing_of_another_episode_is_made_up_whichever_episodes_are_chosen(tmp_path: Path) -> None:
    says = Says({0: "the yellow block is on the table beside it"})
    chosen = Annotating(per=Per.TRAJECTORY, ids=("carrot-on-plate-0",))
    told = annotate(open_source(EPISODES), says, tmp_path / "r.jsonl", chosen)
    assert (told.written, list(told.reasons)) == (0, ["the answer names what is not in the scene"])


def test_a_silent_endpoint_ends_the_run_and_keeps_what_is_done(tmp_path: Path) -> None:
    silent = {step: Unanswered("the endpoint does not answer") for step in range(4, 100)}
    with pytest.raises(UserError, match="3 questions in a row got no answer"):
        annotate(open_source(ONE), Says(silent), tmp_path / "r.jsonl", Annotating(parallel=1))
    assert len(read_rationales(tmp_path / "r.jsonl")) == 4


def test_per_trajectory_and_per_keyframe_cover_the_episode() -> None:
    episode = open_source(ONE).open("carrot-on-plate-0")
    assert stretches(episode, Per.TRAJECTORY) == ((0, episode.meta.length),)
    found = stretches(episode, Per.KEYFRAME)
    assert found[0][0] == 0
    assert found[-1][1] == episode.meta.length
    assert all(one[1] == other[0] for one, other in pairwise(found))


@pytest.mark.slow
def test_keyframes_find_where_the_gripper_closes_and_opens() -> None:
    """Of the shipped episodes, against the expert's own phases, which the finder does not see."""
    source, hits, total, found = open_source(EPISODES), 0, 0, []
    for meta in source.scan():
        episode = source.open(meta.id)
        with h5py.File(meta.source) as file:
            phases = [phase.decode() for phase in file["steps/phase"]]
        starts = keyframes(episode)
        found.append(len(starts))
        for phase in {"grasp", "release"} & set(phases):
            total += 1
            hits += any(abs(phases.index(phase) - step) <= 1 for step in starts)
    assert hits == total
    assert max(found) <= 10


def test_a_pause_between_movements_is_a_keyframe_and_a_stop_at_the_end_is_none() -> None:
    episode = open_source(ONE).open("carrot-on-plate-0")
    actions = np.zeros((20, 7))
    actions[:, 0] = [0.02] * 8 + [0.004, 0.002, 0.004] + [0.02] * 6 + [0.01, 0.002, 0.0]
    moving = replace(episode, actions=actions, states=None, meta=replace(episode.meta, length=20, extra=RELATIVE))
    assert keyframes(moving) == (0, 9)


def test_rationales_are_read_back_as_the_episodes_own(tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    annotate(open_source(ONE), Says(), out, Annotating(per=Per.TRAJECTORY))
    source = TaughtSource(open_source(ONE), (out,), own=False)
    episode = source.open("carrot-on-plate-0")
    assert [r.parts for r in episode.rationales] == [{"observation": "the carrot is near the plate on the table"}]
    assert (episode.rationales[0].start, episode.rationales[0].stop) == (0, episode.meta.length)
    assert episode.rationales[0].author.startswith("someone (prompt p1, per trajectory, 20")
    both = TaughtSource(open_source(ONE), (out,)).open("carrot-on-plate-0")
    assert len(both.rationales) == episode.meta.length + 1
    lines = [json.loads(line) | {"digest": "0" * 16} for line in out.read_text().splitlines()]
    out.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert not source.open("carrot-on-plate-0").rationales  # another episode of that name


def test_the_workspace_reads_them_back(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    annotate(open_source(ONE), Says(), tmp_path / "rationales" / "a.jsonl", Annotating(per=Per.TRAJECTORY))
    said = workspace.episode("carrot-on-plate-0").rationales
    assert said[-1].parts == {"observation": "the carrot is near the plate on the table"}
    assert not any(said[-1] == other for other in workspace.episode("carrot-on-plate-1").rationales)
    (tmp_path / "rationales" / "b.jsonl").write_text("{\n")
    named = [entry for entry in workspace.episodes(workspace.datasets()[0].name) if isinstance(entry, BrokenEpisode)]
    assert "b.jsonl, line 1" in named[0].reason


@pytest.mark.parametrize(
    "line",
    ["[1]", "{", '{"episode": "e", "parts": {}, "start": 0, "stop": 1}', '{"episode": "e", "parts": {"a": 1}}',
     '{"episode": "e", "parts": {"a": "b"}, "start": 2, "stop": 1}', '{"parts": {"a": "b"}, "start": 0, "stop": 1}',
     "[" * 100_000],
)  # fmt: skip
def test_a_line_in_another_layout_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "r.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=r"r.jsonl, line 1"):
        read_rationales(tmp_path / "r.jsonl")


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    said = str(done.exception) if done.exception is not None and not isinstance(done.exception, SystemExit) else ""
    return done.exit_code, done.stdout, said


@pytest.mark.slow
def test_the_command_asks_an_endpoint_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    prices = tmp_path / "prices.toml"
    prices.write_text('["tiny:1b"]\nin = 1.0\nout = 2.0\n')
    there = {"observation": "The carrot is there.", "spatial": "It is on the left.", "planning": "reach it, lift it"}
    answer = Reply(content=json.dumps({**there, "situation": "The gripper is open."}))
    common = ("annotate", ONE, "--workspace", tmp_path, "--model", "tiny:1b", "--prices", prices, "--json",
              "--per", "keyframe", "--copy")  # fmt: skip
    with endpoint() as server:
        server.otherwise = lambda asked: answer
        code, out, said = run(*common, tmp_path / "copy", "--base-url", server.url)
        assert (code, said) == (0, "")
        told = json.loads(out)
        asked = len(server.asked)
        assert told["written"] == told["requests"] == asked > 1
        assert told["cost"] == pytest.approx(asked * (1000 * 1.0 + 50 * 2.0) / 1e6)
        Path(told["path"]).unlink()
        again = json.loads(run(*common, tmp_path / "copy2", "--base-url", server.url)[1])
        assert (again["written"], again["requests"], again["cached"], again["cost"]) == (asked, 0, asked, 0)
        assert len(server.asked) == asked
    copied = open_source(tmp_path / "copy").open("carrot-on-plate-0")
    assert len(copied.rationales) == asked
    assert "tiny:1b" in copied.rationales[0].author
    assert "prompt" in copied.rationales[0].author
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Bearer" not in everything


@pytest.mark.slow
def test_the_command_refuses_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    common = ("annotate", ONE, "--workspace", tmp_path / "w")
    dead = ("--model", "m", "--base-url", "http://127.0.0.1:9/v1")
    assert "does not answer" in run(*common, *dead)[2]
    assert "needs a key" in run(*common, "--model", "m")[2]
    assert (
        "per is 'week'; use one of 'step', 'keyframe', 'trajectory'"
        in run(*common, "--per", "week", "--teacher", "scripted")[2]
    )
    assert "the language is 'klingon'" in run(*common, "--language", "klingon", *dead)[2]
    assert "there is no teacher 'x'" in run(*common, "--teacher", "x")[2]
    with endpoint() as server:
        server.models = Reply(status=403, error="not for you")
        assert "refuses with status 403: not for you" in run(*common, "--model", "m", "--base-url", server.url)[2]
        assert not server.asked
    assert not (tmp_path / "w").exists()


def test_trying_again_judges_what_the_cache_knows_and_pays_only_for_fresh_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    common = ("annotate", ONE, "--workspace", tmp_path, "--model", "m", "--per", "trajectory", "--json")
    with endpoint() as server:
        server.otherwise = lambda asked: Reply(content="no JSON", usage=None)
        prices = ("--base-url", server.url, "--price-in", "1", "--price-out", "2")
        told = [json.loads(run(*common, *prices, *further)[1]) for further in ((), (), ("--retry",))]
        counts = [(one["requests"], one["aside"], one["aside_earlier"]) for one in told]
        assert counts == [(1, 1, 0), (0, 0, 1), (0, 1, 0)]
        assert json.loads(run(*common, *prices, "--retry", "--fresh")[1])["requests"] == 1
        told = CliRunner().invoke(app, [str(each) for each in (*common[:-1], *prices, "--fresh", "--pictures", 1)])
        assert "at least 0 + 0 tokens, cost at least 0.0000 (1 answer told no usage)" in told.stdout


def test_the_command_says_where_keyframes_have_no_speed_until_the_description_helps(tmp_path: Path) -> None:
    episodes = tmp_path / "episodes"
    episodes.mkdir()
    with h5py.File(shutil.copy(ONE, episodes), "a") as file:
        del file["observations/state"]
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "workspace.toml").write_text(f"episodes = [{json.dumps(str(episodes))}]")
    workspace = Workspace.open(tmp_path / "w")
    common = ("annotate", episodes, "--teacher", "tests.analysis.test_annotate:Told", "--per", "keyframe",
              "--workspace", workspace.path)  # fmt: skip
    told = CliRunner().invoke(app, [str(each) for each in common])
    assert "keyframes of 1 episode are where a gripper changes" in told.stderr
    workspace.describe(workspace.datasets()[0].name, DatasetDescription(actions_are="relative"))
    again = CliRunner().invoke(app, [str(each) for each in common])
    assert (again.exit_code, "keyframes of" in again.stderr) == (0, False)


def test_the_prompt_can_be_shown_and_edited() -> None:
    code, out, _ = run("annotate", ONE, "--show-prompt")
    assert code == 0
    assert "{instruction}" in out


def test_lines_keep_any_text(tmp_path: Path) -> None:
    kept = KeptRationale("e", "d", Rationale({"planning": "öffne \u2028 cut off \ud83d"}, 0, 2, "me"))
    RationaleFile(tmp_path / "r.jsonl").add(kept.as_json())
    assert read_rationales(tmp_path / "r.jsonl") == (kept,)
    assert "öffne" in (tmp_path / "r.jsonl").read_text(encoding="utf-8")


def test_lines_that_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    kept = KeptRationale("e", "d", Rationale({"planning": "öffne"}, 0, 2, "me"))
    (tmp_path / "r.jsonl").write_text(json.dumps(kept.as_json()) + "\n", encoding="utf-8-sig")
    assert read_rationales(tmp_path / "r.jsonl") == (kept,)
