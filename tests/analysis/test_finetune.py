"""The command: episodes and rationales in, a checkpoint out; what is wrong is said before any work starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

import models
from analysis.__main__ import app
from analysis.episodes import open_source
from analysis.episodes.hdf5_writer import write_episode
from analysis.finetuning.episode_demonstrations import EpisodeDemonstrations, gather, rationale_at
from models.errors import UserError
from models.refine import tune
from models.refine.settings import Order
from models.types import Rationale
from tests.browser.world import free_port
from tests.tiny_episode import STEPS, contents, write_tiny_episode
from tests.tiny_openvla import write_openvla
from tests.tiny_smolvla import write_smolvla
from tests.tiny_spatialvla import write_tiny_spatialvla
from tests.tiny_vlm import WRITERS

pytestmark = pytest.mark.slow  # together more than make check has time for

ROOT = Path(__file__).parents[2]
SMALL = ("--steps", "4", "--batch", "2", "--save-every", "2", "--log-every", "1", "--frozen-layers", "1", "--json",
         "--save-dtype", "float32", "--learning-rate", "0.01", "--warm-up", "1")  # fmt: skip


def run(*arguments: str | Path) -> tuple[dict, str]:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    if done.exception is not None and not isinstance(done.exception, (SystemExit, UserError)):
        raise done.exception
    return json.loads(done.stdout) if done.exit_code == 0 else {}, str(done.exception or "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes, two of them with rationales."""
    place = tmp_path_factory.mktemp("lessons")
    for name in ("a", "b"):
        write_episode(place / f"{name}.hdf5", **{**contents(), "id": name})
    write_episode(place / "c.hdf5", **{**contents(), "id": "c", "rationales": ()})
    return place


def test_a_policy_is_tuned_and_says_where_it_came_from(tiny_base: Path, folder: Path, tmp_path: Path) -> None:
    told, said = run("finetune", tiny_base, folder, "--out", tmp_path / "out", *SMALL)
    assert said == ""
    assert told["steps"] == 4
    assert models.inspect(tmp_path / "out").generates_rationale
    origin = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert origin["base"]["digest"] == models.inspect(tiny_base).digest
    assert origin["episodes"] == {id: open_source(folder).open(id).meta.digest for id in ("a", "b")}
    assert (origin["steps_learned"], origin["steps_without_rationale"]) == (2 * STEPS, STEPS)


def test_rationales_of_a_file_take_the_place_of_the_episodes_own(folder: Path, tiny_base: Path, tmp_path: Path) -> None:
    line = {"episode": "c", "parts": {"observation": "i see a carrot"}, "start": 0, "stop": 2}
    (tmp_path / "r.jsonl").write_text(json.dumps(line) + "\n")
    out = tmp_path / "out"
    _, said = run("finetune", tiny_base, folder, "--out", out, "--rationales", tmp_path / "r.jsonl", *SMALL)
    assert said == ""
    origin = json.loads((out / "provenance.json").read_text())
    assert (list(origin["episodes"]), origin["steps_learned"]) == (["c"], 2)
    assert list(origin["rationales"]) == ["r.jsonl"]


def test_the_datas_own_statistics_go_along(folder: Path, tiny_base: Path, tmp_path: Path) -> None:
    _, said = run("finetune", tiny_base, folder, "--out", tmp_path / "out", "--new-stats", "mine", *SMALL)
    assert said == ""
    policy = models.load(tmp_path / "out", action_stats="mine")
    assert policy.info.action_space.high[6] == pytest.approx(1.0)
    assert policy.info.action_space.high[0] == pytest.approx(np.quantile(2 * [0.01 * s for s in range(STEPS)], 0.99))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--lambda", "-1"), r"lambda\) is -1"),
        (("--frozen-layers", "4"), "4 decoder layers are to be frozen; .* has 3"),
        (("--order", "sideways"), "order is 'sideways'; use one of"),
        (("--mode", "half"), "mode is 'half'"),
        (("--hold-out", "1"), "to hold out is 1.0"),
        (("--id", "zzz"), "no episode 'zzz'"),
        (("--camera", "wrist"), "no camera 'wrist'; it has shoulder"),
        (("--action-stats", "nope"), "no action statistics 'nope'"),
        (("--rationales", "/nowhere.jsonl"), "cannot be read"),
        (("--save-dtype", "int4"), "use float32"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(
    given: tuple[str, ...], said: str, tiny_base: Path, folder: Path, tmp_path: Path
) -> None:
    import re

    _, sentence = run("finetune", tiny_base, folder, "--out", tmp_path / "out", *SMALL, *given)
    assert re.search(said, sentence), sentence
    assert not (tmp_path / "out").exists()


def test_episodes_without_rationales_are_refused_but_for_actions_alone(tiny_base: Path, tmp_path: Path) -> None:
    write_tiny_episode(tmp_path / "e" / "silent.hdf5", rationales=())
    _, said = run("finetune", tiny_base, tmp_path / "e", "--out", tmp_path / "out", *SMALL)
    assert said == (
        "none of the 1 episodes has a rationale; write some with annotate, or tune with the order 'action only'"
    )
    told, said = run("finetune", tiny_base, tmp_path / "e", "--out", tmp_path / "out", *SMALL, "--order", "act-only")
    assert (said, told["reasoning_loss"]) == ("", 0)


def test_checkpoints_that_cannot_be_taught(folder: Path, tmp_path: Path) -> None:
    _, said = run("finetune", write_smolvla(tmp_path / "smolvla"), folder, "--out", tmp_path / "out", *SMALL)
    assert "cannot generate text: SmolVLA policies denoise continuous actions" in said
    openvla = write_openvla(tmp_path / "openvla")
    _, said = run("finetune", openvla, folder, "--out", tmp_path / "out", *SMALL, "--order", "act-first")
    assert "ECoT, the format in which an OpenVLA says why, reasons first; use the order 'rationale first'" in said
    _, said = run("finetune", openvla, folder, "--out", tmp_path / "out", *SMALL, "--new-stats", "bridge_orig")
    assert "has action statistics 'bridge_orig' already" in said
    vlm = next(iter(WRITERS.values()))(tmp_path / "vlm")
    _, said = run("finetune", vlm, folder, "--out", tmp_path / "out", *SMALL)
    assert "predicts no actions, it is a vision-language model; what can be tuned" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.timeout(600)
def test_an_openvla_becomes_an_ecot_and_a_spatialvla_a_refinevla(folder: Path, tmp_path: Path) -> None:
    """From the command line, on the data's own statistics, and evaluated as what they are."""
    bases = {
        "ecot": write_openvla(tmp_path / "openvla", width=32, layers=2),
        "refinevla": write_tiny_spatialvla(tmp_path / "spatialvla", depth=False, max_position_embeddings=128),
    }
    line = {"episode": "a", "parts": {"planning": 3 * "move up then "}, "start": 0, "stop": STEPS}  # words of both
    (tmp_path / "r.jsonl").write_text(json.dumps(line) + "\n")
    for family, base in bases.items():
        out = tmp_path / family
        own = ("--rationales", tmp_path / "r.jsonl", "--new-stats", "mine", "--name", "my own")
        told, said = run("finetune", base, folder, "--out", out, *SMALL, *own)
        assert (said, told["steps"]) == ("", 4)
        spec = models.inspect(out)
        assert (spec.family, spec.name, spec.generates_rationale) == (family, "my own", True)
        assert json.loads((out / "provenance.json").read_text())["base"]["family"] in ("openvla", "spatialvla")
        policy = models.load(out, action_stats="mine")
        forced = policy.predict(open_source(folder).open("a").step(0).observation, force="a red block")
        assert "red" in forced.text or "<unk>" in forced.text


def test_lessons_are_steps_with_their_rationale(folder: Path) -> None:
    source = open_source(folder)
    lessons = gather([source], Order.REASON_FIRST, 1, 0.0, ())
    assert [(each.episode, each.step) for each in lessons.lessons] == [(id, s) for id in "ab" for s in range(STEPS)]
    assert lessons.lessons[0].rationale.parts["planning"] == "go right"
    shown = EpisodeDemonstrations([source], lessons.lessons, 1, None, 0)
    drawn = [shown.draw(number).observation.state[1] for number in range(2 * STEPS)]
    assert sorted(np.round(drawn, 2)) == sorted(2 * [0.01 * s for s in range(STEPS)])  # every lesson once
    assert [shown.draw(n).observation.state[1] for n in range(24)][::-1] == [
        shown.draw(n).observation.state[1] for n in range(23, -1, -1)
    ]
    chunked = gather([source], Order.ACT_ONLY, 4, 0.0, ("a",))
    assert (len(chunked.lessons), chunked.short) == (STEPS - 3, 3)
    held = gather([source], Order.ACT_ONLY, 1, 0.4, ())
    assert len(held.held_out) == 1
    assert held.held_out[0].id not in {each.episode for each in held.lessons}


def test_the_rationale_of_the_shortest_stretch_counts(folder: Path) -> None:
    said = (Rationale({"a": "whole"}, 0, 9), Rationale({"a": "step"}, 2, 3), Rationale({"a": "step again"}, 2, 3))
    episode = replace(open_source(folder).open("a"), rationales=said)
    assert rationale_at(episode, 2).parts == {"a": "step again"}
    assert rationale_at(episode, 3).parts == {"a": "whole"}
    assert rationale_at(episode, 9) is None


def _environment() -> dict[str, str]:
    own = {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "DS_ACCELERATOR": "cpu"}
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        **own,
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_run_ends_in_the_same_bytes(tiny_base: Path, folder: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    asked = ("finetune", str(tiny_base), str(folder), *SMALL, "--steps", "60")
    assert run(*asked, "--out", whole)[1] == ""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [sys.executable, "-m", "analysis", *asked, "--out", str(cut)]
    running = subprocess.Popen(command, env=_environment(), **quiet)
    while not (cut / "training" / "state" / "checkpoint-10").exists() and running.poll() is None:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert not (cut / "config.json").exists()
    told, said = run(*asked, "--out", cut)
    assert said == "" and told["resumed"] >= 8
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    curves = [[json.loads(line)["loss"] for line in (out / "training" / "curves.jsonl").open()] for out in (whole, cut)]
    assert curves[0] == curves[1]


ACCELERATE = ROOT / "models" / "refine" / "accelerate"


def _launch(config: Path, *command: str) -> list[str]:
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    return [*launch, "--main_process_port", str(free_port()), "-m", *command]


def _same(one: Path, two: Path) -> None:
    """Both runs give the same losses and the same weights, but for the order of sums."""
    curves = [[json.loads(line) for line in (out / "training" / "curves.jsonl").open()] for out in (one, two)]
    assert len(curves[0]) == len(curves[1]) > 3
    for alone, shared in zip(*curves, strict=True):
        for key in ("loss", "action_loss", "reasoning_loss"):
            assert shared[key] == pytest.approx(alone[key], rel=1e-4)
    assert json.loads((two / "provenance.json").read_text())["processes"] == 2
    weights = [load_file(out / "model.safetensors") for out in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    # a bias of keys changes no softmax: its gradient is rounding alone, which Adam makes large
    names = [name for name in weights[0] if not name.endswith("k_proj.bias")]
    assert max(float(np.abs(weights[0][name] - weights[1][name]).max()) for name in names) < 1e-5


def test_only_the_first_of_several_processes_looks_whether_the_folder_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others may find what it has just made there."""
    (tmp_path / "training").mkdir()
    monkeypatch.setenv("RANK", "1")
    tune._claim(tmp_path, {"settings": 1})
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError, match="holds no run to resume"):
        tune._claim(tmp_path, {"settings": 1})


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_give_what_one_gives(tiny_base: Path, folder: Path, tmp_path: Path) -> None:
    """Rationales of different lengths fall to different processes: a mean of means would not do."""
    tail = [str(tiny_base), str(folder), *SMALL, "--batch", "4"]
    two = _launch(ACCELERATE / "two-cpus.yaml", "analysis", "finetune", *tail, "--out", str(tmp_path / "two"))
    subprocess.run(two, env=_environment(), check=True, capture_output=True)
    assert run("finetune", *tail, "--out", tmp_path / "one")[1] == ""
    _same(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("shipped", "program", "needs"),
    [("fsdp.yaml", "tests.fsdp_on_cpu", "torch"), ("deepspeed.yaml", "analysis", "deepspeed")],
)
def test_sharded_weights_come_out_whole_also_after_a_kill(
    folder: Path, tmp_path: Path, shipped: str, program: str, needs: str
) -> None:
    """The shipped configurations, on two processes of the CPU, with low-rank changes that have to be merged."""
    if find_spec(needs) is None:
        pytest.skip(
            f"{needs} is not installed: pip install {needs} (it compiles its operators when they are first used)"
        )
    base = write_tiny_spatialvla(tmp_path / "base", depth=False, max_position_embeddings=128)
    config = tmp_path / shipped
    text = (ACCELERATE / shipped).read_text()
    changed = text.replace("num_processes: 8", "num_processes: 2").replace("precision: bf16", 'precision: "no"')
    config.write_text(changed + "use_cpu: true\n")
    tail = [str(base), str(folder), *SMALL, "--batch", "4", "--steps", "12", "--save-every", "4", "--mode", "lora"]
    two = _launch(config, program, "finetune", *tail, "--out", str(tmp_path / "two"))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = subprocess.Popen(two, env=_environment(), **quiet)
    state = tmp_path / "two" / "training" / "state" / "checkpoint-8"
    while not state.exists() and running.poll() is None:
        time.sleep(0.02)
    every = [psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)]
    for process in every:
        process.kill()
    psutil.wait_procs(every)
    assert not (tmp_path / "two" / "config.json").exists()
    done = subprocess.run(two, env=_environment(), check=True, capture_output=True, text=True)
    assert json.loads(done.stdout[done.stdout.index("{") :])["resumed"] in (4, 8)
    assert run("finetune", *tail, "--out", tmp_path / "one")[1] == ""
    _same(tmp_path / "one", tmp_path / "two")


def test_only_what_reviewers_accepted_or_corrected_is_learned(folder: Path, tiny_base: Path, tmp_path: Path) -> None:
    from analysis.rationales import read_rationales
    from analysis.rationales.reviewed import write_reviewed
    from analysis.review import ProjectSettings, Source
    from analysis.review.final import Rule
    from analysis.workspace import Workspace
    from tests.analysis.review_world import BAD, GOOD, corrected, say

    (tmp_path / "workspace.toml").write_text(f'episodes = ["{folder}"]\ncheckpoints = []\n')
    workspace = Workspace.open(tmp_path)
    digest = open_source(folder).open("a").meta.digest
    said = [Rationale({"observation": f"a block {n}", "planning": "lift it"}, n, n + 1, "teacher") for n in range(3)]
    sources = [Source("lessons", "a", digest, "put it", each) for each in said]
    project = workspace.reviews.create_project(ProjectSettings("mine"), sources, "lead")
    judgements = {0: GOOD, 1: corrected("grasp it"), 2: BAD}
    for _ in judgements:
        (got,) = workspace.reviews.next_items(project.id, "ann", count=1)
        say(workspace.reviews, got.item.id, "ann", judgements[got.item.source.rationale.start])
    kept = sorted(read_rationales(write_reviewed(workspace, project.id, Rule())), key=lambda each: each.rationale.start)
    assert [(k.rationale.start, dict(k.rationale.parts)["planning"]) for k in kept] == [(0, "lift it"), (1, "grasp it")]
    assert [k.origin["reviewed"] for k in kept] == ["accept", "correct"]
    tail = ("--reviewed", "mine", "--workspace", tmp_path, "--out", tmp_path / "out")
    _, sentence = run("finetune", tiny_base, folder, *SMALL, *tail)
    assert sentence == ""
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["steps_learned"] == 2
    _, sentence = run("finetune", tiny_base, folder, *SMALL, *tail[:4], "--out", tmp_path / "o2", "--least", "2")
    assert "no rationale of the project" in sentence
