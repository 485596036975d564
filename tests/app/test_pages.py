"""Pages run by Streamlit's own test harness: they stand, whatever is in the workspace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import session
from app.library import WORKSPACE_VARIABLE
from app.server import MAIN
from models import registry
from models.registry import FAMILIES, Family
from tests.browser.world import checkpoint_named
from tests.tiny_checkpoints import write_action_token_paligemma


def run(monkeypatch: pytest.MonkeyPatch, workspace: Path, **parameters: str) -> AppTest:
    monkeypatch.setenv(WORKSPACE_VARIABLE, str(workspace))
    monkeypatch.setattr("app.episode_choice.FIRST_SECONDS", 60.0)  # on a busy machine as well
    test = AppTest.from_file(str(MAIN), default_timeout=60)
    for name, value in parameters.items():
        test.query_params[name] = value
    test.run()
    assert not test.exception
    return test


@pytest.mark.slow
def test_first_page(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    test = run(monkeypatch, workspace)
    assert test.sidebar.selectbox(key="episode").value == "good"
    assert test.query_params["episode"] == "good"


@pytest.mark.slow
def test_the_url_chooses(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    test = run(monkeypatch, workspace, episode="good")
    assert test.sidebar.selectbox(key="episode").value == "good"


@pytest.mark.slow
def test_a_link_to_what_is_gone_says_so(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    test = run(monkeypatch, workspace, episode="gone")
    assert "“gone”, which is not here" in test.sidebar.warning[0].value


@pytest.mark.slow
def test_an_id_that_looks_like_a_path_is_only_a_name(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    test = run(monkeypatch, workspace, episode="../../etc/passwd")
    assert test.sidebar.selectbox(key="episode").value == "../../etc/passwd"


@pytest.mark.slow
def test_broken_things_are_named(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    test = run(monkeypatch, workspace)
    texts = [text.value for text in test.sidebar.text]
    assert any(text.startswith("broken.hdf5: ") for text in texts)
    assert any(text.startswith("empty: ") for text in texts)


@pytest.mark.slow
def test_choosing_another_episode_reaches_the_url(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    test = run(monkeypatch, workspace)
    test.sidebar.selectbox(key="episode").set_value("long").run()
    assert not test.exception
    assert test.query_params["episode"] == "long"


@pytest.mark.slow
def test_compare_with_one_checkpoint_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    test = run(monkeypatch, workspace, page="compare")
    assert "two usable checkpoints" in test.info[0].value
    assert test.sidebar.selectbox(key="checkpoint").value == checkpoint_named(workspace, "tuned").digest


@pytest.mark.slow
def test_several_action_statistics_are_a_choice_in_the_url(
    monkeypatch: pytest.MonkeyPatch, workspace: Path, tmp_path: Path
) -> None:
    for name, keys in (("one", ("bridge",)), ("several", ("bridge", "fractal"))):
        write_action_token_paligemma(tmp_path / "checkpoints" / name, rationale=False, name=name, norm_stats=keys)
    episodes = workspace.parent / "episodes"
    (tmp_path / "workspace.toml").write_text(f'episodes = ["{episodes}"]\ncheckpoints = ["checkpoints"]\n')
    several, one = (checkpoint_named(tmp_path, name).digest for name in ("several", "one"))
    test = run(monkeypatch, tmp_path, checkpoint=several)
    assert test.sidebar.selectbox(key="action_stats").value is None, "which data set is meant is never guessed"
    assert "action_stats" not in test.query_params
    test = run(monkeypatch, tmp_path, checkpoint=several, action_stats="fractal")
    assert test.sidebar.selectbox(key="action_stats").options == ["bridge", "fractal"]
    assert test.sidebar.selectbox(key="action_stats").value == "fractal"
    test.sidebar.selectbox(key="action_stats").set_value("bridge").run()
    assert test.query_params["action_stats"] == "bridge"
    test.sidebar.selectbox(key="checkpoint").set_value(one).run()
    assert not test.exception
    assert "action_stats" not in test.query_params


@pytest.mark.slow
def test_what_was_recognised_can_be_read(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    test = run(monkeypatch, workspace)
    assert any(entry.label == "About tuned" for entry in test.sidebar.expander)
    said = " ".join(text.value for text in test.sidebar.markdown)
    assert "**Vision tower**" in said and "**Action statistics of**" in said


@pytest.mark.slow
def test_the_camera_that_a_policy_sees_is_a_choice_in_the_url(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    test = run(monkeypatch, workspace, episode="two", cameras="wrist")
    box = test.sidebar.selectbox(key="cameras_1_0")
    assert (box.options, box.value) == (["front", "wrist"], "wrist")
    box.set_value("front").run()
    assert "cameras" not in test.query_params  # the first one is what it sees by itself
    test.sidebar.selectbox(key="cameras_1_0").set_value("wrist").run()
    assert test.query_params["cameras"] == "wrist"
    test.sidebar.selectbox(key="episode").set_value("good").run()
    assert not test.exception
    assert "cameras" not in test.query_params


@pytest.mark.slow
def test_families_that_read_the_same_files_are_a_choice_in_the_url(
    monkeypatch: pytest.MonkeyPatch, workspace: Path
) -> None:
    own = FAMILIES["paligemma"]
    talking = Family((), own.inspect, own.load, title="talking PaliGemma")
    monkeypatch.setattr(registry, "FAMILIES", dict(FAMILIES) | {"talking": talking})
    session.alternatives.clear()
    test = run(monkeypatch, workspace, family="talking")
    box = test.sidebar.selectbox(key="family")
    assert (len(box.options), box.value) == (2, "talking")
    box.set_value("paligemma").run()
    assert not test.exception
    assert "family" not in test.query_params
    session.alternatives.clear()


@pytest.mark.slow
def test_empty_workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "workspace.toml").write_text('episodes = ["nothing"]\ncheckpoints = []\n')
    test = run(monkeypatch, tmp_path)
    assert "No episode to show yet" in test.subheader[0].value


@pytest.mark.slow
def test_a_workspace_that_cannot_be_read_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "workspace.toml").write_text("episodes = [")
    test = run(monkeypatch, tmp_path)
    assert "is not valid TOML" in test.error[0].value


@pytest.mark.slow
def test_the_first_page_needs_no_torch() -> None:
    """The page, its routes and the component are imported without torch, transformers or a model."""
    code = "import sys, app.server, app.sidebar, app.views.compare, app.views.trajectory; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=MAIN.parents[1], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
