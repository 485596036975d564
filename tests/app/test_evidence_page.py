"""The evidence page without a browser: nothing runs unasked; what records hold is shown with n, interval and rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.evidence.drawn import DrawnBoxes, KeyBox, read_drawn, write_drawn
from analysis.evidence.episodes import subject
from analysis.evidence.measurements import Measurements, spread_steps, write_values
from analysis.evidence.pair import paired
from analysis.evidence.probe import QUICK, probe
from analysis.evidence.report import report_html
from analysis.workspace import Workspace
from app import library
from app.chart_exports import exports_of
from app.evidence_asked import Asked, LookedAt, Model, known, measuring
from app.library import WORKSPACE_VARIABLE, Library
from app.server import MAIN
from models.planted import Planted
from models.types import CheckpointSpec
from tests.browser.world import checkpoint_named, write_synthetic_episode
from tests.tiny_checkpoints import write_action_token_paligemma

EPISODES = 7


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence")
    for number in range(EPISODES):
        write_synthetic_episode(folder / "episodes" / f"e{number}.hdf5", 4, id=f"e{number}")
    for name in ("base", "tuned"):
        write_action_token_paligemma(
            folder / "checkpoints" / name, rationale=name == "tuned", name=name, image_size=64, layers=2
        )
    (folder / "workspace.toml").write_text('episodes = ["episodes"]\ncheckpoints = ["checkpoints"]\n')
    return folder


def pretend(folder: Path, spec: CheckpointSpec, values: dict[str, dict[str, float]]) -> None:
    """Records as if these had been measured, one number more in each episode."""
    workspace = Workspace.open(folder)
    dataset = workspace.datasets()[0].name
    for number in range(EPISODES):
        own = subject(spec, workspace.episode(f"e{number}", dataset), opened_as={"action_stats": None})
        for name in QUICK:
            for step in spread_steps(4, 2):
                shifted = {key: value + number / 1000 for key, value in values.get(name, {}).items()}
                write_values(workspace.records, own.key(spec.digest, probe(name)), step, shifted)


def run(monkeypatch: pytest.MonkeyPatch, workspace: Path, **parameters: str) -> AppTest:
    monkeypatch.setenv(WORKSPACE_VARIABLE, str(workspace))
    test = AppTest.from_file(str(MAIN), default_timeout=120)
    test.query_params["page"] = "evidence"
    for name, value in parameters.items():
        test.query_params[name] = value
    for _ in range(40):  # the index of a new workspace may still be under way
        test.run()
        assert not test.exception
        if "Is the explanation true?" in text_of(test) or "Evidence is about" in text_of(test):
            break
    return test


def text_of(test: AppTest) -> str:
    return " ".join(
        str(entry.value) for kind in (test.markdown, test.caption, test.info, test.button) for entry in kind
    ).replace("\\", "")


@pytest.mark.slow
def test_nothing_runs_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, world: Path) -> None:
    test = run(monkeypatch, world)
    assert test.button(key="evidence_measure").label == f"Measure {2 * EPISODES} steps"
    assert "Nothing is measured yet" in text_of(test)
    assert "Is the instruction used?" not in text_of(test)


@pytest.mark.slow
def test_what_is_measured_is_a_verdict_with_its_numbers(monkeypatch: pytest.MonkeyPatch, world: Path) -> None:
    tuned = checkpoint_named(world, "tuned")
    edits = {"other object": 0.4, "negated": 0.3, "blank": 0.5, "shuffled": 0.2, "paraphrase": 0.0}
    pretend(world, tuned, {"instruction": {f"instruction {name}": value for name, value in edits.items()}})
    said = text_of(run(monkeypatch, world, checkpoint=tuned.digest))
    assert "Edits of the meaning move the action by 0.353 bits" in said
    assert f"n = {EPISODES}" in said
    assert "Sign-flip p = 0.016" in said  # 2 / 2^7
    assert tuned.digest in said
    held = [one for one in exports_of(library.current())._held.values() if tuned.digest in " ".join(one.about.caption)]
    numbers = next(one for one in held if one.about.title == "Is the instruction used?").chart()
    assert "other object" in numbers.columns["quantity"] and set(numbers.columns["n"]) == {EPISODES}
    assert f"{EPISODES} episodes" in numbers.provenance.samples and "measured: action" in " ".join(
        numbers.provenance.caption
    )
    base = checkpoint_named(world, "base")
    pretend(world, base, {"attention": {"image share": 0.2}, "action": {"action x": 0.1}})
    test = run(monkeypatch, world, checkpoint=base.digest, other=tuned.digest)
    test.segmented_control(key="evidence_part").set_value("Base against tuned").run()
    assert not test.exception
    assert f"{EPISODES} episodes, {2 * EPISODES} steps that both were measured on" in text_of(test)


@pytest.mark.slow
def test_one_checkpoint_cannot_be_compared_and_none_says_so(
    monkeypatch: pytest.MonkeyPatch, world: Path, tmp_path: Path
) -> None:
    (tmp_path / "workspace.toml").write_text(f'episodes = ["{world / "episodes"}"]\ncheckpoints = []\n')
    assert "Evidence is about a model" in text_of(run(monkeypatch, tmp_path))


@pytest.mark.slow
def test_one_episode_counts_its_steps(monkeypatch: pytest.MonkeyPatch, world: Path) -> None:
    test = run(monkeypatch, world)
    left = 4 if not (world / "records").exists() else 2  # two of the four were pretended above
    test.segmented_control(key="evidence_about").set_value("This episode").run()
    assert not test.exception
    assert test.number_input(key="evidence_steps_False").value == 12
    assert test.button(key="evidence_measure").label == f"Measure {left} steps"
    workspace = Workspace.open(world)
    digest = workspace.episode("e0", workspace.datasets()[0].name).meta.digest
    write_drawn(world, digest, DrawnBoxes((KeyBox("cup", "shoulder", 2, (10.0, 20.0, 60.0, 80.0)),)))
    test.run()
    assert "cup, from step 2: 10, 20, 60, 80" in text_of(test)
    assert test.button(key="evidence_measure").label == "Measure 4 steps"  # nothing was measured with that box
    next(button for button in test.button if button.label == "Remove").click().run()
    assert not test.exception and read_drawn(world, digest).keys == ()


def test_a_damaged_file_of_boxes_is_said(monkeypatch: pytest.MonkeyPatch, world: Path) -> None:
    workspace = Workspace.open(world)
    file = world / "boxes" / f"{workspace.episode('e0', workspace.datasets()[0].name).meta.digest}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text("[3")
    test = run(monkeypatch, world)
    file.unlink()
    assert not test.exception
    assert "holds no drawn boxes" in test.error[0].value


def test_a_comparison_keeps_pictures_of_the_steps_that_differ_most(world: Path) -> None:
    policies = Planted("nothing"), Planted("patch")
    here = Library(Workspace.open(world))
    dataset = here.workspace.datasets()[0].name
    metas = tuple(here.workspace.episode(f"e{number}", dataset).meta for number in range(2))
    asked = Asked(dataset, metas, 1, ("action",))
    found = measuring(here, asked, tuple(Model(policy.info) for policy in policies))(policies, lambda *_: None, bool)
    assert isinstance(found, LookedAt) and found.layers.why_not
    assert [each.step.place.step for each in found.steps] == [2, 2]
    html = report_html(paired(*(policy.info for policy in policies), *_known(here, asked, policies), found.layers,
                              "holm", asked.settings), found.steps)  # fmt: skip
    assert html.count('src="data:image/jpeg;base64,') == 6 and "steps of each episode: 1" in html


def _known(here: Library, asked: Asked, policies: tuple[Planted, Planted]) -> list[Measurements]:
    return [known(here, asked, Model(policy.info)) for policy in policies]
