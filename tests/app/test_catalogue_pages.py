"""The catalogue and the overview, run by Streamlit's own test harness."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.dataset_description import DatasetDescription
from analysis.workspace import Workspace
from app.components.catalogue_grid import card
from tests.app.test_pages import run
from tests.browser.world import HTML
from tests.tiny_episode import write_tiny_episode
from tests.tiny_robomimic import write_robomimic

pytestmark = pytest.mark.slow  # together more than make check has time for

MANY = 60


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More episodes than the side bar shows at once, and a broken file."""
    folder = tmp_path_factory.mktemp("many")
    first = write_tiny_episode(folder / "data" / "e00.hdf5", id="e00", instruction="take the green cup")
    for number in range(1, MANY):
        write_tiny_episode(
            folder / "data" / f"e{number:02}.hdf5", id=f"e{number:02}", instruction="put it away", rationales=()
        )
    (folder / "data" / "zz.hdf5").write_bytes(first.read_bytes()[:500])
    (folder / "workspace.toml").write_text('episodes = ["data"]\ncheckpoints = []\n')
    Workspace.open(folder).update_index()
    return folder


def names(test: AppTest) -> list[str]:
    return [option.split(" · ")[-1] for option in test.sidebar.selectbox(key="episode").options]


def test_a_long_list_comes_in_pages(monkeypatch: pytest.MonkeyPatch, many: Path) -> None:
    test = run(monkeypatch, many)
    assert len(names(test)) == 48 and names(test)[0] == "e00"
    test.sidebar.button(key="side_Next").click().run()
    assert not test.exception
    assert names(test) == ["e00", *(f"e{number}" for number in range(48, MANY))], "what is looked at stays"
    assert test.query_params["p"] == "2" or test.query_params["p"] == ["2"]


def test_a_link_opens_an_episode_of_another_page(monkeypatch: pytest.MonkeyPatch, many: Path) -> None:
    test = run(monkeypatch, many, episode="e57")
    assert test.sidebar.selectbox(key="episode").value == "e57" and len(names(test)) == 49
    assert not test.sidebar.warning


def test_the_side_bar_searches_and_keeps_what_is_looked_at(monkeypatch: pytest.MonkeyPatch, many: Path) -> None:
    test = run(monkeypatch, many, episode="e57")
    test.sidebar.text_input(key="list_q").set_value("green").run()
    assert not test.exception
    assert names(test) == ["e57", "e00"] and test.query_params["q"] in ("green", ["green"])
    test.sidebar.selectbox(key="list_rationale").set_value("no").run()
    assert names(test) == ["e57"]
    test.sidebar.button(key="widen_side").click().run()
    assert len(names(test)) == 49


def test_a_file_that_appears_is_listed(monkeypatch: pytest.MonkeyPatch, many: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(many, folder, ignore=shutil.ignore_patterns("cache"))
    run(monkeypatch, folder)
    write_tiny_episode(folder / "data" / "a_new.hdf5", id="new")
    monkeypatch.setattr("app.index_updates.REST_SECONDS", 0.0)
    assert run(monkeypatch, folder, episode="new").sidebar.selectbox(key="episode").value == "new"


def test_the_catalogue_takes_its_filters_from_the_link(monkeypatch: pytest.MonkeyPatch, many: Path) -> None:
    test = run(monkeypatch, many, page="catalogue", q="green")
    assert test.text_input(key="list_q").value == "green"
    assert any("**1** of 61" in entry.value for entry in test.main.markdown)
    test = run(monkeypatch, many, page="catalogue", success="perhaps")
    assert "success" in test.main.warning[0].value
    test = run(monkeypatch, many, page="catalogue", q="nothing like it")
    assert "No episode passes" in test.main.info[0].value


def test_splits_are_offered_where_there_are_several(
    monkeypatch: pytest.MonkeyPatch, many: Path, tmp_path: Path
) -> None:
    write_robomimic(tmp_path / "data" / "lift.hdf5", demos=(0, 1, 2))  # the first in train, the others in valid
    (tmp_path / "workspace.toml").write_text('episodes = ["data"]\ncheckpoints = []\n')
    Workspace.open(tmp_path).update_index()
    test = run(monkeypatch, tmp_path, page="catalogue")
    assert test.selectbox(key="list_split").options == ["Any", "train", "valid"]
    test.selectbox(key="list_split").set_value("valid").run()
    assert not test.exception and test.query_params["split"] in ("valid", ["valid"])
    assert any("**2** of 3" in entry.value for entry in test.main.markdown)
    side = run(monkeypatch, tmp_path, split="valid").sidebar
    assert side.selectbox(key="list_split").value == "valid"
    assert [option.split(" · ")[-1] for option in side.selectbox(key="episode").options] == [
        "lift/demo_1",
        "lift/demo_2",
    ]
    unknown = run(monkeypatch, tmp_path, page="catalogue", split="gone")
    assert unknown.selectbox(key="list_split").value == "gone" and "No episode passes" in unknown.main.info[0].value
    assert all(box.key != "list_split" for box in run(monkeypatch, many, page="catalogue").selectbox)


def test_the_catalogue_stands_without_any_episode(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "workspace.toml").write_text('episodes = ["nothing"]\ncheckpoints = []\n')
    test = run(monkeypatch, tmp_path, page="catalogue")
    assert any("**1** entry" in entry.value for entry in test.main.markdown)
    test = run(monkeypatch, tmp_path, page="data-set")
    assert any("nothing at" in entry.value for entry in test.main.text)


def test_cards_carry_texts_of_data_sets_as_they_are(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    opened = Workspace.open(workspace)
    opened.update_index()
    page = opened.index.query()
    (one,) = [entry for entry in page.entries if getattr(entry.entry, "instruction", "") == HTML]
    shown = card(one, [(one.dataset, one.entry.id)], many_sets=False)  # type: ignore[union-attr]
    assert shown["instruction"] == HTML and shown["ticked"] and shown["facts"].startswith("3 steps")


def test_the_overview_names_what_is_broken(monkeypatch: pytest.MonkeyPatch, many: Path) -> None:
    test = run(monkeypatch, many, page="data-set")
    values = {metric.label: metric.value for metric in test.metric}
    assert values["Episodes"] == "60" and values["Broken files"] == "1" and values["With rationale"] == "1"
    assert any("zz.hdf5" in text.value for text in test.main.text)
    test.button(key="broken_there").click().run()
    assert not test.exception
    assert test.selectbox(key="list_broken").value == "yes"


def test_a_correction_is_remembered_and_a_bad_one_refused(
    monkeypatch: pytest.MonkeyPatch, many: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(many, folder, ignore=shutil.ignore_patterns("cache"))
    test = run(monkeypatch, folder, page="data-set")
    (rate,) = [entry for entry in test.number_input if entry.label == "Frames a second"]
    rate.set_value(12.5)
    (robot,) = [entry for entry in test.text_input if entry.label == "Robot"]
    robot.set_value("blue arm")
    (kind,) = [entry for entry in test.selectbox if entry.label == "Actions are"]
    kind.set_value("absolute")
    next(entry for entry in test.button if entry.label == "Save").click()
    test.run()
    assert not test.exception
    opened = Workspace.open(folder)
    (dataset,) = (entry.name for entry in opened.datasets())
    assert opened.description(dataset) == DatasetDescription(fps=12.5, robot="blue arm", actions_are="absolute")
    assert opened.episode("e03").meta.fps == 12.5
    assert any("12.5 frames a second" in entry.value.replace("\\", "") for entry in test.main.markdown)
    opened.description_path(dataset).write_text("fps = 'fast'")
    test = run(monkeypatch, folder, page="data-set")
    assert "expected frames a second" in test.main.error[0].value
