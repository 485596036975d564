"""Vision-language models beyond the contract: prompts, places on the frame, endings, forced text, bad files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

import models
from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.families.vlm import MOST_NEW_TOKENS
from models.families.vlm_kinds import VLM_KINDS
from models.families.vlm_spec import KINDS
from models.families.vlm_tower import features
from models.policy import Differentiable, Policy
from models.registry import FAMILIES
from models.types import Capture, Observation, Part, PatchGrid, Rationale, Span
from tests.contracts.policy_cases import observation
from tests.tiny_checkpoints import write_action_token_paligemma
from tests.tiny_vlm import WRITERS, write_llava, write_paligemma, write_qwen, write_tiled

LLAVA_TEMPLATE = (
    "{% for message in messages %}{{ message.role | upper + ': ' }}{% for each in message.content | selectattr('type', "
    "'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}{% for each in message.content | selectattr('type', 'equalto', "
    "'text') %}{{ each.text + ' ' }}{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("vlm")
    return {case: write(place / case) for case, write in WRITERS.items()}


def copied(folder: Path, place: Path) -> Path:
    return Path(shutil.copytree(folder, place / "copy"))


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def parts(spans: tuple[Span, ...]) -> list[tuple[str, str, int]]:
    return [(span.part.value, span.name, span.stop - span.start) for span in spans]


def test_every_kind_is_registered() -> None:
    assert set(FAMILIES["vlm"].model_types) == set(KINDS) == set(VLM_KINDS)


def test_paligemma_with_actions_is_another_family(tmp_path: Path, folders: dict[str, Path]) -> None:
    assert models.inspect(folders["paligemma"]).family == "vlm"
    robot = write_action_token_paligemma(tmp_path / "robot", rationale=False)
    assert models.inspect(robot).family == "paligemma"
    assert models.load(robot, family="vlm").predict(observation()).actions.shape == (0, 0)


@pytest.mark.parametrize("case", WRITERS)
def test_spec_is_what_transformers_reads(case: str, folders: dict[str, Path]) -> None:
    spec = models.inspect(folders[case])
    config = AutoConfig.from_pretrained(folders[case])
    text, vision = config.get_text_config(), config.vision_config
    assert (spec.layers, spec.heads) == (text.num_hidden_layers, text.num_attention_heads)
    assert (spec.vision_layers, spec.vision_heads) == (vision.num_hidden_layers, vision.num_attention_heads)
    assert (spec.action_space, spec.action_stats, spec.generates_rationale) == (None, (), True)
    assert spec.patch_grid == ((4, 4) if case in ("paligemma", "paligemma 2", "llava") else (0, 0))


@pytest.mark.parametrize("case", WRITERS)
def test_what_a_configuration_leaves_out_is_transformers_own(
    case: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Hub files leave out what equals the defaults: LLaVA's names neither layers nor heads."""
    folder = copied(folders[case], tmp_path)
    config = json.loads((folder / "config.json").read_text())
    left = {"model_type": config["model_type"], "vision_config": {}}
    for section in ("text_config", "vision_config"):
        if "model_type" in config.get(section, {}):
            left[section] = {"model_type": config[section]["model_type"]}
    (folder / "config.json").write_text(json.dumps(left))
    spec, read = models.inspect(folder), AutoConfig.from_pretrained(folder)
    text, vision = read.get_text_config(), read.vision_config
    assert (spec.layers, spec.heads) == (text.num_hidden_layers, text.num_attention_heads)
    assert (spec.vision_layers, spec.vision_heads) == (vision.num_hidden_layers, vision.num_attention_heads)
    if "qwen" not in case:
        assert spec.image_size == (vision.image_size, vision.image_size)
        if spec.patch_grid != (0, 0):
            assert spec.patch_grid[0] == vision.image_size // vision.patch_size


# --- where tokens lie on the frame


@pytest.mark.parametrize("case", WRITERS)
def test_every_token_lies_where_it_looks(case: str, folders: dict[str, Path]) -> None:
    """With a tower whose layers add nothing, a token knows its own patch alone: a spot there changes it most."""
    policy: Any = models.load(folders[case])
    for name, weight in policy.model.named_parameters():
        if any(part in name for part in ("vision", "visual")) and any(
            part in name for part in ("out_proj", "attn.proj", "fc2", "down_proj")
        ):
            weight.data.zero_()
    frame = observation(3, height=96).images["image"]
    grids = [span.grid for span in policy.layout(Observation({"top": frame}, "up")).spans if span.grid is not None]
    plain = image_tokens(policy, frame)
    wrong = checked = 0
    for number, grid in enumerate(grids):
        before = sum(each.rows * each.columns for each in grids[:number])
        size = grid.rows * grid.columns
        for index in range(size):
            spotted = with_spot(frame, grid, index)
            if spotted is None:
                continue  # the patch lies in the padding
            change = (image_tokens(policy, spotted) - plain).norm(dim=-1)[before : before + size]
            wrong += int(change.argmax()) != index
            checked += 1
    assert wrong == 0
    assert checked >= sum(each.rows * each.columns for each in grids) / 2


def image_tokens(policy: Any, frame: np.ndarray) -> torch.Tensor:
    """Features of the tokens that are patches; markers among the image tokens left out."""
    observed = Observation({"top": frame}, "up")
    prompt, pictures = policy._read(observed)
    with torch.inference_mode():
        embedded = policy._embedded(policy._ids(prompt), pictures, vision=False)[0][0]
    return embedded[torch.from_numpy(prompt.layout.positions(Part.IMAGE))]


def with_spot(frame: np.ndarray, grid: PatchGrid, index: int) -> np.ndarray | None:
    left, top, right, bottom = grid.rectangle(index)
    across, down = (right - left) / 4, (bottom - top) / 4
    rows = slice(round(top + down), round(bottom - down))
    columns = slice(round(left + across), round(right - across))
    inside = rows.start >= 0 and columns.start >= 0 and rows.stop <= frame.shape[0] and columns.stop <= frame.shape[1]
    if not inside:
        return None
    spotted = frame.copy()
    spotted[rows, columns] = np.where(spotted[rows, columns] > 127, 0, 255)
    return spotted


def test_boxes_of_a_cropped_image(folders: dict[str, Path]) -> None:
    layout = models.load(folders["llava"]).layout(observation(height=96))
    grid = next(span.grid for span in layout.spans if span.grid is not None)
    assert grid is not None
    assert grid.box == pytest.approx((16, 0, 112, 96), abs=1), "LLaVA sees the square in the middle of 128 x 96"


def test_tiles_and_their_markers(folders: dict[str, Path]) -> None:
    layout = models.load(folders["smolvlm"]).layout(observation(height=96))
    grids = [span.grid for span in layout.spans if span.grid is not None]
    assert [grid.box for grid in grids] == [
        (0, 0, 64, 48),
        (64, 0, 128, 48),
        (0, 48, 64, 96),
        (64, 48, 128, 96),
        (0, 0, 128, 96),
    ]
    assert parts(layout.spans)[:6] == [
        ("special", "<|im_start|>", 1),
        ("prompt", "prompt", 2),
        ("special", "<fake_token_around_image>", 1),
        ("special", "<row_1_col_1>", 1),
        ("image", "image", 4),
        ("special", "<fake_token_around_image>", 1),
    ]
    assert ("special", "<global-img>", 1) in parts(layout.spans)


def test_image_tokens_follow_the_size_of_the_image(folders: dict[str, Path]) -> None:
    policy = models.load(folders["qwen2 vl"])
    layouts = [policy.layout(observation(height=height)) for height in (40, 96, 300)]
    grids = [span.grid for layout in layouts for span in layout.spans if span.grid is not None]
    assert [(grid.rows, grid.columns) for grid in grids] == [(1, 5), (3, 4), (5, 2)]


# --- prompts


def test_several_cameras_come_in_the_order_of_the_observation(folders: dict[str, Path]) -> None:
    frames = {name: observation(seed).images["image"] for seed, name in enumerate(("wrist", "front"))}
    layout = models.load(folders["paligemma"]).layout(Observation(frames, "move up"))
    assert parts(layout.spans) == [
        ("image", "wrist", 16),
        ("image", "front", 16),
        ("special", "<bos>", 1),
        ("instruction", "instruction", 2),
        ("prompt", "prompt", 1),
    ]
    assert layout.tokens[16] == "front 0,0"
    assert layout.tokens[-3:] == ("move", "up", "\\n")


def test_the_instruction_is_found_by_its_place_not_by_its_words(folders: dict[str, Path]) -> None:
    layout = models.load(folders["qwen2 vl"]).layout(observation(instruction="user assistant"))
    span = next(span for span in layout.spans if span.part is Part.INSTRUCTION)
    assert layout.tokens[span.start : span.stop] == ("user", "assistant")
    assert layout.tokens[span.start - 1] == "<|vision_end|>"
    assert layout.tokens[span.stop] == "<|im_end|>"


def test_pieces_of_words_belong_to_the_instruction(tmp_path: Path) -> None:
    policy = models.load(write_qwen(tmp_path / "it", bytes_=True))
    layout = policy.layout(observation(instruction="  put the naïve  robot\ndown "))
    span = next(span for span in layout.spans if span.part is Part.INSTRUCTION)
    said = layout.tokens[span.start : span.stop]
    assert "".join(said).replace("\\n", "").replace("␣", "").startswith("putthena")
    assert said[-1].endswith("n"), "the template's line break is not part of it"
    assert len(said) > 8


@pytest.mark.parametrize("name", ["chat_template.jinja", "chat_template.json", "tokenizer_config.json"])
def test_a_chat_template_wherever_it_stands(name: str, tmp_path: Path) -> None:
    folder = write_llava(tmp_path / "it")
    plain = models.load(folder)
    named: Any = LLAVA_TEMPLATE.replace("ASSISTANT", "Assistant")
    if name.endswith(".jinja"):
        (folder / name).write_text(named)
    elif name == "chat_template.json":
        (folder / name).write_text(json.dumps({"chat_template": named}))
    else:
        several = [{"name": "tools", "template": "no"}, {"name": "default", "template": named}]
        edit(folder / name, lambda content: content.update(chat_template=several))
    with_template = models.load(folder)
    assert plain.info.notes["prompt"].startswith("no chat template")
    assert "prompt" not in with_template.info.notes
    before, after = (policy.layout(observation()).tokens for policy in (plain, with_template))
    assert before[:-2] == after[:-2]
    assert (before[-2], after[-2]) == ("ASSISTANT", "Assistant")


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{{ messages[0].content[1].text", "cannot be filled in"),
        ("{{ raise_exception('no pictures') }}", "cannot be filled in .*no pictures"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "cannot be filled in .*(unsafe|not safe|undefined)"),
        ("<image> hello", "does not put the instruction as it is"),
        ("<image>{{ messages[0].content[1].text | upper }}", "does not put the instruction as it is"),
        ("{{ messages[0].content[1].text }}", "makes room for 0 images, the observation has 1"),
        ("{{ namespace.__init__.__globals__['os'].popen('id').read() }}", "cannot be filled in"),
    ],
)
def test_refuses_a_template(template: str, sentence: str, tmp_path: Path) -> None:
    policy = models.load(write_llava(tmp_path / "it", template=template))
    with pytest.raises(UserError, match=sentence):
        policy.layout(observation())


# --- answers


def test_every_end_token_ends_the_answer(tmp_path: Path, folders: dict[str, Path]) -> None:
    free = models.load(folders["qwen2 vl"]).predict(observation())
    folder = copied(folders["qwen2 vl"], tmp_path)
    third = int(free.tokens[2])
    edit(folder / "generation_config.json", lambda content: content["eos_token_id"].append(third))
    ended = models.load(folder).predict(observation())
    assert ended.tokens.tolist() == free.tokens[: free.tokens.tolist().index(third) + 1].tolist()
    last = ended.layout.spans[-1]
    assert (last.part, last.stop - last.start) == (Part.SPECIAL, 1)
    assert ended.rationale is not None
    assert list(ended.rationale.parts) == ["text"]
    assert ended.text.split() == list(ended.token_texts[:-1])


def test_ends_are_read_from_config_where_generation_config_is_absent(tmp_path: Path, folders: dict[str, Path]) -> None:
    folder = copied(folders["llava"], tmp_path)
    (folder / "generation_config.json").unlink()
    here, there = (models.load(each).predict(observation()) for each in (folder, folders["llava"]))
    np.testing.assert_array_equal(here.tokens, there.tokens)
    edit(folder / "config.json", lambda content: content["text_config"].pop("eos_token_id"))
    default = models.load(folder).predict(observation())
    np.testing.assert_array_equal(default.tokens, there.tokens, "transformers' own default for llama is 2 as well")
    edit(folder / "config.json", lambda content: content["text_config"].update(eos_token_id=None))
    with pytest.raises(UserError, match=r"neither generation_config.json nor config.json has an eos_token_id"):
        models.load(folder)


def test_banned_words_are_never_said(tmp_path: Path, folders: dict[str, Path]) -> None:
    free = models.load(folders["idefics3"]).predict(observation())
    folder, first = copied(folders["idefics3"], tmp_path), int(free.tokens[0])
    edit(folder / "generation_config.json", lambda content: content["bad_words_ids"].append([first]))
    assert first not in models.load(folder).predict(observation()).tokens


def test_forced_text_ends_as_an_answer_does(folders: dict[str, Path]) -> None:
    policy = models.load(folders["smolvlm"])
    said = policy.predict(observation(), Capture(), force=Rationale({"text": "the carrot is near"}))
    assert said.token_texts == ("the", "carrot", "is", "near", "<end_of_utterance>")
    assert said.text == "the carrot is near"
    assert said.attention[0].produced == (0, 1, 2, 3)
    nothing = policy.predict(observation(), force="")
    assert (nothing.token_texts, nothing.rationale) == (("<end_of_utterance>",), None)
    long = policy.predict(observation(), force="up " * (MOST_NEW_TOKENS + 3))
    assert len(long.tokens) == MOST_NEW_TOKENS + 3


@pytest.mark.parametrize(
    ("force", "sentence"),
    [
        ("up <end_of_utterance> down", "rationale contains '<end_of_utterance>', a control token"),
        (Rationale({"plan": "up", "move": "down"}), "one text without parts; the rationale has plan, move"),
        ("up " * 3000, "the model has 2048 positions"),
    ],
)
def test_refuses_a_forced_text(force: Rationale | str, sentence: str, folders: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=sentence):
        models.load(folders["smolvlm"]).predict(observation(), force=force)


@pytest.mark.parametrize("case", [case for case in WRITERS if not case.startswith("qwen")])
def test_teacher_forcing_gives_the_same_log_probabilities(case: str, folders: dict[str, Path]) -> None:
    policy = models.load(folders[case])
    assert isinstance(policy, Differentiable)
    prediction = policy.predict(observation())
    embedded = policy.embed(observation()).clone().requires_grad_()
    found = policy.log_probabilities(embedded, prediction.tokens.tolist())
    taken = found[torch.arange(len(prediction.tokens)), torch.from_numpy(prediction.tokens)]
    np.testing.assert_allclose(taken.detach().numpy(), prediction.token_logprobs, atol=1e-4)
    taken.sum().backward()
    assert embedded.grad is not None
    strength = embedded.grad[0].norm(dim=-1)
    assert strength.shape == (len(policy.layout(observation()).tokens),)
    assert (strength[torch.from_numpy(policy.layout(observation()).positions(Part.IMAGE))] > 0).all()


def test_positions_on_a_grid_are_not_in_the_embeddings(folders: dict[str, Path]) -> None:
    assert not isinstance(models.load(folders["qwen2 vl"]), Differentiable)


def test_pictures_are_read_alike_alone_and_together(folders: dict[str, Path]) -> None:
    policy: Any = models.load(folders["idefics3"])
    frames = {name: observation(seed, height=64 + 80 * seed).images["image"] for seed, name in enumerate("ab")}
    _, pictures = policy._read(Observation(frames, "up"))
    _, alone = policy._read(Observation({"b": frames["b"]}, "up"))
    with torch.inference_mode():
        left, right = (features(policy.model, each, None)[0] for each in (pictures[1], alone[0]))
    assert torch.equal(left, right)


# --- what it refuses


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (replace(observation(), images={}), "reads images, and the observation has none"),
        (replace(observation(), images={"a": np.zeros((0, 4, 3), np.uint8)}), "the image has no pixels"),
        (replace(observation(), images={"a": np.zeros((1, 900, 3), np.uint8)}), "of 1 x 900 pixels cannot be prepared"),
        (replace(observation(), instruction="put <|image_pad|> down"), "contains '<|image_pad|>', which is a control"),
        (replace(observation(), instruction="x" * 5000), "5000 characters; at most 4000"),
        (replace(observation(), instruction="up " * 1300), "the model has 2048 positions"),
    ],
)
def test_refuses_what_it_cannot_read(seen: Observation, sentence: str, tmp_path: Path) -> None:
    policy = models.load(write_qwen(tmp_path / "it"))
    if "2048" in sentence:
        seen = replace(seen, images={str(index): seen.images["image"] for index in range(60)})
    with pytest.raises(UserError, match=sentence.replace("|", r"\|")):
        policy.predict(seen)


def test_a_tower_of_windows_looks_within_them(folders: dict[str, Path]) -> None:
    """Qwen2.5-VL: all layers but one see squares of four by four patches."""
    policy = models.load(folders["qwen2.5 vl"])
    record = next(each for each in policy.predict(observation(), Capture(vision=True)).attention if "vi" in each.stream)
    grid = record.layout.spans[0].grid
    assert grid is not None
    places = np.arange(grid.rows * grid.columns)
    windows = places // grid.columns // 4 * grid.columns + places % grid.columns // 4
    together = windows[:, None] == windows
    for layer, weights in enumerate(record.weights):
        assert (weights > 0).all(0).tolist() == (together | (layer == 1)).tolist()


def test_a_kind_without_a_test_is_refused_with_the_list(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(folders["llava"], tmp_path)
    edit(folder / "config.json", lambda content: content.update(model_type="fuyu"))
    with pytest.raises(UserError, match=r"model_type is 'fuyu'.*llava"):
        models.inspect(folder)
    with pytest.raises(UserError, match="model_type is 'fuyu'; the vision-language models that can be opened are"):
        models.inspect(folder, family="vlm")


@pytest.mark.parametrize("case", WRITERS)
def test_a_tensor_that_is_not_there_is_named(case: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(folders[case], tmp_path)
    tensors = load_file(folder / "model.safetensors")
    name = next(each for each in sorted(tensors) if "vis" in each and each.endswith("weight"))
    save_file({each: tensor for each, tensor in tensors.items() if each != name}, folder / "model.safetensors")
    ending = name.partition(".")[2].removeprefix("vision_model.").replace(".", r"\.")
    with pytest.raises(UserError, match=rf"lack the tensor \S+{ending}$"):
        models.load(folder)


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("preprocessor_config.json", lambda each: each.update(patch_size=16), r"\(16, 2, 2\) for the image processor"),
        ("config.json", lambda each: each.update(image_token_id=5000), "names token 5000 for images"),
        ("generation_config.json", lambda each: each.update(eos_token_id="no"), "eos_token_id is 'no', expected a"),
        ("generation_config.json", lambda each: each.update(repetition_penalty=0), "repetition_penalty is 0.0"),
        ("generation_config.json", lambda each: each.update(bad_words_ids=[3]), "expected a list of lists"),
        ("tokenizer_config.json", lambda each: each.update(chat_template=3), "chat_template is 3, expected text"),
        ("tokenizer.json", lambda each: each.pop("model"), "no tokenizer that can be read"),
        (
            "preprocessor_config.json",
            lambda each: each.update(size=3, min_pixels="a"),
            "how images are prepared|cannot",
        ),
    ],
)
def test_broken_files_are_named(
    file: str, change: Callable[[dict[str, Any]], object], sentence: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copied(folders["qwen2 vl"], tmp_path)
    edit(folder / file, change)
    with pytest.raises(UserError, match=sentence):
        models.load(folder).predict(observation())


@pytest.mark.parametrize("missing", ["preprocessor_config.json", "tokenizer.json"])
@pytest.mark.parametrize("case", ["paligemma", "smolvlm", "qwen2 vl", "llava next"])
def test_missing_files_are_named(case: str, missing: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(folders[case], tmp_path)
    (folder / missing).unlink()
    with pytest.raises(UserError, match="tokenizer" if "tokenizer" in missing else "how images are prepared"):
        models.load(folder)


def test_action_tokens_that_are_not_read_are_told(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(folders["paligemma"], tmp_path)
    edit(folder / "config.json", lambda content: content.update(action_token_begin_idx=50))
    assert "not supported: only the text is shown" in models.inspect(folder).notes["actions"]


def test_only_what_is_there_is_called_unused(folders: dict[str, Path]) -> None:
    assert set(models.inspect(folders["llava"]).unused) == {"*.position_ids"}
    assert not models.inspect(folders["smolvlm"]).unused


def test_code_in_the_folder_is_never_run(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(folders["smolvlm"], tmp_path)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    names = ("AutoConfig", "AutoProcessor", "AutoTokenizer", "AutoModelForImageTextToText", "AutoImageProcessor")
    for file in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        edit(folder / file, lambda content: content.update(auto_map=dict.fromkeys(names, "evil.Evil")))
    try:
        policy: Policy | None = models.load(folder)
    except UserError:
        policy = None
    assert not (tmp_path / "ran").exists()
    if policy is not None:
        assert "never run" in policy.info.notes["auto_map"]


def test_a_full_class_token_is_a_position_of_its_own(tmp_path: Path) -> None:
    folder = write_llava(tmp_path / "it")
    edit(folder / "config.json", lambda content: content.update(vision_feature_select_strategy="full"))
    layout = models.load(folder).layout(observation())
    assert ("special", "cls", 1) in parts(layout.spans)
    assert ("image", "image", 16) in parts(layout.spans)
    models.load(folder).predict(observation())


def test_canvases_of_processor_and_model_agree(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(folders["llava next"], tmp_path)
    edit(folder / "preprocessor_config.json", lambda content: content.update(image_grid_pinpoints=[[56, 56]]))
    with pytest.raises(UserError, match="image_grid_pinpoints of the image processor are not those"):
        models.load(folder)


def test_pictures_name_a_tower_that_drops_a_patch(tmp_path: Path) -> None:
    folder = write_paligemma(tmp_path / "it")
    files = CheckpointFiles.open(folder)
    config = AutoConfig.from_pretrained(folder)
    config.vision_feature_select_strategy = "default"
    with pytest.raises(UserError, match="a patch would be missing"):
        VLM_KINDS["paligemma"].pictures(files, config, "<image>")


def test_half_precision(tmp_path: Path) -> None:
    policy = models.load(write_tiled(tmp_path / "it"), dtype="bfloat16")
    record = policy.predict(observation(), Capture(vision=True)).attention[0]
    assert record.weights.dtype == np.float32
    np.testing.assert_allclose(record.weights.sum(-1), 1, atol=1e-5)
