"""The scripted teacher says of a recorded episode what the simulator said while it was recorded."""

from pathlib import Path

import pytest

pytest.importorskip("mujoco")

from analysis.episodes import open_source
from analysis.episodes.hdf5_writer import write_episode
from analysis.rationales.annotate import Annotating, annotate
from analysis.rationales.rationale_file import read_rationales
from models.errors import UserError
from models.teachers.teacher import TeacherSettings, make_teacher
from tests.tiny_episode import contents

EPISODES = Path(__file__).parents[2] / "sample_data" / "episodes"


@pytest.mark.slow
def test_it_agrees_with_the_recording(tmp_path: Path) -> None:
    source, teacher = open_source(EPISODES), make_teacher("scripted", TeacherSettings())
    ids = ("carrot-on-plate-0", "stack-blocks-1")
    told = annotate(source, teacher, tmp_path / "r.jsonl", Annotating(ids=ids))
    assert told.aside == 0
    stored = {(id, r.start): dict(r.parts) for id in ids for r in source.open(id).rationales}
    said = {(k.episode, k.rationale.start): dict(k.rationale.parts) for k in read_rationales(tmp_path / "r.jsonl")}
    assert len(said) == len(stored)
    others = [(key, part) for key in stored for part in stored[key] if said[key][part] != stored[key][part]]
    assert len(others) <= 2  # positions and state are stored as float32: half a centimetre may round otherwise
    assert {part for _, part in others} <= {"spatial"}


@pytest.mark.slow
def test_it_knows_no_other_world(tmp_path: Path) -> None:
    write_episode(tmp_path / "e.hdf5", **contents())
    with pytest.raises(UserError, match="knows episodes of the sample table alone"):
        annotate(
            open_source(tmp_path / "e.hdf5"),
            make_teacher("scripted", TeacherSettings()),
            tmp_path / "r.jsonl",
            Annotating(),
        )
