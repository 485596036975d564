"""Captured rows against transformers' own eager maps: prefill, every decode step, every layer and head, both towers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, DynamicCache, PaliGemmaForConditionalGeneration, SiglipVisionModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

import models
from models.capture import LANGUAGE, ROW_ATTENTION, RowCollector, Rows, attention_sites, collecting
from models.types import Capture, Part, Prediction
from tests.contracts.policy_cases import CASES, observation
from tests.tiny_checkpoints import STATE_HIGH, STATE_LOW, write_action_token_paligemma

PALIGEMMAS = [case for case, (family, _) in CASES.items() if family == "paligemma"]
EVERYTHING = Capture(queries=tuple(Part), prefix=True, vision=True)


@dataclass(frozen=True)
class Reference:
    """The same run by another way: transformers' processors, a replay step by step, output_attentions=True."""

    rows: np.ndarray  # L A Q K
    logprobs: np.ndarray  # N V: what every generated token was taken from
    vision: np.ndarray


def prompt_ids(folder: Path, seen, image_tokens: int, has_state: bool) -> list[int]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    low, high = np.array(STATE_LOW), np.array(STATE_HIGH)
    bins = np.round((seen.state - low) / (high - low) * 127).astype(int)
    state = " " + " ".join(f"<s{number:03d}>" for number in bins) if has_state else ""
    words = tokenizer(seen.instruction.lower() + state, add_special_tokens=False)["input_ids"]
    return [tokenizer.convert_tokens_to_ids("<image>")] * image_tokens + [tokenizer.bos_token_id, *words]


def pixels(folder: Path, seen) -> Tensor:
    frame = Image.fromarray(seen.images["image"])
    return SiglipImageProcessorPil.from_pretrained(folder)(frame, return_tensors="pt")["pixel_values"]


@torch.inference_mode()
def replay(folder: Path, seen, tokens: np.ndarray, has_state: bool, attention: str = "eager") -> Reference:
    model = PaliGemmaForConditionalGeneration.from_pretrained(folder, attn_implementation=attention).eval()
    ids = torch.tensor([prompt_ids(folder, seen, model.config.text_config.num_image_tokens, has_state)])
    cache = DynamicCache(config=model.config.text_config)
    steps = [{"input_ids": ids, "token_type_ids": torch.zeros_like(ids), "pixel_values": pixels(folder, seen)}]
    steps += [{"input_ids": torch.tensor([[token]])} for token in tokens[:-1]]
    total = ids.shape[1] + len(tokens)
    blocks, logprobs, read = [], [], 0
    for step in steps:
        output = model(**step, past_key_values=cache, output_attentions=attention == "eager")
        read += step["input_ids"].shape[1]
        logprobs.append(torch.log_softmax(output.logits[0, -1], -1).numpy())
        if attention == "eager":
            blocks.append(np.stack([on_all_positions(each[0].numpy(), read, total) for each in output.attentions]))
    tower: SiglipVisionModel = model.model.vision_tower
    vision = tower(pixels(folder, seen), output_attentions=True).attentions if attention == "eager" else ()
    rows = np.concatenate(blocks, axis=2) if blocks else np.zeros(0)
    return Reference(
        rows, np.stack(logprobs), np.stack([each[0].numpy() for each in vision]) if vision else np.zeros(0)
    )


def on_all_positions(rows: np.ndarray, read: int, total: int) -> np.ndarray:
    keys = rows.shape[-1]  # a sliding layer's cache has dropped the oldest
    return np.pad(rows, ((0, 0), (0, 0), (read - keys, total - read)))


@pytest.fixture(scope="module", params=PALIGEMMAS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Prediction, bool]:
    folder = CASES[request.param][1](tmp_path_factory.mktemp("checkpoint") / "it")
    policy = models.load(folder)
    return folder, policy.predict(observation(), EVERYTHING), bool(policy.info.state_names)


@pytest.mark.slow
def test_rows_equal_eager_maps(run: tuple[Path, Prediction, bool]) -> None:
    folder, prediction, has_state = run
    reference = replay(folder, observation(), prediction.tokens, has_state)
    record, vision = prediction.attention
    assert record.weights.shape == reference.rows.shape
    np.testing.assert_allclose(record.weights, reference.rows, atol=1e-5)
    np.testing.assert_allclose(vision.weights, reference.vision, atol=1e-5)
    assert record.weights.std(-1).max() > 0.05, "flat maps would agree with anything"


@pytest.mark.slow
def test_log_probabilities_equal_plain_attention(run: tuple[Path, Prediction, bool]) -> None:
    folder, prediction, has_state = run
    soft_capped = "gemma2" in (folder / "config.json").read_text()
    reference = replay(folder, observation(), prediction.tokens, has_state, "eager" if soft_capped else "sdpa")
    taken = reference.logprobs[np.arange(len(prediction.tokens)), prediction.tokens]
    np.testing.assert_allclose(prediction.token_logprobs, taken, atol=1e-5 if not soft_capped else 1e-4)
    for each in prediction.action_distribution:
        bins = reference.logprobs[each.token][prediction.tokens[each.token] - each.probabilities.argmax() :]
        bins = np.exp(bins[: len(each.probabilities)].astype(np.float64))
        np.testing.assert_allclose(each.probabilities, bins / bins.sum(), atol=1e-5)
        assert each.mass == pytest.approx(bins.sum(), abs=1e-5)


@pytest.mark.slow
def test_left_padding_and_batches(tmp_path: Path) -> None:
    """Rows of a padded batch; positions that are padding themselves look nowhere and are zero."""
    folder = write_action_token_paligemma(tmp_path, rationale=False, kv_heads=2)
    ids = torch.tensor([[0, 0, 0, 1, 410, 420, 430], [1, 411, 421, 431, 441, 451, 415]])
    inputs = {"input_ids": ids, "attention_mask": (ids != 0).long(), "token_type_ids": torch.ones_like(ids)}
    ours = PaliGemmaForConditionalGeneration.from_pretrained(folder, attn_implementation=ROW_ATTENTION).eval()
    eager = PaliGemmaForConditionalGeneration.from_pretrained(folder, attn_implementation="eager").eval()
    sites = attention_sites(ours, {LANGUAGE: r"language_model\.layers\.(\d+)\.self_attn$"})
    collector = RowCollector(sites, {LANGUAGE: Rows(7, 7)})
    collector.expect(slice(0, None), 7)
    with torch.inference_mode(), collecting(collector):
        logits = ours(**inputs).logits
    with torch.inference_mode():
        expected = eager(**inputs, output_attentions=True)
    for sample, first in ((0, 3), (1, 0)):
        maps = np.stack([each[sample].numpy() for each in expected.attentions])
        rows = collector.weights(LANGUAGE, 7, sample)
        np.testing.assert_allclose(rows[:, :, first:], maps[:, :, first:], atol=1e-5)
        assert not rows[:, :, :first].any()
        np.testing.assert_allclose(logits[sample, first:], expected.logits[sample, first:], atol=1e-4)


@pytest.mark.slow
def test_a_forward_without_collector_keeps_nothing(tmp_path: Path) -> None:
    policy = models.load(write_action_token_paligemma(tmp_path, rationale=False))
    sites = attention_sites(policy.model, {LANGUAGE: r"layers\.(\d+)\.self_attn$"})
    collector = RowCollector(sites, {LANGUAGE: Rows(100, 100)})
    policy.predict(observation())
    assert collector.layers(LANGUAGE) == ()


@pytest.mark.slow
def test_bfloat16_rows_are_float32_and_sum_to_one(tmp_path: Path) -> None:
    policy = models.load(write_action_token_paligemma(tmp_path, rationale=True), dtype="bfloat16")
    record = policy.predict(observation(), Capture()).attention[0]
    assert record.weights.dtype == np.float32
    np.testing.assert_allclose(record.weights.sum(-1), 1, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("case", PALIGEMMAS)
def test_rows_on_a_gpu_equal_those_on_the_cpu(case: str, tmp_path: Path) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    folder = CASES[case][1](tmp_path / "it")
    there = models.load(folder, device="cuda").predict(observation(), EVERYTHING)
    here = models.load(folder).predict(observation(), EVERYTHING)
    np.testing.assert_array_equal(there.tokens, here.tokens)
    for one, other in zip(there.attention, here.attention, strict=True):
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-4)
