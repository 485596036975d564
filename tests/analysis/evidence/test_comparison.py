"""Two policies over episodes: pairing, tests, A/A, and measurements that go on where they stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.evidence import describe
from analysis.evidence.comparison import compare
from analysis.evidence.drawn import DrawnBoxes, KeyBox
from analysis.evidence.layers import compare_layers
from analysis.evidence.measurements import (
    MeasuredStep,
    Measurements,
    Place,
    Subject,
    measure,
    spread_steps,
    stored,
)
from analysis.evidence.pair import measure_pair
from analysis.evidence.probe import Values, probe
from analysis.records import RecordStore
from models.errors import UserError
from models.planted import Planted
from tests.analysis.evidence.planted_episodes import subjects


def made(values: list[list[float]], name: str = "attention in object", digest: str = "a" * 16) -> Measurements:
    """One list of step values an episode."""
    steps = tuple(
        MeasuredStep(Place(f"e{number}", f"{number:016x}", step), {name: value})
        for number, episode in enumerate(values)
        for step, value in enumerate(episode)
    )
    return Measurements(digest, digest[:3], steps, {})


def test_episodes_are_paired_and_averaged_first() -> None:
    first = made([[0.0, 2.0], *[[1.0]] * 7])
    second = made([[2.0, 2.0], *[[3.0]] * 7], digest="b" * 16)
    (row,) = compare(first, second).rows
    assert (row.first.value, row.second.value) == pytest.approx((1.0, 23 / 8))
    assert row.difference.value == pytest.approx(15 / 8)  # 1 of the first episode, 2 of seven others
    assert row.difference.n == 8
    assert row.p == pytest.approx(2 / 256)
    assert row.says == "higher"


def test_steps_that_only_one_has_are_left_out() -> None:
    first, second = made([[1.0, 9.0]]), made([[2.0]], digest="b" * 16)
    found = compare(first, second)
    assert (found.paired, found.episodes) == (1, 1)
    assert found.rows[0].difference.value == 1.0
    assert found.rows[0].says == "too few episodes"
    with pytest.raises(UserError, match="no step in common"):
        compare(first, Measurements("b", "b", (), {}))


def test_many_metrics_are_corrected_for() -> None:
    names = ("attention in object", "image share", "sink share")
    random = np.random.default_rng(0)
    first = [made([[value] for value in random.normal(0, 1, 8)], name) for name in names]
    second = [made([[value] for value in random.normal(0, 1, 8)], name, "b" * 16) for name in names]
    together = [
        replace(
            each[0],
            steps=tuple(
                replace(step, values={name: m.steps[index].values[name] for name, m in zip(names, each, strict=True)})
                for index, step in enumerate(each[0].steps)
            ),
        )
        for each in (first, second)
    ]
    rows = compare(*together).rows
    assert len(rows) == 3
    least = min(rows, key=lambda row: row.p)
    assert least.corrected == pytest.approx(min(1.0, 3 * least.p))
    assert compare(*together, correction="none").rows[0].corrected == rows[0].p
    assert compare(*together).tests == "p: paired sign-flip test, corrected by holm for 3 metrics"


@pytest.mark.slow
def test_a_model_against_itself_finds_nothing(tmp_path: Path) -> None:
    policy, own = Planted("patch"), subjects(6)
    probes = [probe(name) for name in ("action", "attention", "instruction")]
    pair = measure_pair((policy, policy), (own, own), probes, RecordStore(tmp_path), 2)
    assert pair.comparison.rows
    assert not pair.comparison.different
    assert all(row.difference.value == 0 and row.p == 1.0 for row in pair.comparison.rows)
    assert pair.comparison.steps == ()
    assert "cannot be read one by one" in pair.layers.why_not
    json.dumps(describe.pair_values(pair), allow_nan=False)
    assert "no difference shown" in describe.pair_text(pair)


@pytest.mark.slow
def test_a_planted_difference_is_found_and_its_steps_are_named(tmp_path: Path) -> None:
    own, probes = subjects(12), [probe("action"), probe("attention")]
    pair = measure_pair(
        (Planted("patch", lies=True), Planted("patch", patch=5)), (own, own), probes, RecordStore(tmp_path), 1
    )
    moved = {row.metric.name: row.says for row in pair.comparison.rows}
    assert moved["attention in object"] == "higher"
    assert moved["action error"] == "no difference shown"
    other = measure_pair((Planted("nothing"), Planted("patch")), (own, own), probes, RecordStore(tmp_path), 2)
    furthest = other.comparison.steps[0]
    assert furthest.distance == max(step.distance for step in other.comparison.steps) > 0.1


class Stopped(Exception):
    pass


def test_measuring_goes_on_where_it_stopped(tmp_path: Path) -> None:
    records, own = RecordStore(tmp_path), subjects(2)
    asked: list[int] = []

    class Counting(Planted):
        def predict(self, *given: object, **named: object) -> object:  # type: ignore[override]
            asked.append(1)
            return super().predict(*given, **named)  # type: ignore[arg-type]

    def stop(done: int, total: int) -> None:
        assert total == 4
        if done == 3:
            raise Stopped

    policy, probes = Counting("patch"), [probe("action")]
    with pytest.raises(Stopped):
        measure(policy, own, probes, records, 2, stop)
    assert len(asked) == 3
    whole = measure(policy, own, probes, records, 2)
    assert len(asked) == 4
    assert len(whole.steps) == 4
    again = stored(policy.info, own, probes, records, 2)
    assert [step.values for step in again.steps] == [step.values for step in whole.steps]
    assert again.records == whole.records
    assert len(asked) == 4


def test_what_was_asked_makes_the_record(tmp_path: Path) -> None:
    (one,) = subjects(1)
    usual = one.key("a" * 16, probe("action"))
    assert usual != one.key("a" * 16, probe("attention"))
    drawn = Subject(one.episode, one.cameras, drawn=DrawnBoxes((KeyBox("cup", "front", 0, (0.0, 0.0, 4.0, 4.0)),)))
    assert usual != drawn.key("a" * 16, probe("action"))
    assert usual != Subject(one.episode, one.cameras, opened_as={"seed": 1}).key("a" * 16, probe("action"))
    assert usual == Subject(one.episode, one.cameras, opened_as={"dtype": None}).key("a" * 16, probe("action"))


def test_a_damaged_step_is_named(tmp_path: Path) -> None:
    records, own = RecordStore(tmp_path), subjects(1)
    measure(Planted("patch"), own, [probe("action")], records, 1)
    (file,) = tmp_path.glob("*/steps/*.json")
    file.write_text("[1, 2")
    with pytest.raises(UserError, match="no measured step"):
        measure(Planted("patch"), own, [probe("action")], records, 1)


def test_values_that_do_not_apply_are_kept_as_such(tmp_path: Path) -> None:
    class Odd:
        name, version = "action", 9

        def why_not(self, policy: object) -> None:
            return None

        def settings(self) -> dict[str, str]:
            return {}

        def __call__(self, moment: object) -> Values:
            return {"one": float("nan"), "two": 2.0}

    records, own = RecordStore(tmp_path), subjects(1)
    first = measure(Planted("patch"), own, [Odd()], records, 1)  # type: ignore[list-item]
    again = measure(Planted("patch"), own, [Odd()], records, 1)  # type: ignore[list-item]
    for found in (first, again):
        assert np.isnan(found.per_episode("one")).all()
        assert found.per_episode("two").tolist() == [2.0]


def test_steps_are_spread_with_equal_margins() -> None:
    assert spread_steps(20, 2) == (5, 15)
    assert spread_steps(3, 5) == (0, 1, 2)
    assert spread_steps(21, 1) == (10,)


def test_layers_of_policies_that_cannot_be_read_are_refused_with_a_reason(tmp_path: Path) -> None:
    own = subjects(1)
    found = compare_layers(Planted("patch"), Planted("word"), (own, own), RecordStore(tmp_path), 1)
    assert not found.layers
    assert "planted patch cannot be read" in found.why_not
