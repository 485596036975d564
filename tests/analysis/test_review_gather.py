"""The rationales that a project is made of, and the scores that order them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.records import capture_key
from analysis.review import ProjectSettings, Selection
from analysis.review.gather import create_project, gather
from analysis.review.scores import author_disagreement, differing
from analysis.workspace import Workspace
from models.errors import UserError
from models.fakes import SPEC, PlantedPolicy
from models.types import Capture, Rationale
from tests.analysis.review_world import BAD, GOOD, say, sources
from tests.tiny_episode import write_tiny_episode


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Two episodes with two rationales each, and a broken one."""
    write_tiny_episode(tmp_path / "data" / "a.hdf5", id="a")
    said = [
        Rationale({"observation": "a red block"}, 0, 6, "second teacher"),
        Rationale({"planning": "go"}, 2, 4, "test"),
    ]
    write_tiny_episode(tmp_path / "data" / "b.hdf5", id="b", rationales=said)
    (tmp_path / "data" / "broken.hdf5").write_text("x")
    (tmp_path / "workspace.toml").write_text('episodes = ["data"]\ncheckpoints = []\n')
    return Workspace.open(tmp_path)


def record(workspace: Workspace, logprobs: tuple[float, float] = (0.0, 0.0)) -> str:
    """Steps 0 and 1 of episode a as the planted policy sees them; its words have these log-probabilities."""
    episode = workspace.episode("a")
    run = workspace.records.run(capture_key(SPEC.digest, episode.meta.digest, Capture()))
    for index in (0, 1):
        found = PlantedPolicy().predict(episode.step(index).observation, Capture())
        run.write(index, replace(found, token_logprobs=np.array([-9.0, *logprobs, -9.0, -9.0])))
    return run.address


def test_rationales_that_come_with_the_data(workspace):
    found = gather(workspace, Selection())
    assert [(one.episode, one.rationale.start, one.rationale.stop) for one in found.sources] == [
        ("a", 0, 3),
        ("a", 3, 6),
        ("b", 0, 6),
        ("b", 2, 4),
    ]
    first = found.sources[0]
    assert (first.dataset, first.instruction) == (workspace.datasets()[0].name, "put the red block on the towel")
    assert first.episode_digest == workspace.episode("a").meta.digest and len(found.skipped) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(episodes=("b",)), 2),
        (Selection(authors=("second teacher",)), 1),
        (Selection(episodes=("a",), authors=("second teacher",)), 0),
        (Selection(from_data=False), 0),
    ],
)
def test_selections(workspace, selection, expected):
    assert gather(workspace, selection).found == expected


@pytest.mark.slow
def test_a_sample_is_told_by_its_seed(workspace):
    one, same, other = (gather(workspace, Selection(sample=2, seed=seed)) for seed in (1, 1, 2))
    assert one == same != other and (len(one.sources), one.found) == (2, 4)
    assert gather(workspace, Selection(sample=9)).found == 4


@pytest.mark.slow
def test_rationales_that_a_policy_wrote(workspace):
    address = record(workspace, (-1.0, -3.0))
    first, second = gather(workspace, Selection(from_data=False, from_records=True)).sources
    assert (first.rationale.parts, first.rationale.author) == ({"observation": "patch 0"}, SPEC.digest)
    assert (first.rationale.start, first.rationale.stop, second.rationale.start) == (0, 1, 1)
    assert first.record == address and first.scores["surprise"] == pytest.approx(2.0)
    assert len(gather(workspace, Selection(from_data=False, from_records=True, every=2)).sources) == 1
    assert gather(workspace, Selection(from_data=False, from_records=True, authors=("test",))).sources == ()
    with pytest.raises(UserError, match="there is no record 'nowhere'"):
        gather(workspace, Selection(from_records=True, records=("nowhere",)))


@pytest.mark.slow
def test_grounding_worked_by_hand(workspace):
    """Of 17 positions the queries 12, 13 and 15 wrote words and action; head 1 gives each position so far the same.

    The block covers 64 pixels: a twelfth of the brightest quarter, a 48th of the frame.
    """
    record(workspace)
    (first, _) = gather(workspace, Selection(from_data=False, from_records=True)).sources
    even = np.mean([1 / 13, 1 / 14, 1 / 16]) / 2
    inside = (0.6 / 2 + even) / 12 / (0.6 / 2 + 4 * even)
    assert first.scores["grounding"] == pytest.approx(inside - 1 / 48, abs=1e-3)  # weights in half precision


@pytest.mark.slow
def test_disagreement_of_authors_and_of_earlier_reviews(workspace):
    store = workspace.reviews
    one = sources(1)[0]
    others = [
        replace(one, rationale=Rationale({"planning": "a block 0 push it"}, 3, 5, "second teacher")),
        replace(one, rationale=Rationale({"planning": "something else"}, 4, 5, "third teacher")),
        replace(one, episode="elsewhere", rationale=Rationale({"planning": "x"}, 0, 4, "third teacher")),
    ]
    apart = author_disagreement([one, *others])
    # "a block 0 lift it" and "a block 0 push it" share 4 of 6 words; the third starts where the first has ended
    assert apart[one.digest] == pytest.approx(2 / 6) and apart[others[0].digest] == pytest.approx((2 / 6 + 1) / 2)
    assert others[2].digest not in apart
    project = create_project(workspace, ProjectSettings("first", overlap=2), Selection(), "lead")
    item = store.items(project.id)[0]
    say(store, item.id, "ann", BAD if "x" in item.source.rationale.parts else replace(GOOD, parts=()))
    say(store, item.id, "ben", replace(BAD, parts=()))
    assert gather(workspace, Selection(), store).sources[0].scores == {"disagreement": 1.0}
    assert gather(workspace, Selection()).sources[0].scores == {}
    assert differing(["accept", "accept", "reject"]) == pytest.approx(2 / 3) and differing(["accept"]) == 0


@pytest.mark.slow
def test_a_project_of_nothing_is_refused(workspace):
    said = r"no rationale fits this selection; 1 episodes cannot be read, the first \(.*broken.hdf5\) because: .*HDF5"
    with pytest.raises(UserError, match=said):
        create_project(workspace, ProjectSettings("first"), Selection(authors=("nobody",)), "lead")
    (workspace.episode_paths[0] / "broken.hdf5").unlink()
    with pytest.raises(UserError, match="no rationale fits this selection; take more data sets"):
        create_project(workspace, ProjectSettings("first"), Selection(authors=("nobody",)), "lead")
    with pytest.raises(UserError, match="1 or more"):
        gather(workspace, Selection(sample=0))
