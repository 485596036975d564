"""Open and closed loop: figures with n and intervals, paired tests, and rollouts that open as episodes."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tqdm import tqdm
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.episodes import open_source
from analysis.evaluation.closed_loop import roll_out
from analysis.evaluation.kept_lines import measured
from analysis.evaluation.open_loop import tokens_right
from analysis.evaluation.rationale_truth import Scene, direction_right, judge, mentioned
from analysis.evaluation.run import measure_closed
from analysis.evaluation.summary import closed_loop, compare_errors, compare_rollouts, open_loop
from analysis.evaluation.world import Standing
from analysis.metrics.paired import mcnemar_exact
from models.errors import UserError
from models.fakes import PlantedPolicy
from models.types import Observation, Rationale

SCENE = Scene(
    "put the green block on the yellow block",
    ("green block", "yellow block", "carrot"),
    {"green block": np.array([0.30, 0.05, 0.02]), "yellow block": np.array([0.25, -0.10, 0.02])},
    np.array([0.26, 0.051, 0.1]),
)
THINGS = {"carrot", "green block", "yellow block", "plate", "banana"}


def said(**parts: str) -> Rationale:
    whole = {
        "observation": "a carrot",
        "situation": "the green block goes on the yellow block",
        "spatial": "the green block is 4 cm forward of the gripper",
        "planning": "reach the green block",
    }
    return Rationale({**whole, **parts})


def test_a_true_rationale_is_right_in_all() -> None:
    judged = judge(said(), SCENE, THINGS)
    assert (judged.said, judged.object, judged.receptacle, judged.direction, judged.nothing_invented) == (True,) * 5


@pytest.mark.parametrize(
    ("parts", "wrong"),
    [
        ({"planning": " "}, "said"),
        ({"situation": "the carrot goes on the yellow block"}, "object"),
        ({"situation": "the green block goes on the carrot"}, "receptacle"),
        ({"spatial": "the green block is 4 cm back of the gripper"}, "direction"),
        ({"spatial": "the green block is aligned with the gripper"}, "direction"),  # 4 cm off and not said
        ({"spatial": "the green block is 4 cm forward and 3 cm left of the gripper"}, "direction"),  # invented
        ({"observation": "a carrot and a banana"}, "nothing_invented"),
        ({"observation": "a carrot on the plate"}, "nothing_invented"),
    ],
)
def test_one_thing_wrong_is_one_thing_wrong(parts: dict[str, str], wrong: str) -> None:
    judged = judge(said(**parts), SCENE, THINGS)
    assert getattr(judged, wrong) is False
    others = {"said", "object", "receptacle", "direction", "nothing_invented"} - {wrong}
    assert all(getattr(judged, other) is True for other in others)


def test_directions_may_be_seen_from_another_thing_and_in_other_words() -> None:
    assert direction_right("the yellow block is behind and to the right of the green block", SCENE) is True
    assert direction_right("the yellow block is in front of the green block", SCENE) is False
    assert direction_right("right now the green block is ahead of the gripper", SCENE) is True
    assert direction_right("the green block is 4 cm forward and 1 cm right of the gripper", SCENE) is True  # 1 mm off
    assert direction_right("the green block is 4 cm forward and 2 cm right of the gripper", SCENE) is False
    assert direction_right("the yellow block is 1 cm left of the green block", SCENE) is False
    assert direction_right("the carrot is left of the gripper", SCENE) is None  # where the carrot is nobody knows
    assert direction_right("the carrot is left of the green block", SCENE) is None
    assert direction_right("the green block is left of the carrot", SCENE) is None
    assert direction_right("the green block is ahead", replace(SCENE, gripper=None)) is None


@pytest.mark.parametrize("babble", ["it is the the of the .", ".", "the table is 12 cm below ."])
def test_a_spatial_part_that_places_nothing_is_wrong_where_something_could_be_placed(babble: str) -> None:
    assert judge(said(spatial=babble), SCENE, THINGS).direction is False
    nowhere = {"green block": np.full(3, np.nan)}
    for blind in (replace(SCENE, gripper=None), replace(SCENE, positions={}), replace(SCENE, positions=nowhere)):
        assert judge(said(spatial=babble), blind, THINGS).direction is None
    assert judge(said(spatial=babble), replace(SCENE, instruction="do it"), THINGS).direction is None


def test_nothing_said_is_wrong_where_something_could_be() -> None:
    judged = judge(None, SCENE, THINGS)
    assert (judged.said, judged.object, judged.receptacle, judged.direction) == (False,) * 4
    assert judged.nothing_invented is None
    blind = judge(said(), Scene("do it", (), {}, None), THINGS)
    assert (blind.object, blind.receptacle, blind.direction, blind.nothing_invented) == (None,) * 4


def test_names_are_found_in_order_the_longest_first() -> None:
    assert mentioned("Yellow blocks, a carrot and the green block", SCENE.things) == [
        "yellow block",
        "carrot",
        "green block",
    ]


def test_mcnemar_by_hand() -> None:
    assert mcnemar_exact(0, 0) == 1
    assert mcnemar_exact(5, 0) == pytest.approx(2 / 32)
    assert mcnemar_exact(1, 4) == pytest.approx(2 * (1 + 5) / 32)
    assert mcnemar_exact(3, 3) == 1
    with pytest.raises(ValueError, match="-1"):
        mcnemar_exact(-1, 0)


def _step(error: float, right: int, direction: bool | None) -> dict:
    judged = {"said": True, "object": None, "receptacle": None, "direction": direction, "nothing_invented": None}
    return {"step": 0, "error": [error, 0.0], "tokens_right": right, "tokens": 2, "judged": judged, "attention": 1.5}


def test_open_loop_figures_by_hand() -> None:
    results = {f"e{k}": [_step(0.1 * k, 1, True), _step(0.1 * k, 2, None)] for k in range(6)}
    figures = {figure.name: figure for figure in open_loop(results, ("x", "y"), ("m", "m"))}
    assert figures["action error, x"].value == pytest.approx(0.25)
    assert (figures["action error, x"].n, figures["action error, x"].unit) == (6, "m")
    assert figures["action error, x"].low < 0.25 < figures["action error, x"].high
    assert (figures["action tokens right"].successes, figures["action tokens right"].n) == (18, 24)
    assert figures["rationale: right direction"].text == "6/6 (0.61-1.00)"
    assert "rationale: right object" not in figures
    (test, _) = compare_errors(results, {k: [_step(0.5, 1, True)] for k in results}, ("x", "y"))
    assert (test.n, test.p) == (6, pytest.approx(2 / 64 * 2))  # one of six differences is zero: its sign is free
    assert test.corrected >= test.p


def test_closed_loop_figures_and_pairs() -> None:
    def outcomes(*wins: bool) -> dict:
        return {
            str(k): {"task": f"t{k % 2}", "success": win, "grasped": True, "wrong": False} for k, win in enumerate(wins)
        }

    one, other = outcomes(True, True, True, False), outcomes(False, False, True, False)
    figures = {figure.name: figure.text for figure in closed_loop(list(one.values()))}
    assert figures["success"].startswith("3/4")
    assert figures["success: t1"].startswith("1/2")
    success = compare_rollouts(one, other)[0]
    assert (success.p, success.n, success.how) == (0.5, 4, "McNemar, exact; only the first 2, only the second 0")


def test_measured_results_are_not_measured_again(tmp_path: Path) -> None:
    asked: list[str] = []

    def measure(key: str) -> str:
        asked.append(key)
        return key.upper()

    measured(tmp_path / "r.jsonl", ["a", "b"], measure)
    with (tmp_path / "r.jsonl").open("a") as file:
        file.write('{"key": "c", "resu')
    assert measured(tmp_path / "r.jsonl", ["b", "c"], measure) == {"b": "B", "c": "C"}
    assert asked == ["a", "b", "c"]
    (tmp_path / "r.jsonl").write_text("nonsense\n")
    with pytest.raises(UserError, match="holds no results"):
        measured(tmp_path / "r.jsonl", ["b"], measure)


class Lamp:
    """A world that succeeds after three bright actions: the fake policy says how bright the brightest patch is."""

    robot, fps, longest = "lamp", 2.0, 5
    action_names, action_units = ("brightness",), ("1",)
    state_names, state_units = (), ()

    def begin(self, seed: int) -> str:
        self.bright, self.seed = 0, seed
        return "even" if seed % 2 == 0 else "odd"

    def observation(self) -> Observation:
        frame = np.zeros((16, 16, 3), np.uint8)
        frame[:8, :8] = 255 if self.seed % 2 == 0 else 10
        return Observation({"front": frame}, "look at the lamp")

    def step(self, action: np.ndarray) -> Standing:
        self.bright += int(action[0] == 1.0)
        return Standing(self.bright >= 3, self.bright >= 1, self.seed % 2 == 1)


def test_rollouts_are_kept_as_episodes_failures_included(tmp_path: Path) -> None:
    rollouts = [roll_out(PlantedPolicy(), Lamp(), seed, tmp_path) for seed in (4, 5)]
    assert [(each.success, each.grasped, each.wrong, each.steps) for each in rollouts] == [
        (True, True, False, 3), (False, False, True, 5),
    ]  # fmt: skip
    source = open_source(tmp_path)
    metas = {meta.extra["seed"]: meta for meta in source.scan()}
    assert [metas[seed].success for seed in ("4", "5")] == [True, False]
    failed = source.open(metas["5"].id)
    assert failed.meta.length == 5
    assert failed.rationales[2].parts["observation"].startswith("patch")
    assert failed.meta.extra["policy"] == "planted"


def test_tokens_count_as_right_by_the_nearest_bin() -> None:
    frame = np.full((16, 16, 3), 255, np.uint8)
    answer = PlantedPolicy().predict(Observation({"front": frame}, "x"))
    assert tokens_right(answer, np.array([[0.8]])) == (1, 1)
    assert tokens_right(answer, np.array([[0.7]])) == (0, 1)


def run(*arguments: str | Path) -> tuple[str, str]:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    if done.exception is not None and not isinstance(done.exception, (SystemExit, UserError)):
        raise done.exception
    return done.stdout, str(done.exception or "")


@pytest.mark.slow
def test_the_command_compares_two_policies(
    tiny_tuned: Path, tiny_base: Path, tiny_episode: Path, tmp_path: Path
) -> None:
    common = (
        "evaluate",
        tiny_tuned,
        "--against",
        tiny_base,
        "--episodes",
        tiny_episode,
        "--every",
        3,
        "--out",
        tmp_path,
    )
    told = json.loads(run(*common, "--json")[0])
    figures = {name: {figure["name"]: figure for figure in found} for name, found in told["figures"].items()}
    assert set(figures) == {"tuned", "base"}
    assert figures["tuned"]["rationale: all parts said"]["n"] == 2
    assert "rationale: all parts said" not in figures["base"]
    assert figures["base"]["action tokens right"]["n"] == 14
    assert [test["n"] for test in told["tests"]] == [1] * 7
    assert json.loads((tmp_path / "report.json").read_text()) == told
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jsonl")}
    assert run(*common)[0].startswith("| | tuned | base |")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jsonl")} == stamps


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--against", "/nowhere/tuned"), "/nowhere/tuned"),
        (("--world", "moon"), "no world 'moon'"),
        (("--world", "tests.analysis.test_evaluate:Lamp", "--seeds", "0:1"), "the world takes brightness"),
    ],
)
def test_nothing_is_measured_before_all_can_be(
    given: tuple[str, ...], said: str, tiny_base: Path, tiny_episode: Path, tmp_path: Path
) -> None:
    tail = ("--episodes", tiny_episode, "--every", "5", "--out", tmp_path / "out", *given)
    assert said in run("evaluate", tiny_base, *tail)[1]
    assert not (tmp_path / "out").exists()


def test_rollouts_that_are_not_there_are_made(tmp_path: Path) -> None:
    bar, kept = tqdm(disable=True), tmp_path / "kept"
    common = (PlantedPolicy(), Lamp(), "lamp", range(4, 6), tmp_path)
    first = measure_closed(*common, None, bar)
    assert measure_closed(*common, kept, bar) == first
    assert sorted(path.name for path in kept.iterdir()) == ["seed-4.hdf5", "seed-5.hdf5"]
    (kept / "seed-4.hdf5").unlink()
    stamp = (kept / "seed-5.hdf5").stat().st_mtime_ns
    assert measure_closed(*common, kept, bar) == first
    assert (kept / "seed-4.hdf5").exists()
    assert (kept / "seed-5.hdf5").stat().st_mtime_ns == stamp


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "say what to measure"),
        (("--world", "moon"), "no world 'moon'; there are tabletop, counter"),
        (("--world", "nowhere:World"), "cannot be opened"),
        (("--world", "tabletop", "--seeds", "5:5"), "name none"),
        (("--world", "tabletop", "--seeds", "five"), "expected first:stop"),
        (("--episodes", "EPISODE", "--id", "zzz"), "no episode 'zzz'"),
        (("--episodes", "EPISODE", "--held-out"), "does not say what was held out"),
        (("--episodes", "EPISODE", "--every", "0"), "makes no sense"),
    ],
)
def test_what_cannot_be_measured(
    given: tuple[str, ...], said: str, tiny_base: Path, tiny_episode: Path, tmp_path: Path
) -> None:
    arguments = [str(tiny_episode) if each == "EPISODE" else each for each in given]
    assert re.search(said, run("evaluate", tiny_base, "--out", tmp_path, *arguments)[1])


@pytest.mark.slow
def test_only_what_training_held_out(tiny_base: Path, tiny_episode: Path, tmp_path: Path) -> None:
    digest = open_source(tiny_episode).open("tiny").meta.digest
    own = Path(shutil.copytree(tiny_base, tmp_path / "own"))
    (own / "provenance.json").write_text(json.dumps({"held_out": {"other": "0"}}))
    common = ("evaluate", own, "--episodes", tiny_episode, "--held-out", "--every", "5", "--out", tmp_path / "out")
    assert "no episode that training held out" in run(*common)[1]
    (own / "provenance.json").write_text(json.dumps({"held_out": {"tiny": digest}}))
    assert run(*common)[0].startswith("| | own |")


@pytest.mark.slow
def test_policies_act_in_the_sample_world(tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    checkpoints = Path(__file__).parents[2] / "sample_data" / "checkpoints"
    run("evaluate", checkpoints / "base", "--world", "tabletop", "--seeds", "500000:500001", "--out", tmp_path)
    told = json.loads((tmp_path / "report.json").read_text())
    assert {figure["name"]: figure["n"] for figure in told["figures"]["base"]}["success"] == 1
    (meta,) = open_source(tmp_path / "rollouts" / "base").scan()
    assert meta.extra["seed"] == "500000"
    assert meta.success is not None


@pytest.mark.slow
def test_a_batch_answers_as_one_after_the_other() -> None:
    pytest.importorskip("mujoco")
    import models
    from models.checkpoint_files import CheckpointFiles
    from models.refine.paligemma_learner import PaliGemmaLearner
    from models.refine.settings import Order
    from sample_data.recipe.together import Together

    place = Path(__file__).parents[2] / "sample_data"
    source = open_source(place / "episodes")
    moments = (("carrot-on-plate-0", 0), ("stack-blocks-1", 9), ("spoon-on-towel-2", 0))  # the longest come first
    shown = [source.open(id).step(step).observation for id, step in moments]
    learner = PaliGemmaLearner.open(CheckpointFiles.open(place / "checkpoints" / "tuned"), Order.REASON_FIRST)
    policy = models.load(place / "checkpoints" / "tuned")
    for said, alone in zip(Together(learner)(shown), map(policy.predict, shown), strict=True):
        assert np.allclose(said.action, alone.actions[0])
        assert dict(said.rationale.parts) == dict(alone.rationale.parts)
