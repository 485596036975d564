"""Reviews out and in: nothing is lost on the way, and what does not fit is named."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.episodes import open_source
from analysis.rationales.rationale_file import read_rationales
from analysis.rationales.review_note import NOTE, is_note
from analysis.rationales.reviewed import write_reviewed
from analysis.review import Judgement, ProjectSettings, Selection, Source
from analysis.review.archive import archive_lines
from analysis.review.final import Rule
from analysis.review.gather import create_project, gather
from analysis.review.incoming import read_file, read_lines, read_rationale
from analysis.review.judgement import judgement_to_json
from analysis.review.outgoing import export_project
from analysis.review.reviewed_source import final_rationales, reviewed_source
from analysis.workspace import Workspace
from models.errors import UserError
from models.types import Rationale
from tests.analysis.review_world import BAD, GOOD, Clock, corrected, open_store, say, sources
from tests.tiny_episode import write_tiny_episode

ACCEPT = replace(GOOD, parts=())


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    write_tiny_episode(tmp_path / "data" / "a.hdf5", id="a")
    write_tiny_episode(tmp_path / "data" / "b.hdf5", id="b", fps=5)
    (tmp_path / "workspace.toml").write_text('episodes = ["data"]\ncheckpoints = []\n')
    return Workspace.open(tmp_path)


@pytest.fixture
def reviewed(workspace: Workspace) -> str:
    """Of a's two rationales the first is corrected, the second accepted; of b's the first is rejected."""
    project = create_project(workspace, ProjectSettings("first", overlap=2), Selection(), "lead")
    store = workspace.reviews
    a, also, b, _ = store.items(project.id)
    for name in ("ann", "ben"):
        say(store, a.id, name, corrected("=go left", "planning"))
        say(store, also.id, name, ACCEPT)
    say(store, b.id, "ann", replace(BAD, comment="\u202eno\0"))
    return project.id


def filled(address: str) -> tuple[object, str]:
    """A project with a row of each kind, also ones that do not count any more."""
    clock = Clock()
    store = open_store(address, clock)
    project = store.create_project(ProjectSettings("first", overlap=2, gold_overlap=3), sources(4), "lead")
    one, other, gold, undone = (item.id for item in store.items(project.id))
    for judgement in (GOOD, BAD, corrected("push \ud800 it\0")):
        clock.go(1)
        say(store, one, "ann", judgement, f"ann-{judgement.overall}")
    clock.go(1)
    say(store, other, "ben", BAD)
    clock.go(1)
    store.adjudicate(one, GOOD, "lead", 0)
    store.adjudicate(one, BAD, "lead", 1)
    store.set_gold(gold, BAD, "lead", 0)
    say(store, undone, "eve", GOOD, "eve-first")
    store.undo("eve-first", "eve", "eve-undone")
    store.edit_project(project.id, replace(store.project(project.id).settings, guidelines="# Read"), 1, "lead")
    return store, project.id


@pytest.mark.slow
def test_an_archive_in_another_database_is_the_same_project(review_address, tmp_path):
    store, project = filled(review_address)
    lines = list(archive_lines(store, project))
    other = open_store(str(tmp_path / "other.sqlite"), Clock())
    told = other.restore(list(read_lines(lines)), "importer")
    assert (told.items, told.reviews, told.adjudications, told.gold, told.refused) == (4, 6, 2, 1, ())
    assert list(archive_lines(other, project)) == lines
    assert other.reviews(project) == store.reviews(project) and other.gold(project) == store.gold(project)
    assert other.project_history(project) == store.project_history(project)
    assert [item.overlap for item in other.items(project)] == [2, 2, 3, 2]
    again = other.restore(list(read_lines(lines)), "importer")
    assert (again.items, again.reviews, again.adjudications, again.gold, again.refused) == (0, 0, 0, 0, ())
    assert len(other.projects()) == 1
    assert other.progress(project).leased == 0  # the undone review's place is free


@pytest.mark.slow
def test_earlier_reviews_go_into_another_project(review_address):
    store, project = filled(review_address)
    lines = list(read_lines(archive_lines(store, project)))
    new = store.create_project(ProjectSettings("second", overlap=2), sources(1), "lead")
    told = store.restore(lines, "importer", new.id)
    assert (told.items, told.reviews, told.refused) == (3, 6, ())
    assert [(one.annotator, one.judgement) for one in store.reviews(new.id)] == [
        (one.annotator, one.judgement) for one in store.reviews(project)
    ]
    (first, *_) = store.reviews(new.id)
    assert first.origin == f"project {project}" and first.supersedes is not None
    assert store.restore(lines, "importer", new.id).reviews == 0


@pytest.mark.slow
def test_reviews_over_the_overlap_are_refused_by_name(review_address):
    store, project = filled(review_address)
    lines = list(read_lines(archive_lines(store, project)))
    new = store.create_project(ProjectSettings("second", overlap=1), sources(4), "lead")
    say(store, store.items(new.id)[1].id, "joe", GOOD)
    told = store.restore(lines, "importer", new.id)
    (refused,) = told.refused
    assert refused.startswith("line ") and "'ben' reviewed an item that has all its annotators" in refused


def changed(lines: list[str], kind: str, **values: object) -> list[str]:
    return [json.dumps(line | values if line["kind"] == kind else line) for line in map(json.loads, lines)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("project", {"format": "other"}, "no archive vla-lens-reviews"),
        ("project", {"settings": {"overlap": 0, "name": "x"}}, ""),
        ("project", {"id": "x"}, "no review id"),
        ("version", {"settings": {"name": "x", "overlap": 0}}, "overlap is 0"),
        ("version", {"settings": {"name": "x", "colour": "red"}}, "cannot be used"),
        ("version", {"version": 7}, "expected 1, 2, 3"),
        ("item", {"parts": {"planning": "edited"}}, "its digest is another"),
        ("item", {"parts": {}}, "'parts' is"),
        ("item", {"start": -1}, "the steps are -1"),
        ("item", {"scores": {"surprise": "high"}}, "'scores' is"),
        ("item", {"scores": {"surprise": 10**400}}, "'scores' is"),
    ],
)
def test_archives_that_cannot_be(tmp_path, kind, values, said):
    store, project = filled(str(tmp_path / "r.sqlite"))
    lines = changed(list(archive_lines(store, project)), kind, **values)
    other = open_store(str(tmp_path / "other.sqlite"), Clock())
    if said:
        with pytest.raises(UserError, match=said):
            other.restore(list(read_lines(lines)), "importer")
        assert other.projects() == ()  # nothing is left of it


def test_empty_corrections_of_earlier_versions_come_back(tmp_path):
    store, project = filled(str(tmp_path / "r.sqlite"))
    empty = judgement_to_json(corrected(""))
    lines = changed(list(archive_lines(store, project)), "review", judgement=empty)
    other = open_store(str(tmp_path / "other.sqlite"), Clock())
    assert other.restore(list(read_lines(lines)), "importer").reviews == 6
    assert {one.judgement.corrections["planning"] for one in other.reviews(project)} == {""}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"digest": "other"}, "no rationale of the digest 'other'"),
        ({"judgement": {"overall": "fine"}}, "expected one of accept"),
        ({"judgement": {"overall": 1}}, "'overall' of a review is 1"),
        ({"judgement": {"overall": "reject", "parts": [1]}}, "expected a list of objects"),
        ({"annotator": ""}, "0 characters"),
        ({"time": "yesterday"}, "expected a time with its zone"),
        ({"seconds": "long"}, "expected a number or null"),
        ({"seconds": 10**400}, "expected a number or null"),
        ({"id": "'; DROP"}, "no review id"),
    ],
)
def test_reviews_that_cannot_be_are_refused_one_by_one(tmp_path, values, said):
    store, project = filled(str(tmp_path / "r.sqlite"))
    lines = changed(list(archive_lines(store, project)), "review", **values)
    other = open_store(str(tmp_path / "other.sqlite"), Clock())
    told = other.restore(list(read_lines(lines)), "importer")
    assert told.items == 4 and told.reviews == 0 and len(told.refused) == 6
    assert all(said in reason and reason.startswith("line ") for reason in told.refused)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1 is no JSON"),
        ("[1]", "line 1 is a JSON list"),
        ('{"kind": "poem"}', "of the kind 'poem'"),
        ('{"a": NaN}', "no number of JSON"),
        ("[" * 100_000, "line 1 is no JSON"),
    ],
)
def test_lines_that_cannot_be_read(line, said):
    with pytest.raises(UserError, match=said):
        list(read_lines([line]))


def test_only_a_line_feed_ends_a_line(tmp_path):
    said = "first\u2028second\u2029\x85\x0b third"
    lines = [json.dumps({"episode": "a", "parts": {"planning": said}}, ensure_ascii=False)] * 2
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "said.jsonl").write_text("\r\n".join(lines), encoding=encoding, newline="")
        found = read_file(tmp_path / "said.jsonl")
        assert [(line.number, line.values["parts"]) for line in found] == [(n, {"planning": said}) for n in (1, 2)]
    (tmp_path / "said.jsonl").write_bytes(b"{}\n{\xff}")
    with pytest.raises(UserError, match="line 2 is no text in UTF-8"):
        read_file(tmp_path / "said.jsonl")


def test_rationales_by_hand_find_their_episode(workspace):
    line = '{"episode": "a", "start": 2, "author": "me", "parts": {"planning": "go"}}'
    (read,) = read_lines([line])
    found = read_rationale(read, workspace)
    name = workspace.datasets()[0].name
    digest = workspace.episode("a").meta.digest
    said = Rationale({"planning": "go"}, 2, 3, "me")
    assert found == Source(name, "a", digest, "put the red block on the towel", said)
    for text, reason in (('"start": 6', "up to step 7; 'a' has 6"), ('"episode": "z", "start": 1', "is not in")):
        (bad,) = read_lines([f'{{"episode": "a", "parts": {{"planning": "go"}}, {text}}}'])
        with pytest.raises(UserError, match=reason):
            read_rationale(bad, workspace)


@pytest.mark.slow
def test_what_may_be_trained_on(workspace, reviewed):
    (dataset,) = workspace.datasets()
    said = final_rationales(workspace, reviewed)
    assert list(said) == [(dataset.name, "a")]
    assert [one.parts["planning"] for one in said[dataset.name, "a"] if "planning" in one.parts] == ["=go left"]
    source = reviewed_source(workspace, reviewed)
    (meta,) = source.scan()
    assert (meta.id, source.open("a").rationales) == ("a", said[dataset.name, "a"])
    assert source.open("a").step(2).observation.images and source.open("a").actions.shape == (6, 7)
    with pytest.raises(UserError, match="no reviewed rationale of an episode 'b'"):
        source.open("b")
    with pytest.raises(UserError, match="leaves no rationale by the rule 'adjudicated'"):
        reviewed_source(workspace, reviewed, Rule("adjudicated"))
    with pytest.raises(UserError, match="leaves no rationale"):
        reviewed_source(workspace, reviewed, datasets=["other"])


@pytest.mark.slow
def test_an_episode_that_changed_since_is_not_used(workspace, reviewed):
    write_tiny_episode(workspace.episode_paths[0] / "a.hdf5", id="a", success=False)
    with pytest.raises(UserError, match="has changed since"):
        reviewed_source(Workspace.open(workspace.path), reviewed).open("a")


@pytest.mark.slow
@pytest.mark.parametrize("format", ["hdf5", "lerobot"])
def test_episodes_say_how_their_rationales_were_reviewed(workspace, reviewed, tmp_path, format):
    told = export_project(workspace, reviewed, tmp_path / "out", format)
    assert (told.count, told.outcomes) == (1, {"accept": 1, "correct": 1, "reject": 1, "undecided": 1})
    source = open_source(tmp_path / "out")
    (meta,) = source.scan()
    rationales = source.open(meta.id).rationales
    plain = [one for one in rationales if not is_note(one)]
    assert plain == list(reviewed_source(workspace, reviewed).open("a").rationales)
    first, second = (json.loads(one.parts[NOTE]) for one in rationales if is_note(one))
    assert (first["verdict"], first["originals"], first["agreement"]) == ("correct", {"planning": "go right"}, 1.0)
    assert (second["verdict"], second["annotators"], second["rule"]) == ("accept", ["ann", "ben"], "majority")
    assert second["project"] == reviewed and second["tool"].startswith("vla-lens")
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "workspace.toml").write_text('episodes = ["../out"]\n')
    said = gather(Workspace.open(tmp_path / "again"), Selection()).sources
    assert [one.rationale for one in said] == plain  # notes are not reviewed
    without = export_project(workspace, reviewed, tmp_path / "plain", format, notes=False)
    assert not any(map(is_note, open_source(without.path).open(meta.id).rationales))


@pytest.mark.slow
def test_a_table_for_a_spreadsheet(workspace, reviewed, tmp_path):
    told = export_project(workspace, reviewed, tmp_path / "out.csv", "csv")
    with told.path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 5  # a row for each judged part, one for a review that judged none
    first = rows[0]
    assert (first["annotator"], first["part"], first["verdict"], first["outcome"]) == (
        "ann",
        "planning",
        "partly",
        "correct",
    )
    assert first["correction"] == "'=go left" and first["original"] == "go right"  # no formula
    assert rows[-1]["comment"] == "\u202eno\\x00"
    with pytest.raises(UserError, match="is there already"):
        export_project(workspace, reviewed, told.path, "csv")


@pytest.mark.slow
def test_lines_tell_outcomes_too(workspace, reviewed, tmp_path):
    told = export_project(workspace, reviewed, tmp_path / "out.jsonl", "jsonl")
    lines = [json.loads(line) for line in told.path.read_text().splitlines()]
    outcomes = [line for line in lines if line["kind"] == "final"]
    assert [line["outcome"] for line in outcomes] == ["correct", "accept", "reject", "undecided"]
    assert outcomes[0]["parts"]["planning"] == "=go left" and len(lines) == told.count
    with pytest.raises(UserError, match="the formats are jsonl, csv, hdf5, lerobot"):
        export_project(workspace, reviewed, tmp_path / "out", "xml")


def half(workspace: Workspace, text: str, judgement: Judgement) -> str:
    """A project of one rationale that says ``text``, judged by one."""
    (dataset,), meta = workspace.datasets(), workspace.episode("a").meta
    said = Rationale({"planning": text}, 0, 3, "teacher")
    source = Source(dataset.name, "a", meta.digest, meta.instruction, said)
    project = workspace.reviews.create_project(ProjectSettings("half"), [source], "lead")
    say(workspace.reviews, workspace.reviews.items(project.id)[0].id, "ann", judgement)
    return project.id


@pytest.mark.parametrize("format", ["hdf5", "lerobot"])
def test_half_a_sign_is_named_where_a_format_cannot_keep_it(workspace, tmp_path, format):
    project = half(workspace, "cut off \ud83d", ACCEPT)
    with pytest.raises(UserError, match=r"episode 'a' has half a sign, '\\ud83d'"):
        export_project(workspace, project, tmp_path / "out", format)
    project = half(workspace, "cut off \ud83d", corrected("whole", "planning"))
    told = export_project(workspace, project, tmp_path / "out", format)
    said, note = open_source(told.path).open("a").rationales
    assert said.parts["planning"] == "whole"
    assert json.loads(note.parts[NOTE])["originals"] == {"planning": "cut off \ud83d"}


def test_half_a_sign_goes_into_tables_and_lines(workspace, tmp_path):
    project = half(workspace, "cut off \ud83d", replace(ACCEPT, comment="cut off \ud83d"))
    for format in ("csv", "jsonl"):
        assert "cut off \\ud83d" in export_project(workspace, project, tmp_path / format, format).path.read_text()
    (line,) = read_rationales(write_reviewed(workspace, project, Rule()))
    assert line.rationale.parts == {"planning": "cut off \ud83d"}


def test_each_rule_has_a_file_to_learn_from(workspace, reviewed):
    rules = (Rule(), Rule(least=2), Rule("all"))
    paths = [write_reviewed(workspace, reviewed, rule) for rule in rules]
    assert [path.name for path in paths] == [
        f"reviewed-{reviewed}-{name}.jsonl" for name in ("majority", "majority-2", "all")
    ]
    with pytest.raises(UserError, match=r"the project 'first' is .* the rule 'adjudicated' with at least 1 reviews"):
        write_reviewed(workspace, reviewed, Rule("adjudicated"))
