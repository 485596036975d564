"""Prompts of vision-language models, and where their image tokens lie on the frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import models
from models.errors import UserError
from models.types import Capture, Observation, Part, PatchGrid, Span
from tests.contracts.policy_cases import observation
from tests.tiny_vlm import WRITERS, edit, write_llava, write_qwen

LLAVA_TEMPLATE = (
    "{% for message in messages %}{{ message.role | upper + ': ' }}{% for each in message.content | selectattr('type', "
    "'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}{% for each in message.content | selectattr('type', 'equalto', "
    "'text') %}{{ each.text + ' ' }}{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def parts(spans: tuple[Span, ...]) -> list[tuple[str, str, int]]:
    return [(span.part.value, span.name, span.stop - span.start) for span in spans]


@pytest.mark.slow
@pytest.mark.parametrize("case", WRITERS)
def test_every_token_lies_where_it_looks(case: str, tiny_vlms: dict[str, Path]) -> None:
    """With a tower whose layers add nothing, a token knows its own patch alone: a spot there changes it most."""
    policy: Any = models.load(tiny_vlms[case])
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


def test_boxes_of_a_cropped_image(tiny_vlms: dict[str, Path]) -> None:
    layout = models.load(tiny_vlms["llava"]).layout(observation(height=96))
    grid = next(span.grid for span in layout.spans if span.grid is not None)
    assert grid is not None
    assert grid.box == pytest.approx((16, 0, 112, 96), abs=1), "LLaVA sees the square in the middle of 128 x 96"


def test_tiles_and_their_markers(tiny_vlms: dict[str, Path]) -> None:
    layout = models.load(tiny_vlms["smolvlm"]).layout(observation(height=96))
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


def test_image_tokens_follow_the_size_of_the_image(tiny_vlms: dict[str, Path]) -> None:
    policy = models.load(tiny_vlms["qwen2 vl"])
    layouts = [policy.layout(observation(height=height)) for height in (40, 96, 300)]
    grids = [span.grid for layout in layouts for span in layout.spans if span.grid is not None]
    assert [(grid.rows, grid.columns) for grid in grids] == [(1, 5), (3, 4), (5, 2)]


@pytest.mark.slow
def test_a_tower_of_windows_looks_within_them(tiny_vlms: dict[str, Path]) -> None:
    """Qwen2.5-VL: all layers but one see squares of four by four patches."""
    policy = models.load(tiny_vlms["qwen2.5 vl"])
    record = next(each for each in policy.predict(observation(), Capture(vision=True)).attention if "vi" in each.stream)
    grid = record.layout.spans[0].grid
    assert grid is not None
    places = np.arange(grid.rows * grid.columns)
    windows = places // grid.columns // 4 * grid.columns + places % grid.columns // 4
    together = windows[:, None] == windows
    for layer, weights in enumerate(record.weights):
        assert (weights > 0).all(0).tolist() == (together | (layer == 1)).tolist()


@pytest.mark.slow
def test_a_full_class_token_is_a_position_of_its_own(tmp_path: Path) -> None:
    folder = write_llava(tmp_path / "it")
    edit(folder / "config.json", lambda content: content.update(vision_feature_select_strategy="full"))
    layout = models.load(folder).layout(observation())
    assert ("special", "cls", 1) in parts(layout.spans)
    assert ("image", "image", 16) in parts(layout.spans)
    models.load(folder).predict(observation())


@pytest.mark.slow
def test_several_cameras_come_in_the_order_of_the_observation(tiny_vlms: dict[str, Path]) -> None:
    frames = {name: observation(seed).images["image"] for seed, name in enumerate(("wrist", "front"))}
    layout = models.load(tiny_vlms["paligemma"]).layout(Observation(frames, "move up"))
    assert parts(layout.spans) == [
        ("image", "wrist", 16),
        ("image", "front", 16),
        ("special", "<bos>", 1),
        ("instruction", "instruction", 2),
        ("prompt", "prompt", 1),
    ]
    assert layout.tokens[16] == "front 0,0"
    assert layout.tokens[-3:] == ("move", "up", "\\n")


def test_the_instruction_is_found_by_its_place_not_by_its_words(tiny_vlms: dict[str, Path]) -> None:
    layout = models.load(tiny_vlms["qwen2 vl"]).layout(observation(instruction="user assistant"))
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_an_unknown_word_is_still_the_instruction(tiny_vlms: dict[str, Path]) -> None:
    layout = models.load(tiny_vlms["smolvlm"]).layout(observation(instruction="put zwieback down"))
    span = next(span for span in layout.spans if span.part is Part.INSTRUCTION)
    assert layout.tokens[span.start : span.stop] == ("put", "zwieback (unknown)", "down")
