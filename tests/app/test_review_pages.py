"""The pages Review and Projects in Streamlit's own harness: who may, what is made, what is said when it cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.review import (
    Judgement,
    LabelScheme,
    PartJudgement,
    Project,
    ProjectSettings,
    ReviewStore,
    Source,
    Submission,
)
from analysis.review.judgement import PartLabels
from analysis.workspace import Workspace
from app.library import WORKSPACE_VARIABLE
from app.server import MAIN
from app.views.project_agreement import SCALE
from models.types import Rationale
from tests.browser.review_world import PARTS, judge
from tests.browser.world import write_synthetic_episode

pytestmark = pytest.mark.slow  # together more than make check has time for

SAID = tuple(Rationale(PARTS, start, start + 2, "teacher") for start in (0, 3, 6))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_synthetic_episode(tmp_path / "episodes" / "said.hdf5", 9, id="said", rationales=SAID)
    (tmp_path / "workspace.toml").write_text(
        'episodes = ["episodes"]\ncheckpoints = []\n[people]\nlead = ["Kim", "Lou"]\n'
    )
    return tmp_path


@pytest.fixture
def store(home: Path) -> ReviewStore:
    return Workspace.open(home).reviews


@pytest.fixture
def project(home: Path, store: ReviewStore) -> Project:
    (dataset,) = Workspace.open(home).datasets()
    meta = Workspace.open(home).episode("said").meta
    sources = [Source(dataset.name, "said", meta.digest, meta.instruction, one) for one in SAID]
    return store.create_project(ProjectSettings("first", overlap=2), sources, "Kim")


def opened(monkeypatch: pytest.MonkeyPatch, home: Path, page: str, **parameters: str) -> AppTest:
    monkeypatch.setenv(WORKSPACE_VARIABLE, str(home))
    test = AppTest.from_file(str(MAIN), default_timeout=60)
    for name, value in (parameters | {"page": page}).items():
        test.query_params[name] = value
    test.run()
    assert not test.exception
    return test


def written(test: AppTest) -> str:
    kinds = (test.markdown, test.caption, test.error, test.info, test.success, test.subheader, test.text)
    return "\n".join(str(one.value) for kind in kinds for one in kind)


def test_a_name_is_asked_once(monkeypatch: pytest.MonkeyPatch, home: Path, project: Project) -> None:
    test = opened(monkeypatch, home, "review")
    assert "Who are you?" in written(test)
    test.selectbox(key="typed_name").set_value("Kim")
    test.button[-1].click().run()
    assert not test.exception and test.query_params["person"] == "Kim"
    assert "Judging as Kim · lead" in written(test)
    assert test.sidebar.selectbox(key="project").value == project.id


def test_without_a_project_everybody_is_told_who_makes_one(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    assert "Make one on the page Projects" in written(opened(monkeypatch, home, "review", person="Kim"))
    assert "A lead makes one" in written(opened(monkeypatch, home, "review", person="Ann"))


def test_a_project_for_others_is_not_offered(
    monkeypatch: pytest.MonkeyPatch, home: Path, store: ReviewStore, project: Project
) -> None:
    store.edit_project(project.id, ProjectSettings("first", annotators=("Bob",)), 1, "Kim")
    assert "No open project is for Ann" in written(opened(monkeypatch, home, "review", person="Ann"))


def test_annotators_do_not_get_pages_for_leads(monkeypatch: pytest.MonkeyPatch, home: Path, project: Project) -> None:
    test = opened(monkeypatch, home, "projects", person="Ann")
    assert test.query_params["page"] != "projects" and "Settings" not in written(test)


def test_a_project_is_made_of_what_the_selection_finds(
    monkeypatch: pytest.MonkeyPatch, home: Path, store: ReviewStore
) -> None:
    test = opened(monkeypatch, home, "projects", person="Kim")
    assert "There is no review project yet" in written(test)
    test.number_input(key="take_sample").set_value(2)
    test.button(key="see_selection").click().run()
    assert "3 rationales, of which 2 are drawn, in 1 episodes" in written(test)
    test.text_input(key="project_name_new").set_value("made")
    test.text_area(key="project_guidelines_new").set_value("Look <b>well</b>")
    test.number_input(key="project_overlap_new").set_value(3)
    test.selectbox(key="project_order_new").set_value("disagreement")
    test.text_input(key="project_verdicts_new").set_value("correct, wrong")
    next(one for one in test.button if one.label == "Make the project").click().run()
    assert not test.exception
    (made,) = store.projects()
    assert (made.settings.name, made.settings.overlap, made.settings.order) == ("made", 3, "disagreement")
    assert made.settings.labels.default.verdicts == ("correct", "wrong") and made.created_by == "Kim"
    assert len(store.items(made.id)) == 2 and made.selection.sample == 2
    assert test.query_params["project"] == made.id


def test_a_name_is_needed(monkeypatch: pytest.MonkeyPatch, home: Path, store: ReviewStore) -> None:
    test = opened(monkeypatch, home, "projects", person="Kim")
    next(one for one in test.button if one.label == "Make the project").click().run()
    assert "a project's name has 0 characters" in written(test).replace("\\", "") and store.projects() == ()


def test_two_leads_who_change_the_same_project(
    monkeypatch: pytest.MonkeyPatch, home: Path, store: ReviewStore, project: Project
) -> None:
    test = opened(monkeypatch, home, "projects", person="Kim", part="settings", project=project.id)
    form = f"{project.id}_1"
    store.edit_project(project.id, ProjectSettings("by Lou", overlap=2), 1, "Lou")
    test.number_input(key=f"project_overlap_{form}").set_value(3)
    save = next(one for one in test.button if one.label == "Save the changes")
    save.click().run()
    assert "Lou changed the project" in written(test).replace("\\", "")
    assert store.project(project.id).settings.overlap == 2
    assert test.number_input(key=f"project_overlap_{form}").value == 3  # what was changed is still in the form
    next(one for one in test.button if one.label == "Save the changes").click().run()
    assert not test.exception and store.project(project.id).settings.overlap == 3


def test_progress_and_agreement(
    monkeypatch: pytest.MonkeyPatch, home: Path, store: ReviewStore, project: Project
) -> None:
    judge(store, project.id, "Ann", "correct", "accept", 3)
    judge(store, project.id, "Bob", "correct", "accept", 2)
    judge(store, project.id, "Bob", "wrong", "reject", 1)
    test = opened(monkeypatch, home, "projects", person="Kim", project=project.id)
    metrics = {one.label: one.value for one in test.metric}
    assert (metrics["items"], metrics["done"], metrics["open conflicts"]) == ("3", "3", "1")
    test = opened(monkeypatch, home, "projects", person="Kim", project=project.id, part="agreement")
    table = test.dataframe[0].value
    overall = table.iloc[0]
    assert overall["items with two"] == 3 and overall["same"].startswith("0.67")


def test_a_file_of_rationales_is_taken_in(
    monkeypatch: pytest.MonkeyPatch, home: Path, store: ReviewStore, project: Project
) -> None:
    test = opened(monkeypatch, home, "projects", person="Kim", project=project.id, part="files")
    said = {"episode": "said", "start": 1, "author": "me", "parts": {"planning": "first\u2028second"}}
    test.file_uploader(key="in_file").set_value(
        ("said.jsonl", json.dumps(said, ensure_ascii=False).encode("utf-8-sig"), "application/json")
    ).run()
    test.button(key="in_go").click().run()
    assert not test.exception and "1 of 1 rationales were added" in written(test).replace("\\", "")
    assert store.items(project.id)[-1].source.rationale.parts == said["parts"]


def test_parts_with_other_verdicts_are_no_scale_together(
    monkeypatch: pytest.MonkeyPatch, home: Path, store: ReviewStore
) -> None:
    half = "half \ud83d"  # a part's name may be any text
    said = [Rationale({"planning": "go", half: "x"}, start, start + 1, "teacher") for start in range(2)]
    sources = [Source("episodes", "said", "d", "go", one) for one in said]
    scheme = LabelScheme(parts={half: PartLabels(("safe", "unsafe"))})
    project = store.create_project(ProjectSettings("mixed", overlap=2, labels=scheme), sources, "Kim")
    judged = Judgement((PartJudgement("planning", "correct"), PartJudgement(half, "safe")), "accept")
    for item in store.items(project.id):
        for name in ("Ann", "Bob"):
            store.submit(Submission(f"{name}-on-{item.id}", item.id, name, judged))
    test = opened(monkeypatch, home, "projects", person="Kim", project=project.id, part="agreement")
    assert test.dataframe[0].value.iloc[-1][["items with two", "judgements"]].tolist() == [2, 8]
    assert "no scale" not in written(test)
    test.session_state["agreement_kind"] = SCALE
    test.run()
    assert not test.exception and "All parts together are no scale here" in written(test)
    assert test.dataframe[0].value.iloc[-1]["same"] == "not defined"


def test_a_store_that_is_damaged_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, home: Path, project: Project
) -> None:
    (home / "workspace.toml").write_text('episodes = ["episodes"]\ncheckpoints = []\nreviews = "broken.sqlite"\n')
    (home / "broken.sqlite").write_bytes(b"no database, but some text that is long enough for SQLite to look at it" * 9)
    for page in ("review", "projects"):
        said = written(opened(monkeypatch, home, page, person="Kim")).replace("\\", "")
        assert "it is no SQLite database" in said
