"""Attribution as records: round trip, resume, cancel, the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.attribution.attribution_file import read_attribution, write_attribution
from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.attribution_run import (
    attribute_episode,
    attribution_key,
    method_of,
    read_step,
    target_of,
    with_objects,
)
from analysis.attribution.feature_ablation import FeatureAblation
from analysis.attribution.iss import InterventionalSignificance
from analysis.attribution.registry import method_class
from analysis.attribution.settings import with_settings
from analysis.attribution.target import Target
from analysis.cameras import plan_cameras
from analysis.cancelled import Cancelled
from analysis.episodes import open_source
from analysis.records import RecordStore, RunKey
from analysis.types import Episode
from models.errors import UserError
from models.fakes import PlantedPolicy
from tests.contracts.policy_cases import observation

POLICY = PlantedPolicy()
VALUE = Target(action="brightness", scalar="action")


@pytest.fixture
def episode(tiny_episode: Path) -> Episode:
    source = open_source(tiny_episode)
    return source.open(next(iter(source.scan())).id)


def key(episode: Episode, target: Target = VALUE) -> RunKey:
    return attribution_key(POLICY.info.digest, episode.meta.digest, FeatureAblation(fill="black"), target)


def test_a_map_comes_back_as_it_was_written(tmp_path: Path) -> None:
    made = InterventionalSignificance(masks=16, hidden=0.5)(POLICY, observation(), Target(scalar="action"))
    made = replace(made, convergence_delta=float("nan"))
    write_attribution(tmp_path / "one.h5", made)
    found = read_attribution(tmp_path / "one.h5")
    np.testing.assert_array_equal(found.scores, made.scores)
    np.testing.assert_array_equal(found.standard_error, made.standard_error)
    assert found.convergence_delta is not None and np.isnan(found.convergence_delta)
    assert (found.layout, found.target, found.method, found.signed) == (
        made.layout,
        made.target,
        made.method,
        made.signed,
    )
    assert dict(found.settings) == dict(made.settings) and dict(found.notes) == dict(made.notes)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.h5").write_bytes(b"no")
    with pytest.raises(UserError, match="damaged"):
        read_attribution(tmp_path / "one.h5")
    with h5py.File(tmp_path / "two.h5", "w") as file:
        text = json.dumps({"kind": "other", "version": 1}).encode()
        file.create_dataset("structure", data=np.frombuffer(text, np.uint8))
    with pytest.raises(UserError, match="holds no attribution"):
        read_attribution(tmp_path / "two.h5")


def test_a_key_says_what_was_asked(episode: Episode) -> None:
    asked = key(episode)
    assert method_of(asked) == FeatureAblation(fill="black") and target_of(asked) == VALUE
    assert asked.address != key(episode, Target(action="brightness")).address
    assert asked.address == RunKey(**json.loads(asked.canonical())).address
    with pytest.raises(ValueError, match="is no attribution"):
        method_of(RunKey("a", "b"))


@pytest.mark.slow
def test_an_episode_is_explained_once_and_resumes(episode: Episode, tmp_path: Path) -> None:
    run = RecordStore(tmp_path).run(key(episode))
    told: list[tuple[int, int]] = []
    did = attribute_episode(POLICY, episode, run, steps=[1, 2], progress=lambda d, t: told.append((d, t)))
    assert did == (1, 2) and not run.complete and told[-1] == (200, 200)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    direct = FeatureAblation(fill="black")(POLICY, _seen(episode, 2), VALUE)
    np.testing.assert_array_equal(read_step(run, 2).scores, direct.scores)
    assert attribute_episode(POLICY, episode, run) == (0, 3, 4, 5) and run.complete
    assert attribute_episode(POLICY, episode, run) == ()
    assert run.damaged_steps() == ()


def test_cancelling_keeps_whole_steps(episode: Episode, tmp_path: Path) -> None:
    run = RecordStore(tmp_path).run(key(episode))
    with pytest.raises(Cancelled):
        attribute_episode(POLICY, episode, run, cancelled=lambda: len(run.steps_done()) >= 2)
    assert run.steps_done() == {0, 1}


def test_objects_of_the_step_are_given_to_methods_that_ask(episode: Episode) -> None:
    step = episode.step(0)
    cameras = plan_cameras((), episode.meta.cameras)
    ready = with_objects(FeatureAblation(over="objects"), step, cameras)
    assert isinstance(ready, FeatureAblation)
    things = [t for t in step.objects.get(episode.meta.cameras[0], ()) if t.box is not None or t.mask is not None]
    assert [each.name for each in ready.seen] == [each.name for each in things]
    plain = method_class("occlusion")()
    assert with_objects(plain, step, cameras) is plain


def _seen(episode: Episode, step: int):
    return plan_cameras((), episode.meta.cameras).seen(episode.step(step).observation)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"masks": "few"}, "iss: masks is 'few'; expected a whole number of at least 4"),
        ({"masks": 3}, "of at least 4"),
        ({"fill": "pink"}, "expected mean or blur or grey or black"),
        ({"mask": 4}, "iss has no setting 'mask'; it has masks, hidden"),
        ({"hidden": "nan"}, "expected a number"),
    ],
)
def test_settings_are_checked(given: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_settings(method_class("iss"), given)


def test_settings_are_read_from_text() -> None:
    found = with_settings(method_class("attention-mean"), {"layers": "0,2", "denoising": ""})
    assert found.layers == (0, 2) and found.denoising is None  # type: ignore[attr-defined]
    assert with_settings(method_class("iss"), {"hidden": "0.5"}).hidden == 0.5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("x", Target(action="x", scalar="action")),
        ("x@2", Target(action="x", step=2, scalar="action")),
        ("token:4", Target(tokens=(4,))),
        ("token:4-6", Target(tokens=(4, 5, 6))),
        ("action", Target(scalar="action")),
        ("action@3", Target(step=3, scalar="action")),
    ],
)
def test_a_target_is_read_and_told_alike(text: str, target: Target) -> None:
    assert Target.parse(text) == target
    assert target.text == text
    assert Target.read(json.loads(json.dumps(target.stored()))) == target


@pytest.mark.slow
def test_command_explains_and_finds_it_again(tiny_tuned: Path, tiny_episode: Path, tmp_path: Path) -> None:
    told = ["attribute", str(tiny_tuned), str(tiny_episode), "--workspace", str(tmp_path / "w"), "--steps", "0:2"]
    told += ["--method", "occlusion", "--set", "size=4", "--set", "stride=4", "--target", "x", "--json"]
    told += ["--out", str(tmp_path / "maps.npz")]
    first = CliRunner().invoke(app, told)
    assert first.exit_code == 0, first.output
    one = json.loads(first.stdout)
    assert one["computed"] == 2 and [each["step"] for each in one["maps"]] == [0, 1]
    assert one["maps"][0]["settings"]["size"] == 4 and one["maps"][0]["signed"] is True
    stored = np.load(tmp_path / "maps.npz", allow_pickle=False)
    np.testing.assert_array_equal(stored["step_000000_scores"], one["maps"][0]["scores"])
    assert one["record"] in str(stored["caption"]) and "target: x" in str(stored["caption"])
    assert len(stored["score"]) == 2 * len(one["maps"][0]["scores"]) and np.isfinite(stored["left"]).any()
    picture = [*told[:5], "--steps", "1", *told[7:-1], str(tmp_path / "map.svg")]
    assert CliRunner().invoke(app, picture).exit_code == 0
    drawn = ElementTree.parse(tmp_path / "map.svg").getroot()
    said = "".join(drawn.itertext())
    assert "occlusion · target: x" in said and one["record"] in said and "faithfulness not tested" in said
    two = json.loads(CliRunner().invoke(app, told).stdout)
    assert two["computed"] == 0 and two["maps"] == one["maps"] and two["record"] == one["record"]


@pytest.mark.slow
def test_command_says_what_is_wrong(tiny_base: Path, tiny_episode: Path, tmp_path: Path) -> None:
    told = ["attribute", str(tiny_base), str(tiny_episode), "--workspace", str(tmp_path), "--steps", "0"]
    for more, message in (
        (["--method", "magic"], "there is no attribution method 'magic'"),
        (["--target", "warp"], "there is no action dimension 'warp'"),
        (["--scalar", "loss"], "it can be log-probability or action"),
        (["--set", "masks"], "write name=value"),
        (["--out", "map.jpg"], "expected a name that ends in .png, .svg, .csv, .npz, .mp4, .gif"),
        (["--steps", "0:2", "--out", "map.png"], "a picture of one step and 2 were named"),
    ):
        result = CliRunner().invoke(app, [*told, *more])
        assert isinstance(result.exception, UserError) and message in str(result.exception)


def test_every_score_has_its_position() -> None:
    made = FeatureAblation()(POLICY, observation(), VALUE)
    with pytest.raises(ValueError, match="scores for a sequence"):
        AttributionMap(made.layout, made.scores[:-1], "ablation", {}, VALUE, True)
