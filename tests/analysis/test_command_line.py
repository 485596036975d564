"""python -m analysis: what a person and a script get, and what they are told when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import models
from analysis.__main__ import main
from analysis.commands.options import parse_steps
from analysis.workspace import Workspace
from models.errors import UserError
from tests.tiny_episode import frame, write_tiny_episode

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command line in this process; gives exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["analysis", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def as_json(result: tuple[int, str, str]) -> dict[str, Any]:
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


def test_info_of_an_episode(command, tiny_episode):
    found = as_json(command("info", tiny_episode, "--json"))
    assert found["kind"] == "episodes" and found["broken"] == []
    assert [(e["id"], e["length"]) for e in found["episodes"]] == [("tiny", 6)]
    code, out, _ = command("info", tiny_episode)
    assert code == 0 and "put the red block on the towel" in out


def test_info_of_a_folder_names_what_is_broken(command, tmp_path):
    write_tiny_episode(tmp_path / "good.hdf5")
    (tmp_path / "bad.hdf5").write_text("x")
    found = as_json(command("info", tmp_path, "--json"))
    assert len(found["episodes"]) == 1 and "signature" in found["broken"][0]["reason"]


@pytest.mark.slow
def test_info_of_a_checkpoint(command, tiny_tuned):
    found = as_json(command("info", tiny_tuned, "--json"))
    assert (found["kind"], found["family"], found["generates_rationale"]) == ("checkpoint", "paligemma", True)
    assert found["families"][0] == "paligemma" and found["unused"] == {}
    assert (
        "Actions: x, y, z, roll, pitch, yaw, gripper (one step at a time, 256 bins)" in command("info", tiny_tuned)[1]
    )
    code, _, err = command("info", tiny_tuned, "--family", "abacus")
    assert code == 2 and "no model family 'abacus'" in err


def test_info_of_a_workspace(command, tmp_path, tiny_base):
    write_tiny_episode(tmp_path / "data" / "e.hdf5")
    (tmp_path / "workspace.toml").write_text(f'episodes = ["data"]\ncheckpoints = ["{tiny_base}", "nothing"]')
    found = as_json(command("info", tmp_path, "--json"))
    assert (found["datasets"][0]["episodes"], len(found["checkpoints"]), found["records"]) == (1, 1, [])
    assert "does not exist" in found["broken_checkpoints"][0]["reason"]


@pytest.mark.slow
def test_predict(command, tiny_tuned, tiny_episode):
    found = as_json(command("predict", tiny_tuned, tiny_episode, "--steps", "1:3", "--json"))
    assert [step["step"] for step in found["steps"]] == [1, 2]
    action = found["steps"][0]["actions"][0]
    assert (action["name"], action["unit"]) == ("x", "m") and action["recorded"] == pytest.approx(0.01)
    assert found["steps"][0]["rationale"] is not None
    code, out, _ = command("predict", tiny_tuned, tiny_episode, "--steps", "4")
    assert code == 0 and out.startswith("step 4\n") and "recorded +0.0400" in out


@pytest.mark.slow
def test_capture_prints_an_address_that_opens(command, tmp_path, tiny_base, tiny_episode):
    workspace = tmp_path / "ws"
    code, out, err = command("capture", tiny_base, tiny_episode, "--workspace", workspace, "--steps", "0:2")
    assert code == 0 and "2/2" in err  # the progress bar
    run = Workspace.open(workspace).records.at(out.strip())
    assert run.steps_done() == {0, 1} and not run.complete
    policy = models.load(tiny_base)
    assert run.key.checkpoint == policy.info.digest
    assert len(run.read(0).attention[0].layers) == policy.info.layers
    found = as_json(command("capture", tiny_base, tiny_episode, "--workspace", workspace, "--json"))
    assert (found["record"], found["captured"], found["complete"]) == (run.address, 4, True)
    assert as_json(command("info", workspace, "--json"))["records"][0]["steps"] == 6


@pytest.fixture
def two_cameras(tmp_path: Path) -> Path:
    frames = [frame(step) for step in range(6)]
    return write_tiny_episode(tmp_path / "two.hdf5", images={"shoulder": frames, "wrist": [f // 2 for f in frames]})


@pytest.mark.slow
def test_a_policy_with_one_camera_sees_the_one_that_is_named(command, tmp_path, tiny_base, two_cameras):
    default, same, wrist = (
        as_json(
            command("capture", tiny_base, two_cameras, "--workspace", tmp_path, "--steps", "0", *options, "--json")
        )["record"]
        for options in ([], ["--camera", "shoulder"], ["--camera", "wrist"])
    )
    assert default == same != wrist
    run = Workspace.open(tmp_path).records.at(wrist)
    assert run.key.settings["cameras"] == ["wrist"]
    assert run.read(0).layout.spans[0].name == "wrist"
    code, _, err = command("predict", tiny_base, two_cameras, "--camera", "nose")
    assert code == 2 and "no camera 'nose'; its cameras are shoulder, wrist" in err


@pytest.mark.slow
def test_another_number_type_is_another_record(command, tmp_path, tiny_base, tiny_episode):
    options = ["--workspace", tmp_path, "--steps", "0", "--json"]
    single = as_json(command("capture", tiny_base, tiny_episode, *options, "--dtype", "float32"))["record"]
    half = as_json(command("capture", tiny_base, tiny_episode, *options, "--dtype", "bfloat16"))["record"]
    assert single != half
    assert Workspace.open(tmp_path).records.at(half).key.settings["dtype"] == "bfloat16"
    code, _, err = command("predict", tiny_base, tiny_episode, "--device", "tpu")
    assert code == 2 and "device is 'tpu'; it can be cpu, cuda" in err


@pytest.mark.slow
def test_capture_keeps_what_was_asked(command, tmp_path, tiny_base, tiny_episode):
    options = ["--workspace", tmp_path, "--steps", "0", "--layers", "2", "--vision"]
    found = as_json(command("capture", tiny_base, tiny_episode, *options, "--json"))
    attention = Workspace.open(tmp_path).records.at(found["record"]).read(0).attention
    assert attention[0].layers == (2,) and {record.stream for record in attention} == {"language", "vision"}


@pytest.mark.parametrize(
    ("text", "steps"),
    [(None, range(6)), ("4", [4]), ("1:3", [1, 2]), (":2", [0, 1]), ("4:", [4, 5]), ("0:6:3", [0, 3]), ("4:9", [4, 5])],
)
def test_steps(text, steps):
    assert list(parse_steps(text, 6)) == list(steps)


@pytest.mark.parametrize("text", ["6", "-1", "3:3", "a:b", "", "1:2:3:4", "1:3:0", "9:12"])
def test_steps_that_are_none(text):
    with pytest.raises(UserError, match="it has steps 0 to 5"):
        parse_steps(text, 6)


@pytest.fixture
def wrong(tmp_path: Path, tiny_base: Path, tiny_episode: Path) -> dict[str, tuple[list[object], str]]:
    """Commands that cannot work, and a part of the sentence that says why."""
    for name in ("one", "two"):
        write_tiny_episode(tmp_path / "many" / f"{name}.hdf5", id=name)
    cut = tmp_path / "cut.hdf5"
    cut.write_bytes(tiny_episode.read_bytes()[:-9])
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "pytorch_model.bin").touch()
    return {
        "nothing there": (["info", tmp_path / "absent"], "there is nothing at"),
        "truncated": (["info", cut], "is cut short"),
        "truncated for predict": (["predict", tiny_base, cut], "is cut short"),
        "no checkpoint": (["predict", tiny_episode.parent, tiny_episode], "is not a checkpoint"),
        "pickle": (["info", pickled], "pickled is not a checkpoint"),
        "which episode": (["predict", tiny_base, tmp_path / "many"], "holds 2 episodes; say which one with --id"),
        "unknown episode": (["predict", tiny_base, tmp_path / "many", "--id", "x"], "no readable episode 'x'"),
        "steps": (["predict", tiny_base, tiny_episode, "--steps", "99"], "names no steps"),
        "layers": (["capture", tiny_base, tiny_episode, "--layers", "all"], "is no list of layers"),
        "workspace": (["capture", tiny_base, tiny_episode, "--workspace", cut], "is a file; a workspace is"),
    }


CASES = ["nothing there", "truncated", "truncated for predict", "no checkpoint", "pickle", "which episode"]
CASES += ["unknown episode", "steps", "layers", "workspace"]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_bad_input_gets_one_sentence_and_exit_code_2(command, wrong, case):
    assert wrong.keys() == set(CASES)
    arguments, sentence = wrong[case]
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.slow
def test_as_a_module_without_importing_torch(tiny_episode, tiny_base, tmp_path):
    (tmp_path / "torch.py").write_text("raise RuntimeError('torch was imported')")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}."}
    for path in (tiny_episode, tiny_base):
        command = [sys.executable, "-m", "analysis", "info", str(path), "--json"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["kind"] in ("episodes", "checkpoint")
