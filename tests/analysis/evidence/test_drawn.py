"""Boxes by step: those that a person drew, and those that come with ECoT's annotations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.annotations import AnnotatedEpisode
from analysis.annotations.ecot import read_annotation
from analysis.commands import pair_options
from analysis.commands.options import Opening
from analysis.commands.pair_options import Asked, Side, measured_pair
from analysis.evidence.drawn import DrawnBoxes, KeyBox, read_drawn, write_drawn
from analysis.evidence.episodes import episodes_at
from analysis.evidence.measurements import Subject, measure
from analysis.evidence.moment import Moment
from analysis.evidence.probe import probe
from analysis.evidence.verdicts import grounded
from analysis.records import RecordStore
from analysis.running import Running
from models.errors import UserError
from models.planted import Planted
from tests import tiny_ecot
from tests.analysis.evidence.planted_episodes import box, subjects

SAMPLE = Path(__file__).resolve().parents[3] / "sample_data" / "episodes" / "carrot-on-plate-0.hdf5"
OPENING, LYING = (Opening(Path(name), None, None, None, Running("cpu", None)) for name in ("true", "lying"))
HERE, THERE = (0.0, 0.0, 10.0, 10.0), (8.0, 4.0, 18.0, 14.0)
CUP = DrawnBoxes().with_key(KeyBox("cup", "front", 6, THERE)).with_key(KeyBox("cup", "front", 2, HERE))


def test_a_box_holds_until_the_next_one() -> None:
    assert CUP.at("front", 1) == {}
    assert CUP.at("front", 2) == CUP.at("front", 5) == {"cup": HERE}
    assert CUP.at("front", 6) == CUP.at("front", 99) == {"cup": THERE}
    assert CUP.at("wrist", 6) == {}
    gone = CUP.with_key(KeyBox("cup", "front", 4, None))
    assert [gone.at("front", step) for step in (3, 4, 5, 6)] == [{"cup": HERE}, {}, {}, {"cup": THERE}]
    assert gone.without("cup", "front", 4) == CUP
    assert CUP.with_key(KeyBox("cup", "front", 2, THERE)).at("front", 2) == {"cup": THERE}


def test_a_box_moves_evenly_where_that_is_wanted() -> None:
    moving = replace(CUP, moving=True)
    assert moving.at("front", 3)["cup"] == (2.0, 1.0, 12.0, 11.0)
    assert moving.at("front", 6) == moving.at("front", 7) == {"cup": THERE}
    gone = moving.with_key(KeyBox("cup", "front", 4, None))
    assert gone.at("front", 3) == {"cup": HERE}


def test_boxes_come_back_from_the_workspace(tmp_path: Path) -> None:
    drawn = replace(CUP.with_key(KeyBox("tasse ×", "wrist", 0, None)), moving=True)
    assert read_drawn(tmp_path, "d" * 16) == DrawnBoxes()
    write_drawn(tmp_path, "d" * 16, drawn)
    assert read_drawn(tmp_path, "d" * 16) == drawn
    for damaged in (
        "{",
        "[]",
        '{"boxes": [{"name": "a", "camera": "b", "step": 0, "box": [3, 0, 1, 1]}], "moving": 0}',
    ):
        (tmp_path / "boxes" / f"{'d' * 16}.json").write_text(damaged)
        with pytest.raises(UserError, match="holds no drawn boxes; expected"):
            read_drawn(tmp_path, "d" * 16)


def test_grounding_follows_a_box_that_moves(tmp_path: Path) -> None:
    """Attention rests on patch 5: inside the box up to step 3, outside of it from then on."""
    (subject,) = subjects(1, "do it")
    drawn = DrawnBoxes((KeyBox("my thing", "front", 0, box(5)), KeyBox("my thing", "front", 3, box(15))))
    subject = replace(subject, drawn=drawn)
    found = measure(Planted("patch"), [subject], [probe("attention")], RecordStore(tmp_path), 6)
    assert np.sign(found.per_step("attention in object")).tolist() == [1, 1, 1, -1, -1, -1]


def test_the_command_line_uses_what_was_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_options, "open_policy", lambda opening: Planted("patch", patch=0, lies=opening is LYING))
    (episode,) = episodes_at([SAMPLE])

    def found() -> tuple[float, str]:
        asked = Asked([SAMPLE], tmp_path, 1, ["attention"], layers=False)
        pair, _, _ = measured_pair(Side(OPENING), Side(LYING), asked)
        return pair.first.measured.per_step("named area")[0], pair.settings["boxes drawn by a person"]

    area, said = found()
    assert said == "on 0 of the episodes"
    key = KeyBox("corner", episode.meta.cameras[0], 0, (0.0, 0.0, 64.0, 64.0))  # a 16th of the frame, empty so far
    write_drawn(tmp_path, episode.meta.digest, DrawnBoxes((key,)))
    assert found() == (pytest.approx(area + 1 / 16, abs=1e-3), "on 1 of the episodes")


@pytest.mark.parametrize(("patch", "says"), [(0, "above chance"), (10, "below chance")])
def test_the_verdict_on_grounding_uses_boxes_of_ecot(tmp_path: Path, patch: int, says: str) -> None:
    """The episode knows neither carrot nor plate; ECoT's boxes of both lie on patch 0 up to step 3, then on 1."""
    bare = subjects(6, "put the carrot on the plate")
    said = read_annotation("a", "0", tiny_ecot.episode())
    joined = [Subject(AnnotatedEpisode.join(each.episode, said), each.cameras) for each in bare]
    policy, asked, records = Planted("patch", patch=patch), [probe("attention")], RecordStore(tmp_path)
    without = grounded(measure(policy, bare, asked, records, 1), "attention")
    assert "No named thing has a mask or a box" in without.because
    assert grounded(measure(policy, joined, asked, records, 1), "attention").says == says
    at = [Moment(policy, each.episode, each.episode.step(step), each.cameras) for each in joined[:1] for step in (1, 5)]
    assert [np.argwhere(moment.covered("front").named > 0).tolist() for moment in at] == [[[0, 0]], [[0, 1]]]
