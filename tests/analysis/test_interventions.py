"""Interventions: on a policy worked out by hand, and on the shipped one where the effect is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

import models
from analysis.__main__ import app
from analysis.attribution.features import SeenObject
from analysis.cameras import plan_cameras
from analysis.episodes import open_source
from analysis.interventions import image_edits, instruction_edits, knock_outs, rationale_edits
from analysis.interventions.chart import effect_chart
from analysis.interventions.effect import CONTINUOUS, LATER, SAME_NOISE, Effect
from analysis.interventions.intervene import changed, intervene, intervention_run, kept
from analysis.interventions.question import Intervention, Situation, ask, situation
from analysis.interventions.registry import KINDS, as_settings, as_text, from_settings, from_text
from analysis.pictures import chart_files
from analysis.pictures.provenance import Provenance
from analysis.pictures.shapes import Picture
from analysis.pictures.shapes_png import SCALE, pixels
from analysis.records import RecordStore
from models.errors import UserError
from models.fake_chunk import PlantedChunkPolicy
from models.fakes import PlantedPolicy
from models.policy import Policy
from models.types import Capture, Observation, Part, Rationale
from tests.contracts.policy_cases import observation_for
from tests.tiny_checkpoints import write_action_token_paligemma

SAMPLES = Path(__file__).resolve().parents[2] / "sample_data"


def frame(*quarters: int) -> np.ndarray:
    """Four grey quarters of 4 x 4 pixels, row by row."""
    values = np.array(quarters, np.uint8).reshape(2, 2)
    return np.repeat(np.kron(values, np.ones((4, 4), np.uint8))[:, :, None], 3, axis=2)


def planted(policy: Policy | None = None, objects: tuple[SeenObject, ...] = ()) -> tuple[Policy, Situation]:
    """Quarter 1 is white, quarter 2 half bright: the policy says 1.0 of patch 1."""
    policy = policy or PlantedPolicy()
    seen = Observation({"image": frame(0, 255, 128, 0)}, "put the carrot on the plate")
    return policy, Situation(seen, policy.layout(seen), policy.predict(seen), objects)


def test_hiding_the_patch_that_decides_moves_the_action_and_no_other_does() -> None:
    policy, here = planted()
    found = intervene(policy, here, [image_edits.HidePatches("image", (1,), "black")])
    assert (found.before.actions[0, 0], found.after.actions[0, 0]) == (1.0, 0.5)
    np.testing.assert_allclose(found.change, [[-0.5]])
    assert found.size == 0.5 and found.text_changed
    assert found.edits == ("1 patch of image replaced by black",)
    for patch in (0, 2, 3):
        other = intervene(policy, here, [image_edits.HidePatches("", (patch,), "black")])
        assert other.change[0, 0] == 0 and other.mean_bits == 0 and not other.text_changed


def test_frames_before_and_after_are_drawn_where_a_change_touched_them() -> None:
    policy, here = planted()
    blank = intervene(policy, here, [instruction_edits.BlankInstruction()])
    assert blank.frames == ()
    found = intervene(policy, here, [image_edits.HidePatches("image", (1,), "black")])
    (changed_frame,) = found.frames
    assert changed_frame.share == 0.25
    np.testing.assert_array_equal(changed_frame.after, frame(0, 0, 128, 0))
    chart = effect_chart({3: found}, Provenance("Effect", "a step"))
    np.testing.assert_array_equal(chart.arrays["image before, step 3"], here.observation.images["image"])
    root = ElementTree.fromstring(chart_files.svg(chart))
    drawn = [each for each in root.iter() if each.tag.endswith("image")]
    assert len(drawn) == 2 and all(each.get("href").startswith("data:image/png;base64,") for each in drawn)  # type: ignore[union-attr]
    assert chart.drawing is not None
    sheet = np.asarray(pixels(chart.drawing))
    before, after = (
        next(each for each in chart.drawing.shapes if isinstance(each, Picture) and each.x == x) for x in (0, 324)
    )
    for picture, bright in ((before, 255), (after, 0)):  # the middle of the quarter that was hidden
        x, y = SCALE * (picture.x + 0.75 * picture.width), SCALE * (picture.y + 0.25 * picture.height)
        assert (sheet[round(y), round(x)] == bright).all()


def test_divergence_by_hand() -> None:
    """p = (0, 0.5, 1) / 1.5 at brightness 1; q at 128 / 255 = 0.50196: (0.49804, 0.99804, 0.50196) / 1.99804."""
    policy, here = planted()
    found = intervene(policy, here, [image_edits.HidePatches("image", (1,), "black")])
    p = np.array([0, 0.5, 1]) / 1.5
    q = 1 - np.abs(np.array([0, 0.5, 1]) - 128 / 255)
    q = q / q.sum()
    m = (p + q) / 2
    by_hand = (sum(a * np.log2(a / b) for a, b in zip(p, m, strict=True) if a) + (q * np.log2(q / m)).sum()) / 2
    assert found.divergences[0].bits == pytest.approx(by_hand, abs=1e-12)
    assert found.mean_bits == pytest.approx(by_hand)


@pytest.mark.parametrize("fill", ["mean", "grey"])
def test_fills(fill: str) -> None:
    policy, here = planted()
    question = changed(policy, here, [image_edits.HideImage(fill=fill)])
    pixels = question.observation.images["image"]
    expected = round(float(frame(0, 255, 128, 0).mean())) if fill == "mean" else 127
    assert set(np.unique(pixels)) == {expected}
    assert here.observation.images["image"].max() == 255, "the frame itself is untouched"


def test_an_object_is_hidden_by_its_mask_and_a_box_by_its_pixels() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:4, 4:] = True
    policy, here = planted(
        objects=(SeenObject("image", "carrot", mask=mask), SeenObject("image", "mug", box=(0, 4, 4, 8)))
    )
    found = intervene(policy, here, [image_edits.HideObject("carrot", "black")])
    assert found.after.actions[0, 0] == 0.5
    boxed = intervene(policy, here, [image_edits.HideBox("", (4, 0, 8, 4), "black")])
    assert boxed.after.actions[0, 0] == 0.5
    both = [image_edits.HideObject("carrot", "black"), image_edits.HideObject("mug", "black")]
    assert intervene(policy, here, both).after.actions[0, 0] == 0.0
    with pytest.raises(UserError, match="no 'cup' in view at step 0; the episode knows carrot, mug here"):
        intervene(policy, here, [image_edits.HideObject("cup")])


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (instruction_edits.BlankInstruction(), ""),
        (instruction_edits.NegatedInstruction(), "do not put the carrot on the plate"),
        (instruction_edits.ParaphrasedInstruction(), "place the carrot on the plate"),
        (instruction_edits.OtherObject(), "put the mug on the plate"),
        (instruction_edits.OtherObject("plate", "towel"), "put the carrot on the towel"),
        (instruction_edits.OwnInstruction("lift it"), "lift it"),
    ],
)
def test_instruction_edits(edit: Intervention, said: str) -> None:
    names = ("robot", "carrot", "mug")
    things = tuple(SeenObject("image", name, box=(0, 0, 1, 1)) for name in names)
    policy, here = planted(objects=things)
    assert changed(policy, here, [edit]).observation.instruction == said


def test_a_shuffled_instruction_has_the_same_words_and_follows_its_seed() -> None:
    policy, here = planted()
    one, two, other = (
        changed(policy, here, [instruction_edits.ShuffledInstruction(seed)]).observation.instruction
        for seed in (1, 1, 2)
    )
    assert one == two != other
    assert sorted(one.split()) == sorted(here.observation.instruction.split())


def test_without_known_objects_a_common_one_is_asked_for() -> None:
    policy, here = planted()
    said = changed(policy, here, [instruction_edits.OtherObject()]).observation.instruction
    assert said.startswith("put the ") and "carrot" not in said


def test_a_rationale_is_forced_and_edits_add_up() -> None:
    policy, here = planted()
    found = intervene(policy, here, [rationale_edits.SwapWords("patch", "1"), rationale_edits.RandomWords(1, seed=3)])
    assert found.before.text == "<obs> patch 1" and found.after.text not in ("<obs> patch 1", "<obs> 1 patch")
    own = intervene(policy, here, [rationale_edits.OwnRationale({"observation": "nothing there"})])
    assert own.after.text == "<obs> nothing there" and own.change[0, 0] == 0


def test_rationale_parts_and_sentences() -> None:
    old = Rationale({"observation": "A cup. A plate.", "planning": "Reach. Grasp."})
    policy, here = planted()
    here = replace(here, answer=replace(here.answer, rationale=old))
    edits = (rationale_edits.DropPart("planning"), rationale_edits.ShuffleSentences(1), rationale_edits.ShuffleWords(1))
    force = [changed(policy, here, [edit]).force for edit in edits]
    assert dict(force[0].parts) == {"observation": "A cup. A plate."}
    assert sorted(force[1].text.split()) == sorted(old.text.split()) and force[1].text != old.text
    assert sorted(force[2].parts["planning"].split()) == ["Grasp.", "Reach."]
    with pytest.raises(UserError, match="no part 'spatial'; it has observation, planning"):
        changed(policy, here, [rationale_edits.DropPart("spatial")])
    own = rationale_edits.OwnRationale({"observation": "one two three"})
    assert rationale_edits.same_length(own, here).count > 0  # own words have a control too
    control = rationale_edits.same_length(rationale_edits.SwapWords("cup", "plate"), here)
    assert control.count == 2


def test_what_another_step_says() -> None:
    policy, here = planted()
    here = replace(here, said_at=lambda episode, step: Rationale({"observation": f"{episode} {step}"}))
    assert changed(policy, here, [rationale_edits.OtherRationale(4)]).force.text == "None 4"
    assert changed(policy, here, [rationale_edits.OtherRationale(2, "b")]).force.text == "b 2"
    blank = instruction_edits.BlankInstruction()
    for_a_world = rationale_edits.spelled_out([rationale_edits.OtherRationale(4), blank], here)
    assert for_a_world == (rationale_edits.OwnRationale({"observation": "None 4"}), blank)


def test_what_a_policy_cannot_is_said() -> None:
    mute = PlantedPolicy(replace(PlantedPolicy().info, generates_rationale=False))
    assert rationale_edits.DropPart("x").why_not(mute) == "planted writes no rationale, so none can be changed"
    assert "cannot" not in str(image_edits.HideImage().why_not(mute))
    assert "does not run through" in str(knock_outs.KnockOutHead(0, 0).why_not(mute))
    policy, here = planted(mute)
    with pytest.raises(UserError, match="writes no rationale"):
        intervene(policy, here, [rationale_edits.ShuffleWords()])
    with pytest.raises(UserError, match="nothing to change"):
        intervene(policy, here, [])


def test_continuous_actions_have_no_distribution() -> None:
    policy = PlantedChunkPolicy()
    seen = observation_for(policy.info)
    here = Situation(seen, policy.layout(seen), policy.predict(seen))
    found = intervene(policy, here, [image_edits.HideImage(fill="black")])
    assert found.note == CONTINUOUS + SAME_NOISE and found.divergences == () and np.isnan(found.mean_bits)
    assert found.change.shape == found.before.actions.shape
    np.testing.assert_allclose(found.distance, np.abs(found.change).mean(axis=0))
    at_once = PlantedChunkPolicy(replace(policy.info, denoising_steps=0))
    assert intervene(at_once, here, [image_edits.HideImage(fill="black")]).note == CONTINUOUS


@pytest.mark.slow
def test_knock_outs_reach_a_real_network(tmp_path: Path) -> None:
    policy = models.load(write_action_token_paligemma(tmp_path, rationale=True, kv_heads=2))
    seen = observation_for(policy.info)
    here = Situation(seen, policy.layout(seen), policy.predict(seen))
    edits = [knock_outs.parse_route("action->image@0-1"), knock_outs.parse_head("1.2")]
    found = intervene(policy, here, edits)
    assert found.mean_bits > 1e-4
    assert found.edits == ("knocked out: action->image in layers 0-1", "knocked out: head 1.2")
    assert "there is no layer 9" in str(knock_outs.parse_route("action->image@9").why_not(policy))


def test_one_part_of_its_own_rationale_is_cut_while_the_policy_writes_it(tuned: Policy) -> None:
    seen = open_source(SAMPLES / "episodes").open("carrot-on-plate-0").step(2).observation
    cut = knock_outs.parse_route("action->rationale:planning").cut
    found = tuned.predict_without(seen, [cut], Capture(layers=(1,), queries=(Part.ACTION,)))
    (record,) = found.attention
    acting = set(found.layout.positions(Part.ACTION))
    rows = [row for row, query in enumerate(record.queries) if query + 1 in acting]
    looked = {
        span.name: bool(record.weights[:, :, rows, span.start : span.stop].any())
        for span in record.layout.spans
        if span.part is Part.RATIONALE
    }
    assert looked == {"observation": True, "situation": True, "spatial": True, "planning": False}


def test_words_after_the_action_cannot_change_it(tmp_path: Path) -> None:
    policy = models.load(write_action_token_paligemma(tmp_path, rationale=True, order="action first"))
    seen = observation_for(policy.info)
    here = Situation(seen, policy.layout(seen), policy.predict(seen))
    found = intervene(policy, here, [rationale_edits.OwnRationale({"text": "the carrot"})])
    assert found.note == LATER and not found.change.any()


@pytest.mark.parametrize(
    "text",
    [
        "action",
        "action->",
        "rationale:planning",
        "walk:a->image",
        "walk->image",
        "action->image@",
        "action->image@1-x",
        "action->image@0-99999999",
    ],
)
def test_knock_outs_that_make_no_sense(text: str) -> None:
    with pytest.raises(UserError):
        knock_outs.parse_route(text)


EXAMPLES: list[Intervention] = [
    image_edits.HidePatches("wrist", (3, 4), "blur"),
    image_edits.HideBox("", (0.5, 1.0, 20.0, 30.0)),
    image_edits.HideObject("carrot", "black"),
    image_edits.HideImage(),
    instruction_edits.BlankInstruction(),
    instruction_edits.ShuffledInstruction(3),
    instruction_edits.OtherObject("a", "b"),
    instruction_edits.NegatedInstruction(),
    instruction_edits.ParaphrasedInstruction(),
    instruction_edits.OwnInstruction("Grüße ×"),
    rationale_edits.DropPart("planning"),
    rationale_edits.SwapWords("left", "right"),
    rationale_edits.ShuffleWords(1),
    rationale_edits.ShuffleSentences(),
    rationale_edits.RandomWords(4, 2),
    rationale_edits.OtherRationale(3, "other"),
    rationale_edits.OwnRationale({"observation": "x"}),
    knock_outs.KnockOutRoute("action", "image:wrist", (0, 1)),
    knock_outs.KnockOutHead(1, 2, "action expert"),
]


def test_every_kind_comes_back_from_a_link() -> None:
    assert {each.kind for each in EXAMPLES} == set(KINDS)
    assert from_text(as_text(EXAMPLES)) == tuple(EXAMPLES)
    assert from_settings(as_settings(EXAMPLES)) == tuple(EXAMPLES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[" * 10_000,
        '[{"kind": "none"}]',
        '[{"kind": "hide patches"}]',
        '[{"kind": "hide patches", "camera": "x", "patches": ["a"]}]',
        '[{"kind": "hide box", "camera": "x", "box": [1, 2, 3]}]',
        '[{"kind": "hide box", "camera": "x", "box": [1, 2, 3, 1e999]}]',
        '[{"kind": "hide image", "fill": "pink"}]',
        '[{"kind": "random words", "count": true}]',
        '[{"kind": "blank instruction", "more": 1}]',
        json.dumps([{"kind": "own instruction", "words": "x" * 20_000}]),
    ],
)
def test_a_link_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        from_text(text)


def test_answers_are_kept_by_what_was_changed(tmp_path: Path) -> None:
    store, calls = RecordStore(tmp_path), []
    policy, here = planted()
    edits = [image_edits.HidePatches("image", (1,), "black")]
    run = intervention_run(store, "c" * 16, "e" * 16, edits, action_stats=None)

    def make():
        calls.append(1)
        return ask(policy, changed(policy, here, edits))

    first, second = kept(run, 0, make), kept(run, 0, make)
    assert len(calls) == 1 and np.array_equal(first.actions, second.actions)
    assert run.address == intervention_run(store, "c" * 16, "e" * 16, from_text(as_text(edits))).address
    assert run.address != intervention_run(store, "c" * 16, "e" * 16, []).address
    assert intervene(policy, here, edits, answer=second).after.actions[0, 0] == 0.5


@pytest.fixture(scope="module")
def tuned() -> Policy:
    return models.load(SAMPLES / "checkpoints" / "tuned")


def shipped(policy: Policy, step: int, edits: list[Intervention], episode: str = "carrot-on-plate-0") -> Effect:
    opened = open_source(SAMPLES / "episodes").open(episode)
    cameras = plan_cameras(policy.info.cameras, opened.meta.cameras)
    return intervene(policy, situation(policy, opened, opened.step(step), cameras), edits)


@pytest.mark.slow
def test_left_and_right_in_the_rationale_flip_the_sign_of_the_shipped_policy(tuned: Policy) -> None:
    found = shipped(tuned, 2, [rationale_edits.SwapWords("left", "right")])
    y = found.before.action_names.index("y")
    before, after = found.before.actions[0, y], found.after.actions[0, y]
    assert before < -0.005 and after > 0.005
    assert max(found.divergences, key=lambda each: each.bits).name == "y"
    assert np.abs(np.delete(found.change, y, axis=1)).max() < 1e-6


@pytest.mark.slow
def test_hiding_the_target_matters_more_than_hiding_the_other_receptacle(tuned: Policy) -> None:
    target = shipped(tuned, 2, [image_edits.HideObject("carrot")])
    other = shipped(tuned, 2, [image_edits.HideObject("towel")])
    assert target.mean_bits > 2 * other.mean_bits


def test_the_command_prints_json_and_draws_it(tmp_path: Path) -> None:
    episode = str(SAMPLES / "episodes" / "carrot-on-plate-0.hdf5")
    done = CliRunner().invoke(
        app,
        ["intervene", str(SAMPLES / "checkpoints" / "tuned"), episode, "--steps", "2", "--mask-object", "carrot",
         "--instruction-blank", "--knock-out", "action->image@0-3", "--json", "--out", str(tmp_path / "effect.csv")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)["steps"][0]
    assert said["step"] == 2 and len(said["edits"]) == 3
    assert {action["name"]: action["unit"] for action in said["actions"]}["x"] == "m"
    assert said["mean_jensen_shannon_bits"] > 0.05
    lines = (tmp_path / "effect.csv").read_text().splitlines()
    head = " ".join(line for line in lines if line.startswith("#"))
    assert json.loads(done.output)["checkpoint"] in head and "step 2 of 0" in head and "asked with and without" in head
    assert all(each in head for each in said["edits"]) and f"Said before: {said['text_before']}" in head
    table = [line.split(",") for line in lines if not line.startswith("#")]
    assert table[0][:6] == ["step", "chunk step", "dimension", "unit", "before", "after"]
    assert [float(row[4]) for row in table[1:]] == [action["before"][0] for action in said["actions"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "nothing to change"),
        (["--mask-object", "dragon"], "no 'dragon' in view"),
        (["--mask-box", "1,2"], "a box has left, top, right, bottom"),
        (["--fill", "pink", "--mask-image"], "--fill is 'pink'"),
        (["--rationale-swap", "left"], "no two words"),
        (["--mask-image", "--out", "effect.gif"], "expected a name that ends in .png, .svg, .csv, .npz"),
        (["--mask-image", "--steps", "0:3", "--out", "effect.png"], "a picture of one step and 3 were named"),
    ],
)
def test_the_command_refuses_in_a_sentence(options: list[str], said: str) -> None:
    episode = str(SAMPLES / "episodes" / "carrot-on-plate-0.hdf5")
    done = CliRunner().invoke(
        app, ["intervene", str(SAMPLES / "checkpoints" / "base"), episode, "--steps", "2", *options]
    )
    assert isinstance(done.exception, UserError) and said in str(done.exception)
