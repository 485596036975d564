"""Vision-language models against transformers' own processors, generate() and eager attention, kind by kind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForImageTextToText, AutoTokenizer
from transformers.masking_utils import sdpa_mask
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor
from transformers.models.llava.processing_llava import LlavaProcessor
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
from transformers.models.paligemma.processing_paligemma import PaliGemmaProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

import models
from models.families.vlm import MOST_NEW_TOKENS
from models.policy import Policy
from models.types import Capture, Observation, Part, Prediction
from tests.contracts.policy_cases import observation
from tests.tiny_vlm import QWEN_TEMPLATE, SMOLVLM_TEMPLATE, WRITERS, write_qwen

pytestmark = pytest.mark.slow  # together more than make check has time for

EVERYTHING = Capture(queries=tuple(Part), prefix=True)
MAPS = "vla_lens_test_maps"
PUBLISHED = "published paligemma 2"  # its own layout of tensor names, Gemma's own tokenizer
BYTES = partial(write_qwen, bytes_=True, flat=False)
KINDS: dict[str, Callable[[Path], Path]] = {**WRITERS, "qwen2 vl, bytes": BYTES}


def seen(cameras: int) -> Observation:
    """Frames of different shapes, wide, tall, small."""
    frames = [observation(seed, height=height).images["image"] for seed, height in enumerate((96, 200, 60))]
    return Observation({f"camera {index}": frame for index, frame in enumerate(frames[:cameras])}, "put the spoon down")


def inputs(folder: Path, asked: Observation) -> dict[str, Tensor]:
    """What transformers' own processors make of it. Those with a video part cannot be built without torchvision."""
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    images = [Image.fromarray(frame) for frame in asked.images.values()]
    if kind == "paligemma":
        processor = PaliGemmaProcessor(SiglipImageProcessorPil.from_pretrained(folder), tokenizer)
        made = processor(images=[images], text="<image>" * len(images) + asked.instruction, return_tensors="pt")
        return {name: made[name] for name in ("input_ids", "attention_mask", "token_type_ids", "pixel_values")}
    if kind.startswith("llava"):
        text = "USER: " + "<image>\n" * len(images) + f"{asked.instruction} ASSISTANT:"
        reads = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
        if kind == "llava":
            llava: Any = LlavaProcessor(CLIPImageProcessorPil.from_pretrained(folder), tokenizer, **reads)
        else:
            llava = LlavaNextProcessor(LlavaNextImageProcessorPil.from_pretrained(folder), tokenizer, **reads)
        return dict(llava(images=images, text=text, return_tensors="pt"))
    content = [*({"type": "image"} for _ in images), {"type": "text", "text": asked.instruction}]
    template = QWEN_TEMPLATE if kind.startswith("qwen") else SMOLVLM_TEMPLATE
    chat: dict[str, Any] = {"tokenize": False, "add_generation_prompt": True, "chat_template": template}
    text = tokenizer.apply_chat_template([{"role": "user", "content": content}], **chat)
    if kind.startswith("qwen"):
        return qwen_inputs(folder, tokenizer, text, images)
    if not (folder / "chat_template.jinja").exists():
        text = "<image>" * len(images) + asked.instruction
    tiles = {"smolvlm": SmolVLMImageProcessorPil, "idefics3": Idefics3ImageProcessorPil}[kind]
    tiled = Idefics3Processor(tiles.from_pretrained(folder), tokenizer, image_seq_len=4)
    return dict(tiled(images=[images], text=[text], return_tensors="pt", add_special_tokens=False))


def qwen_inputs(folder: Path, tokenizer: Any, text: str, images: list[Image.Image]) -> dict[str, Tensor]:
    made = Qwen2VLImageProcessorPil.from_pretrained(folder)(images, return_tensors="pt")
    for grid in made["image_grid_thw"]:
        text = text.replace("<|image_pad|>", "<|placeholder|>" * (int(grid.prod()) // 4), 1)
    ids = tokenizer(text.replace("<|placeholder|>", "<|image_pad|>"), return_tensors="pt")
    kinds = (ids["input_ids"] == tokenizer.convert_tokens_to_ids("<|image_pad|>")).int()
    return {"input_ids": ids["input_ids"], "attention_mask": ids["attention_mask"], "mm_token_type_ids": kinds, **made}


@dataclass(frozen=True)
class Run:
    kind: str
    folder: Path
    policy: Policy
    asked: Observation
    said: Prediction
    read: dict[str, Tensor]
    reference: Any  # what generate() returns


def eager_model(folder: Path) -> Any:
    auto: Any = AutoModelForImageTextToText
    return auto.from_pretrained(folder, attn_implementation="eager").eval()


RUNS = [(kind, cameras) for kind in (*KINDS, PUBLISHED) for cameras in (1, 3)]


@pytest.fixture(scope="module", params=RUNS, ids=str)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    kind, cameras = request.param
    folder = tmp_path_factory.mktemp("checkpoint") / "it"
    if kind == PUBLISHED:
        kit = request.getfixturevalue("shared_data") / "checkpoints"
        made = [sys.executable, kit / "materialize.py", kit / "paligemma2-tiny-hubkeys", folder.parent]
        subprocess.run(made, check=True, capture_output=True)
        folder = folder.parent / "paligemma2-tiny-hubkeys"
    else:
        KINDS[kind](folder)
    policy, asked = models.load(folder), seen(cameras)
    read = inputs(folder, asked)
    model = eager_model(folder)
    keep = {"return_dict_in_generate": True, "output_attentions": True, "output_logits": True}
    reference = model.generate(**read, do_sample=False, max_new_tokens=MOST_NEW_TOKENS, **keep)
    return Run(kind, folder, policy, asked, policy.predict(asked, EVERYTHING), read, reference)


def test_reads_the_ids_that_the_processor_makes(run: Run) -> None:
    prompt = len(run.said.layout.tokens) - len(run.said.tokens)
    assert run.read["input_ids"].shape == (1, prompt)
    token = json.loads((run.folder / "config.json").read_text())
    image = token.get("image_token_id", token.get("image_token_index"))
    images = run.said.layout.positions(Part.IMAGE)
    assert set(images) <= set(np.flatnonzero(run.read["input_ids"][0] == image))
    markers = [span for span in run.said.layout.spans if span.name == "row ends"]
    assert len(images) + len(markers) == int((run.read["input_ids"] == image).sum())


def test_says_what_generate_says(run: Run) -> None:
    prompt = run.read["input_ids"].shape[1]
    np.testing.assert_array_equal(run.said.tokens, run.reference.sequences[0, prompt:].numpy())
    logprobs = torch.log_softmax(torch.cat(run.reference.logits).double(), -1).numpy()
    taken = logprobs[np.arange(len(run.said.tokens)), run.said.tokens]
    np.testing.assert_allclose(run.said.token_logprobs, taken, atol=1e-4)
    if run.kind != PUBLISHED:
        assert len(set(run.said.tokens.tolist())) > 3, "one token for ever would agree by chance"


def test_rows_equal_eager_maps_of_prompt_and_every_step(run: Run) -> None:
    record = run.said.attention[0]
    total, read = record.weights.shape[3], 0
    blocks = []
    for step in run.reference.attentions:
        read += step[0].shape[2]
        blocks.append(np.stack([on_all_positions(layer[0].float().numpy(), read, total) for layer in step]))
    reference = np.concatenate(blocks, axis=2)
    assert record.weights.shape == reference.shape
    np.testing.assert_allclose(record.weights, reference, atol=1e-5)
    assert record.weights.std(-1).max() > 3 / total, "flat maps would agree with anything"


def on_all_positions(rows: np.ndarray, read: int, total: int) -> np.ndarray:
    keys = rows.shape[-1]  # a sliding layer's cache has dropped the oldest
    return np.pad(rows, ((0, 0), (0, 0), (read - keys, total - read)))


def test_rows_of_the_vision_tower_equal_its_maps(run: Run, maps: dict[Any, list[Tensor]]) -> None:
    """All pictures in one batch, as generate() reads them; ours are read one by one."""
    records = [
        each for each in run.policy.predict(run.asked, Capture(vision=True)).attention if each.stream == "vision"
    ]
    model = AutoModelForImageTextToText.from_pretrained(run.folder, attn_implementation=MAPS).eval()
    names = ("pixel_values", "image_grid_thw", "image_sizes", "pixel_attention_mask")
    with torch.inference_mode():
        model.get_image_features(**{name: run.read[name] for name in names if name in run.read})
    layers = [maps[module] for _, module in model.named_modules() if module in maps]
    assert len(layers) == run.policy.info.vision_layers
    qwen = "qwen" in type(model).__name__.lower()
    samples = [
        side_by_side(layer, records) if qwen else [each for batch in layer for each in batch] for layer in layers
    ]
    for index, record in enumerate(records):
        expected = np.stack([layer[index].numpy() for layer in samples])
        if qwen:
            order = squares(record.layout.spans[0].grid, windows="2_5" in type(model).__name__)
            expected = expected[:, :, order][:, :, :, order]
        np.testing.assert_allclose(record.weights, expected, atol=1e-5)
        assert record.weights.std(-1).max() > 1 / len(record.layout.tokens), "flat maps would agree with anything"


def side_by_side(calls: list[Tensor], records: list[Any]) -> list[Tensor]:
    """Qwen's attention is called once an image or window, in order: each image's map, zero between windows."""
    whole = [torch.block_diag(*(call[0, head] for call in calls)) for head in range(calls[0].shape[1])]
    stops = np.cumsum([len(record.layout.tokens) for record in records])
    maps = torch.stack(whole)
    return [maps[:, start:stop, start:stop] for start, stop in zip((0, *stops), stops, strict=False)]


def squares(grid: Any, windows: bool) -> list[int]:
    """Where the tower keeps each patch: windows of four by four, in them squares of two by two."""

    def place(index: int) -> tuple[int, ...]:
        row, column = divmod(index, grid.columns)
        window = (row // 4, column // 4) if windows else ()
        return (*window, row // 2, column // 2, row, column)

    kept = sorted(range(grid.rows * grid.columns), key=place)
    return [kept.index(index) for index in range(len(kept))]


@pytest.fixture
def maps() -> Iterator[dict[Any, list[Tensor]]]:
    """Whole maps of the modules that run, by another way than ours."""
    kept: dict[Any, list[Tensor]] = {}

    def attention(
        module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, scaling: float, **_: Any
    ) -> Any:
        assert attention_mask is None
        weights = torch.softmax(query @ key.transpose(2, 3) * scaling, dim=-1)
        kept.setdefault(module, []).append(weights)
        return (weights @ value).transpose(1, 2).contiguous(), weights

    AttentionInterface.register(MAPS, attention)
    AttentionMaskInterface.register(MAPS, sdpa_mask)
    yield kept
    kept.clear()
