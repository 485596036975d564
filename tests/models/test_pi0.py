"""π0 against transformers' own sampling and eager maps, and what its files, cameras, states and words may be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import PI0ForConditionalGeneration

import models
from models.errors import UserError
from models.families.lerobot_statistics import Scaling
from models.families.pi0_images import Fitted, Letterbox, check_frame
from models.types import Capture, Observation, Part, Prediction
from tests.tiny_pi0 import (
    ACTION_MEAN,
    ACTION_STD,
    CAMERAS,
    STATE_MEAN,
    STATE_STD,
    TOKENIZER,
    VOCABULARY,
    write_lerobot_pi0,
    write_pi0,
    write_tokenizer,
)

WORDS = "put the carrot on the plate"
SIDE = 56  # pixels of the tiny towers' images
EVERYTHING = Capture(queries=tuple(Part), prefix=True, vision=True)


def seen(cameras: tuple[str, ...] = ("one", "two"), side: int = SIDE, words: str = WORDS) -> Observation:
    """Frames that need no resizing, so that what the towers see is no question here."""
    random = np.random.default_rng(7)
    images = {camera: random.integers(0, 256, (side, side, 3), dtype=np.uint8) for camera in cameras}
    return Observation(images, words, random.uniform(-0.5, 0.5, 5).astype(np.float32))


def edit(folder: Path, **changes: object) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def reweigh(folder: Path, drop: str = "", **added: torch.Tensor) -> Path:
    weights = load_file(folder / "model.safetensors")
    save_file({name: weight for name, weight in weights.items() if name != drop} | added, folder / "model.safetensors")
    return folder


class Published:
    """transformers' own code on a checkpoint of its own layout, eager, padded as its processor pads."""

    def __init__(self, folder: Path, observation: Observation, absent: int):
        self.model = PI0ForConditionalGeneration.from_pretrained(folder, attn_implementation="eager").eval()
        frames = [frame.astype(np.float32) / 127.5 - 1 for frame in observation.images.values()]
        frames += [np.zeros((SIDE, SIDE, 3), np.float32)] * absent
        self.pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)[None]
        self.cameras = torch.arange(len(frames))[None] < len(frames) - absent
        words = [2, *(VOCABULARY.index(word) for word in (*observation.instruction.split(), "\n"))]
        image = self.model.config.vlm_config.image_token_id
        ids = [image] * 16 * len(observation.images) + words
        self.length, padding = len(ids), 48 - len(words)
        self.ids = torch.tensor([ids + [0] * padding])
        self.mask = torch.tensor([[1] * self.length + [0] * padding])
        assert observation.state is not None
        self.state = torch.nn.functional.pad(torch.from_numpy(observation.state), (0, 8 - len(observation.state)))[None]
        torch.manual_seed(0)
        self.noise = torch.normal(0.0, 1.0, (1, self.model.config.chunk_size, 8))

    def actions(self) -> np.ndarray:
        found = self.model.sample_actions(
            self.state, self.ids, self.pixels, self.noise, self.mask, pixel_attention_mask=self.cameras
        )
        return found[0].numpy()

    @torch.inference_mode()
    def rows(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Maps of the language model, and of the expert for each denoising step, without the padding."""
        model, steps = self.model, self.model.config.num_inference_steps
        prefix = model.model.embed_prefix(self.ids, self.pixels, self.cameras)
        read = model.model.vlm(
            inputs_embeds=prefix,
            attention_mask=self.mask,
            position_ids=self.mask.cumsum(-1) - 1,
            token_type_ids=torch.zeros_like(self.ids),
            use_cache=True,
            output_attentions=True,
        )
        language = np.stack([each[0].numpy() for each in read.attentions])[:, :, : self.length, : self.length]
        kept = [*range(self.length), *range(self.ids.shape[1], self.ids.shape[1] + self.noise.shape[1] + 1)]
        expert, chunk, cache = [], self.noise, read.past_key_values
        for step in range(steps):
            output = model(
                state=self.state,
                noise=chunk,
                timestep=torch.tensor([1.0 - step / steps]),
                attention_mask=self.mask,
                past_key_values=cache,
                output_attentions=True,
            )
            cache.crop(self.ids.shape[1] - cache.get_seq_length())
            chunk = chunk - output.logits / steps
            expert.append(np.stack([each[0].numpy() for each in output.attentions])[..., kept])
        return language, expert


@pytest.fixture(scope="module", params=[1, 2], ids=["one key head", "two key heads"])
def native(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pi0(tmp_path_factory.mktemp("pi0") / "it", key_heads=request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lerobot_pi0(tmp_path_factory.mktemp("lerobot") / "it")


@pytest.fixture
def copied(plain: Path, tmp_path: Path) -> Path:
    """A LeRobot folder with its tokenizer beside it, to be damaged."""
    shutil.copytree(plain.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "it"


@pytest.mark.slow
@pytest.mark.parametrize(("cameras", "absent"), [(("one",), 0), (("one", "two"), 1), (("one", "two", "three"), 0)])
def test_actions_equal_those_of_transformers(native: Path, cameras: tuple[str, ...], absent: int) -> None:
    """What the published code masks (absent cameras, padded words) is left out here: the same, positions included."""
    observation = seen(cameras)
    expected = Published(native, observation, absent).actions()
    found = models.load(native).predict(observation).actions
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert expected.std() > 0.1


@pytest.mark.slow
def test_rows_equal_eager_maps_at_every_denoising_step(native: Path) -> None:
    observation = seen()
    language, expert = Published(native, observation, absent=1).rows()
    first, *steps = models.load(native).predict(observation, EVERYTHING).attention[:4]
    assert (first.stream, first.denoising_step, set(first.produced)) == ("language", None, {-1})
    prefix = language.shape[-1]
    np.testing.assert_allclose(first.weights[..., :prefix], language, atol=1e-5)
    assert not first.weights[..., prefix:].any(), "the prefix looks at what comes after it"
    assert [each.denoising_step for each in steps] == list(range(len(expert)))
    for step, expected in zip(steps, expert, strict=True):
        assert step.stream == "action expert"
        assert step.queries == tuple(range(prefix, prefix + 6))
        assert step.produced == (-1, 0, 1, 2, 3, 4)
        np.testing.assert_allclose(step.weights, expected, atol=1e-5)
        assert not step.weights[:, :, 0, prefix + 1 :].any(), "the state looks at the actions"
        assert step.weights.std(-1).max() > 0.05, "flat maps would agree with anything"


@pytest.mark.slow
def test_vision_rows_equal_eager_maps(native: Path) -> None:
    observation = seen()
    published = Published(native, observation, absent=0)
    tower = published.model.model.vlm.vision_tower
    with torch.inference_mode():
        expected = tower(published.pixels[0], output_attentions=True).attentions
    records = models.load(native).predict(observation, Capture(vision=True)).attention[-2:]
    for sample, record in enumerate(records):
        assert record.layout.spans[0].name == ("one", "two")[sample]
        np.testing.assert_allclose(record.weights, np.stack([each[sample] for each in expected]), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["old", "new"])
def test_lerobot_names_hold_the_same_network(tmp_path: Path, layout: str) -> None:
    """LeRobot's files of both ages and transformers' own, of one random network."""
    native = models.load(write_pi0(tmp_path / "native", vision_heads=16))
    folder = write_lerobot_pi0(tmp_path / "lerobot", old=layout == "old", statistics=False)
    lerobot = models.load(folder)
    ours, theirs = native.model.state_dict(), lerobot.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())
    observation = seen(CAMERAS)
    left, right = native.predict(observation).actions, lerobot.predict(observation).actions
    np.testing.assert_allclose(left[:, :4], right, atol=1e-3)  # LeRobot encodes the time in float64
    assert lerobot.model.model.dit.embed_tokens is None, "a gigabyte of the published expert that nothing reads"


def test_statistics_scale_state_and_actions(tmp_path: Path) -> None:
    raw = models.load(write_lerobot_pi0(tmp_path / "raw", statistics=False))
    observation = seen(CAMERAS)
    assert observation.state is not None
    scaled = ((observation.state - np.array(STATE_MEAN)) / np.array(STATE_STD)).astype(np.float32)
    expected = raw.predict(Observation(observation.images, WORDS, scaled)).actions * ACTION_STD + ACTION_MEAN
    for old in (False, True):
        folder = write_lerobot_pi0(tmp_path / f"old {old}", old=old)
        np.testing.assert_allclose(models.load(folder).predict(observation).actions, expected, atol=1e-5)
    assert "normalised units" in raw.info.notes["action_stats"]


def test_statistics_of_transformers_own_processor(tmp_path: Path) -> None:
    policy = models.load(write_pi0(tmp_path / "it", statistics=True))
    assert (policy.info.action_stats, len(policy.info.state_names)) == (("training data",), 5)
    observation = seen()
    assert observation.state is not None
    scaled = ((observation.state - np.array(STATE_MEAN)) / np.array(STATE_STD)).astype(np.float32)
    raw = models.load(write_pi0(tmp_path / "raw")).predict(Observation(observation.images, WORDS, scaled))
    expected = raw.actions[:, :4] * ACTION_STD + ACTION_MEAN
    np.testing.assert_allclose(policy.predict(observation).actions, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(plain: Path, dtype: str) -> None:
    observation = seen(CAMERAS)
    exact, half = (models.load(plain, dtype=kind).predict(observation, Capture()) for kind in ("float32", dtype))
    assert half.actions.dtype == np.float32
    assert np.abs(half.actions - exact.actions).max() < 0.25 * exact.actions.std()
    for record in half.attention:
        np.testing.assert_allclose(record.weights.sum(-1), 1, atol=1e-5)


def test_cameras_go_by_either_name_in_the_policys_order(plain: Path) -> None:
    policy = models.load(plain)
    observation = seen(CAMERAS)
    turned = {f"observation.images.{camera}": observation.images[camera] for camera in reversed(CAMERAS)}
    expected, found = policy.predict(observation), policy.predict(Observation(turned, WORDS, observation.state))
    np.testing.assert_array_equal(found.actions, expected.actions)
    assert [span.name for span in found.layout.spans[:2]] == [f"observation.images.{camera}" for camera in CAMERAS]


def test_a_camera_that_is_absent_is_left_out(plain: Path) -> None:
    policy = models.load(plain)
    observation = seen(CAMERAS)
    part = Observation({CAMERAS[1]: observation.images[CAMERAS[1]]}, WORDS, observation.state)
    assert [span.name for span in policy.layout(part).spans if span.part is Part.IMAGE] == [CAMERAS[1]]
    assert not np.allclose(policy.predict(part).actions, policy.predict(observation).actions, atol=1e-3)
    with pytest.raises(
        UserError, match="reads the cameras base_0_rgb, left_wrist_0_rgb; the observation has other, one"
    ):
        policy.predict(seen(("other", "one")))


def test_an_empty_camera_is_no_camera(tmp_path: Path) -> None:
    one = models.load(write_lerobot_pi0(tmp_path / "it", cameras=("top",), empty_cameras=2))
    assert one.info.cameras == ()
    assert one.predict(seen(("any name",))).actions.shape == (5, 4)


def test_transformers_own_layout_reads_images_in_the_observations_order(native: Path) -> None:
    policy = models.load(native)
    observation = seen()
    turned = Observation(dict(reversed(observation.images.items())), WORDS, observation.state)
    assert [span.name for span in policy.layout(turned).spans[:2]] == ["two", "one"]
    assert not np.allclose(policy.predict(turned).actions, policy.predict(observation).actions, atol=1e-3)
    with pytest.raises(UserError, match="at least one image"):
        policy.predict(Observation({}, WORDS, observation.state))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (None, "reads 5 state values, the observation has no state"),
        (np.zeros(4, np.float32), r"reads 5 state values, the observation's state has shape \(4,\)"),
        (np.array([0, 0, 0, 0, np.nan], np.float32), "not finite"),
    ],
)
def test_refuses_a_state_that_it_cannot_read(plain: Path, state: np.ndarray | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        models.load(plain).predict(Observation(seen(CAMERAS).images, WORDS, state))


def test_without_statistics_shorter_states_are_padded(tmp_path: Path) -> None:
    policy = models.load(write_lerobot_pi0(tmp_path / "it", statistics=False))
    short = Observation(seen(CAMERAS).images, WORDS, np.array([0.3, 0.2], np.float32))
    padded = Observation(short.images, WORDS, np.array([0.3, 0.2, 0, 0, 0], np.float32))
    np.testing.assert_array_equal(policy.predict(short).actions, policy.predict(padded).actions)
    with pytest.raises(UserError, match=r"1 to 5 state values, the observation has no state"):
        policy.predict(Observation(short.images, WORDS))


def test_action_names_are_those_of_the_training_data(tmp_path: Path) -> None:
    names = ("shoulder", "elbow", "wrist", "gripper")
    prediction = models.load(write_lerobot_pi0(tmp_path / "it", names=names)).predict(seen(CAMERAS))
    assert prediction.action_names == names


def words(prediction: Prediction) -> list[tuple[str, str]]:
    layout = prediction.layout
    return [
        (span.part.value, " ".join(layout.tokens[span.start : span.stop]))
        for span in layout.spans
        if span.part not in (Part.IMAGE, Part.ACTION)
    ]


def test_words_end_in_one_new_line(plain: Path) -> None:
    policy = models.load(plain)
    expected = [("special", "<bos>"), ("instruction", WORDS), ("prompt", "\\n"), ("state", "state")]
    for text in (WORDS, f"{WORDS}\n"):
        assert words(policy.predict(seen(CAMERAS, words=text))) == expected


def test_long_instructions_are_cut_where_lerobot_cuts_them(plain: Path, tmp_path: Path) -> None:
    observation = seen(CAMERAS, words="carrot " * 60)
    found = words(models.load(plain).predict(observation))
    assert found == [("special", "<bos>"), ("instruction", " ".join(["carrot"] * 47)), ("state", "state")]
    old = models.load(write_lerobot_pi0(tmp_path / "old", old=True))
    assert words(old.predict(observation))[1] == ("instruction", " ".join(["carrot"] * 60))


def test_refuses_control_tokens_in_the_instruction(plain: Path) -> None:
    with pytest.raises(UserError, match="contains '<eos>', a control token"):
        models.load(plain).predict(seen(CAMERAS, words="put <eos> down"))


def test_two_images_give_two_answers_and_capture_changes_none(plain: Path) -> None:
    policy = models.load(plain)
    observation = seen(CAMERAS)
    black = {camera: np.zeros_like(frame) for camera, frame in observation.images.items()}
    plainly = policy.predict(observation).actions
    assert not np.allclose(plainly, policy.predict(Observation(black, WORDS, observation.state)).actions, atol=1e-2)
    for capture in (EVERYTHING, Capture(layers=(1,)), Capture(queries=(), prefix=True)):
        np.testing.assert_array_equal(policy.predict(observation, capture).actions, plainly)


def test_capture_limits_layers_and_queries(plain: Path) -> None:
    policy, observation = models.load(plain), seen(CAMERAS)
    one = policy.predict(observation, Capture(layers=(1,), prefix=True)).attention
    assert {each.layers for each in one} == {(1,)}
    assert [each.stream for each in one] == ["language", *["action expert"] * 3]
    state = policy.predict(observation, Capture(queries=(), prefix=True)).attention[1:]
    assert {each.produced for each in state} == {(-1,)}
    assert policy.predict(observation, Capture(queries=())).attention == ()


def test_the_tokenizer_is_found_beside_inside_or_in_the_base(copied: Path) -> None:
    beside = copied.parent / TOKENIZER
    expected = models.load(copied).predict(seen(CAMERAS)).actions
    moved = beside.rename(copied.parent / "elsewhere")
    with pytest.raises(
        UserError, match=f"needs the tokenizer of 'google/{TOKENIZER}'.* or name the folder .* with base"
    ):
        models.load(copied)
    assert "no copy was found" in models.inspect(copied).notes["tokenizer"]
    (moved / "config.json").write_text(json.dumps({"model_type": "paligemma"}))
    np.testing.assert_array_equal(models.load(copied, base=moved).predict(seen(CAMERAS)).actions, expected)
    write_tokenizer(copied)
    np.testing.assert_array_equal(models.load(copied).predict(seen(CAMERAS)).actions, expected)


def test_vision_heads_come_from_the_model_that_lends_its_tokenizer(copied: Path) -> None:
    assert models.inspect(copied).vision_heads == 16
    described = {"model_type": "paligemma", "vision_config": {"num_attention_heads": 4}}
    (copied.parent / TOKENIZER / "config.json").write_text(json.dumps(described))
    info = models.inspect(copied)
    assert (info.vision_heads, "vision_heads" in info.notes) == (4, False)
    assert models.load(copied).model.model.vlm.vision_tower.encoder.layers[0].self_attn.num_heads == 4


def test_sizes_come_from_the_tensors(plain: Path, native: Path) -> None:
    for folder, heads in ((plain, 16), (native, 4)):
        info = models.inspect(folder)
        assert (info.layers, info.heads, info.expert_layers, info.expert_heads) == (3, 4, 3, 4)
        assert (info.vision_layers, info.vision_heads, info.patch_grid) == (2, heads, (4, 4))
        assert (info.denoising_steps, info.image_size) == (3, (SIDE, SIDE))
        assert info.action_space is not None
        assert info.action_space.chunk == 5


LAYER = "model.paligemma_with_expert.gemma_expert.model.layers.1.mlp.up_proj.weight"
HEAD = "model.paligemma_with_expert.paligemma.lm_head.weight"


@pytest.mark.slow
def test_names_the_tensor_that_is_missing_misshapen_or_left_over(copied: Path) -> None:
    good = load_file(copied / "model.safetensors")
    for changed, said in (
        ({name: weight for name, weight in good.items() if name != LAYER}, f"lack the tensor {LAYER}"),
        (good | {LAYER: good[LAYER][:, :-1].contiguous()}, f"the tensor {LAYER} has shape"),
        (good | {"model.surprise": torch.ones(2)}, "the tensor model.surprise, which belongs nowhere"),
        (
            {name: weight for name, weight in good.items() if "patch_embedding" not in name},
            "lack the tensor .*patch_emb",
        ),
        (good | {HEAD: good[HEAD][0]}, f"the tensor {HEAD} has shape .* expected 2 axes"),
    ):
        save_file(changed, copied / "model.safetensors")
        with pytest.raises(UserError, match=said):
            models.load(copied)


@pytest.mark.slow
def test_a_head_beside_its_embeddings_is_left_out_on_purpose(copied: Path) -> None:
    embeddings = "model.paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"
    expected = models.load(copied).predict(seen(CAMERAS)).actions
    head = load_file(copied / "model.safetensors")[HEAD]
    policy = models.load(reweigh(copied, **{embeddings: head.clone()}))
    assert "stored beside the embeddings" in policy.info.unused[HEAD]
    np.testing.assert_array_equal(policy.predict(seen(CAMERAS)).actions, expected)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"type": "pi05"}, "type is 'pi05', a LeRobot policy that cannot be opened here; those that can are .*pi0"),
        ({"type": "act"}, "type is 'act', a LeRobot policy"),
        ({"adapt_to_pi_aloha": True}, "adapt_to_pi_aloha is true, which is not supported"),
        ({"image_resolution": [224, 224]}, "image_resolution is .* weights are for 56 x 56"),
        ({"max_action_dim": 2}, "the action has 4 values, expected at most 2"),
        ({"max_action_dim": 7}, "config.json asks for"),
        ({"input_features": {"observation.state": {"type": "STATE", "shape": [5]}}}, "no camera"),
        ({"chunk_size": 0}, "chunk_size is 0"),
    ],
)
def test_says_which_setting_it_cannot_follow(copied: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        models.load(edit(copied, **changes))


def test_actions_relative_to_the_state(copied: Path) -> None:
    observation = seen(CAMERAS)
    assert observation.state is not None
    absolute = models.load(copied).predict(observation).actions
    after, before = copied / "policy_postprocessor.json", copied / "policy_preprocessor.json"
    after.write_text(after.read_text().replace('"enabled": false', '"enabled": true'))
    with pytest.raises(UserError, match="absolute_actions_processor is enabled without relative_actions_processor"):
        models.load(copied)
    names = json.dumps(["shoulder", "elbow", "wrist", "Gripper_left"])
    changed = before.read_text().replace('"enabled": false', '"enabled": true')
    before.write_text(changed.replace('"action_names": null', f'"action_names": {names}'))
    expected = absolute + np.array([*observation.state[:3], 0])
    np.testing.assert_allclose(models.load(copied).predict(observation).actions, expected, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 48), (56, 56), (31, 200)])
@pytest.mark.parametrize("corner", [False, True])
def test_the_letterbox_keeps_the_frames_shape_and_its_box_undoes_it(height: int, width: int, corner: bool) -> None:
    """A bright right half stands where the box says that it is."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[:, width // 2 :] = 255
    found = Letterbox(SIDE, corner)(frame, Scaling())
    left, top, right, bottom = found.box
    assert (right - left) / (bottom - top) == pytest.approx(1, abs=0.1), "a square of the frame, but for rounding"
    before, after = np.array([-left, -top]), np.array([right - width, bottom - height])
    assert min(before.min(), after.min()) > -1e-6
    pixel = max(width, height) / SIDE
    assert (after.max() < 1e-6) if corner else (np.abs(after - before).max() < pixel + 1e-6), "its place"
    centres = (np.arange(SIDE) + 0.5) / SIDE
    across, down = left + centres * (right - left), top + centres * (bottom - top)
    bright = np.outer((down > 0) & (down < height), (across > width / 2) & (across < width))
    assert ((found.pixels[0] > 0) == bright).mean() > 0.95
    assert (found.pixels.min(), found.pixels.max()) == pytest.approx((-1, 1))


@pytest.mark.parametrize(("height", "width"), [(48, 64), (96, 40), (56, 56)])
def test_transformers_own_preparation(height: int, width: int) -> None:
    """PI0ImageProcessor, which needs torchvision, step by step with PIL: resized, normalised, padded with zeros."""
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = Fitted(SIDE)(frame, Scaling())
    scale = min(SIDE / height, SIDE / width)
    high, wide = int(height * scale), int(width * scale)
    resized = np.asarray(Image.fromarray(frame).resize((wide, high), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(found.pixels[:, :high, :wide], resized.transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
    assert not found.pixels[:, high:].any() and not found.pixels[:, :, wide:].any()
    assert found.box == pytest.approx((0, 0, width * SIDE / wide, height * SIDE / high))


@pytest.mark.parametrize("frame", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8), 3])
def test_refuses_what_is_no_frame(frame: object) -> None:
    with pytest.raises(UserError, match="image"):
        check_frame(frame)


def test_refuses_a_frame_that_would_vanish(plain: Path) -> None:
    frame = np.zeros((1, 200, 3), np.uint8)
    with pytest.raises(UserError, match="1 x 200 pixels is too narrow"):
        models.load(plain).predict(Observation(dict.fromkeys(CAMERAS, frame), WORDS, np.zeros(5, np.float32)))


def test_processor_settings_of_transformers_own_layout(tmp_path: Path) -> None:
    folder = write_pi0(tmp_path / "it")
    frame = seen(("one",), side=80)
    size = {"max_height": SIDE, "max_width": SIDE}
    settings = {"image_processor_type": "PI0ImageProcessor", "size": size, "pad_size": {"height": SIDE, "width": SIDE}}
    expected = models.load(folder).predict(frame).actions
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"do_pad": True, "resample": 3}))
    np.testing.assert_array_equal(models.load(folder).predict(frame).actions, expected)
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"resample": 0}))
    assert not np.allclose(models.load(folder).predict(frame).actions, expected, atol=1e-3)
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"do_pad": False}))
    with pytest.raises(UserError, match="prepared otherwise than π0 does"):
        models.load(folder)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_what_the_cpu_gives(plain: Path) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    here, there = (models.load(plain, device=each).predict(seen(CAMERAS), EVERYTHING) for each in ("cpu", "cuda"))
    np.testing.assert_allclose(there.actions, here.actions, atol=1e-3)
    for one, other in zip(there.attention, here.attention, strict=True):
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-3)
