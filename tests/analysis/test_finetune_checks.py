"""What of the data cannot be learned is found before training, by name; nothing here trains."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.episodes import open_source
from analysis.episodes.hdf5_writer import Series, write_episode
from analysis.finetuning.checked import check_rationales
from analysis.finetuning.episode_demonstrations import Lesson
from analysis.finetuning.run import Prepared, Request, prepare
from analysis.rationales.taught_episode import of_others
from models.errors import UserError
from models.refine.settings import Mode, Order, TuneSettings
from models.types import Rationale
from tests.tiny_episode import ACTION_NAMES, ACTION_UNITS, STEPS, contents

pytestmark = pytest.mark.slow  # together more than make check has time for

FOUR = {"observation": "i see a red block", "situation": "open", "spatial": "left", "planning": "lift"}
SAID = (Rationale(FOUR, 0, STEPS),)


def actions(columns: int = 7, furthest: float = 0.05) -> Series:
    values = contents()["actions"].values[:, :columns].copy()
    values[-1, 0] = furthest
    return Series(values, ACTION_NAMES[:columns], ACTION_UNITS[:columns])


@pytest.fixture
def episodes(tmp_path: Path) -> Callable[..., Path]:
    """Episodes a, b and c; the second is changed."""

    def write(**changes: Any) -> Path:
        for id in "abc":
            own = changes if id == "b" else {}
            write_episode(tmp_path / "episodes" / f"{id}.hdf5", **{**contents(), "rationales": SAID, **own, "id": id})
        return tmp_path / "episodes"

    return write


def prepared(base: Path, folder: Path, order: Order = Order.REASON_FIRST, **given: Any) -> Prepared:
    settings = TuneSettings(order=order, frozen_layers=1)
    return prepare(Request(base, (folder,), folder.parent / "out", settings, **given))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"actions": actions(6)}, "episode 'b': the policy predicts 1 x 7 values, the data have (1, 6)"),
        ({"states": None}, "episode 'b': the policy reads 7 state values"),
        (
            {"images": {"wrist": contents()["images"]["shoulder"]}, "truth": {}},
            "episode 'b': no camera 'shoulder'; it has wrist",
        ),
    ],
)
def test_an_episode_that_does_not_fit_is_skipped_by_name(
    changes: dict[str, Any], reason: str, tiny_base: Path, episodes: Callable[..., Path]
) -> None:
    found = prepared(tiny_base, episodes(**changes), camera="shoulder")
    (broken,) = found.lessons.broken
    assert (Path(broken.path).name, broken.reason.startswith(reason)) == ("b.hdf5", True), broken.reason
    assert set(found.provenance["episodes"]) == {"a", "c"}
    assert found.provenance["steps_learned"] == 2 * STEPS
    drawn = [found.demonstrations.draw(number) for number in range(2 * STEPS)]
    assert {tuple(each.observation.images) for each in drawn} == {("shoulder",)}


def test_where_no_episode_fits_the_first_says_why(tiny_base: Path, episodes: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"^episode 'a': no camera 'wrist'; it has shoulder"):
        prepared(tiny_base, episodes(), camera="wrist")


def test_statistics_are_of_what_is_learned(tiny_base: Path, episodes: Callable[..., Path]) -> None:
    far = actions(furthest=9)
    assert prepared(tiny_base, episodes(actions=far), new_stats="own").learner.own.high[0] == 9
    left = prepared(tiny_base, episodes(actions=far, states=None), new_stats="own")
    assert (left.learner.own.high[0], left.learner.own.trajectories) == (pytest.approx(0.01 * (STEPS - 1)), 2)
    with pytest.raises(UserError, match="same action columns in all episodes; 'b' has 6, 'c' has 7; choose some with"):
        prepared(tiny_base, episodes(actions=actions(6)), new_stats="own")


def test_every_rationale_is_read_before_training(tiny_base: Path, episodes: Callable[..., Path]) -> None:
    long = Rationale({"planning": "lift it " * 300}, 2, 3)
    folder = episodes(rationales=(*SAID, long))
    with pytest.raises(UserError, match=r"episode 'b': a rationale of steps \[2, 3\) has 601 tokens, .* write 400;"):
        prepared(tiny_base, folder)
    with pytest.raises(
        UserError, match=r"^episode 'b': .* use shorter rationales, or allow fewer tokens of one \(--max-tokens\)"
    ):  # the checkpoint has 512 positions
        prepared(tiny_base, folder, max_tokens=601)
    with pytest.raises(UserError, match=r"'a': .* the policy may write 5;"):
        prepared(tiny_base, folder, max_tokens=5)


def test_what_the_policy_may_write_can_be_said(tiny_base: Path, episodes: Callable[..., Path]) -> None:
    folder = episodes()
    longest = len(prepared(tiny_base, folder, max_tokens=50).learner.words(SAID[0], Order.REASON_FIRST))
    assert prepared(tiny_base, folder, max_tokens=50).learner.robot.rationale.max_tokens == 50
    assert prepared(tiny_base, folder).learner.robot.rationale.max_tokens == -(-longest * 3 // 2)


def test_unknown_words_are_told_and_many_are_refused(tiny_base: Path, episodes: Callable[..., Path]) -> None:
    few = Rationale({**FOUR, "planning": "Lift it thither"}, 0, STEPS)
    (note,) = prepared(tiny_base, episodes(rationales=(few,))).lessons.notes
    told = f"are words that {tiny_base} does not know, such as 'thither'; it reads them all as one unknown word"
    assert note.endswith(told)
    many = Rationale({**FOUR, "planning": "Quixotic umbrellas zigzag beyond photosynthesis"}, 0, STEPS)
    with pytest.raises(UserError, match=r"such as 'quixotic', 'umbrellas', .*; at most 20% may be"):
        prepared(tiny_base, episodes(rationales=(many,)), only=("b",))


def test_rationales_of_fewer_parts_are_told(tiny_base: Path, episodes: Callable[..., Path]) -> None:
    three = Rationale({**FOUR, "spatial": " "}, 0, STEPS)
    assert prepared(tiny_base, episodes(rationales=(three,))).lessons.notes == (
        "1 of 3 rationales have no part 'spatial'",
    )
    assert prepared(tiny_base, episodes(), order=Order.ACT_ONLY).lessons.notes == ()


def test_rationales_of_other_episodes_are_not_called_absent(
    tiny_base: Path, episodes: Callable[..., Path], tmp_path: Path
) -> None:
    folder, file = episodes(), tmp_path / "r.jsonl"

    def write(*digests: str) -> None:
        line = {"episode": "b", "start": 0, "stop": 2, "parts": FOUR}
        file.write_text("".join(json.dumps({**line, "digest": digest}) + "\n" for digest in digests))

    write("0123", "4567")
    told = f"2 rationales in {file} are of other episodes (their digests differ)"
    with pytest.raises(UserError, match=re.escape(f"none of the 3 episodes has a rationale; {told}; write some")):
        prepared(tiny_base, folder, rationales=(file,))
    write("0123", "4567", open_source(folder).open("b").meta.digest)
    assert prepared(tiny_base, folder, rationales=(file,)).lessons.notes == (told,)
    meta = open_source(folder).open("b").meta
    assert of_others((file,), [meta, replace(meta, digest="0123")]) == (told.replace("2 rationales", "1 rationales"),)
    assert of_others((file,), [replace(meta, digest="")]) == ()


def test_low_rank_changes_need_a_layer(tiny_base: Path, episodes: Callable[..., Path]) -> None:
    settings = TuneSettings(mode=Mode.LORA, frozen_layers=3)
    with pytest.raises(UserError, match=r"LoRA changes decoder layers, and all 3 of .* are to be frozen"):
        prepare(Request(tiny_base, (episodes(),), Path("out"), settings))


class _Learner:
    """Words are ids; capitals are unknown."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def words(self, rationale: Rationale, order: Order) -> Sequence[str]:
        self.read.append(rationale.text)
        return rationale.text.split()

    def unknown(self, rationale: Rationale) -> tuple[str, ...]:
        return ()

    class files:
        folder = Path("base")


def test_a_rationale_of_many_steps_is_read_once_and_none_is_left_out() -> None:
    whole = Rationale({"text": "one two"}, 0, 9)
    own = [Rationale({"text": "one " * k}, k, k + 1) for k in range(9, 4000)]
    lessons = [Lesson(0, "e", step, whole) for step in range(9)]
    lessons += [Lesson(0, "e", said.start, said) for said in own]
    learner = _Learner()
    assert check_rationales(learner, lessons, Order.REASON_FIRST) == (3999, ())
    assert len(learner.read) == 1 + len(own)
