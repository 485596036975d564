"""Vision-language models beyond the contract: descriptions, answers, forced text, gradients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForImageTextToText

import models
from models.errors import UserError
from models.families.vlm import MOST_NEW_TOKENS
from models.families.vlm_kinds import VLM_KINDS
from models.families.vlm_spec import KINDS
from models.families.vlm_tower import features
from models.policy import Differentiable
from models.registry import FAMILIES
from models.types import Capture, Observation, Part, Rationale
from tests.contracts.policy_cases import observation
from tests.tiny_checkpoints import write_action_token_paligemma
from tests.tiny_vlm import WRITERS, copied, edit, write_tiled


def test_every_kind_is_registered() -> None:
    assert set(FAMILIES["vlm"].model_types) == set(KINDS) == set(VLM_KINDS)


@pytest.mark.slow
def test_paligemma_with_actions_is_another_family(tmp_path: Path, tiny_vlms: dict[str, Path]) -> None:
    assert models.inspect(tiny_vlms["paligemma"]).family == "vlm"
    robot = write_action_token_paligemma(tmp_path / "robot", rationale=False)
    assert models.inspect(robot).family == "paligemma"
    assert models.load(robot, family="vlm").predict(observation()).actions.shape == (0, 0)


@pytest.mark.parametrize("case", WRITERS)
def test_spec_is_what_transformers_reads(case: str, tiny_vlms: dict[str, Path]) -> None:
    spec = models.inspect(tiny_vlms[case])
    config = AutoConfig.from_pretrained(tiny_vlms[case])
    text, vision = config.get_text_config(), config.vision_config
    assert (spec.layers, spec.heads) == (text.num_hidden_layers, text.num_attention_heads)
    assert (spec.vision_layers, spec.vision_heads) == (vision.num_hidden_layers, vision.num_attention_heads)
    assert (spec.action_space, spec.action_stats, spec.generates_rationale) == (None, (), True)
    assert spec.patch_grid == ((4, 4) if case in ("paligemma", "paligemma 2", "llava") else (0, 0))


@pytest.mark.parametrize("case", WRITERS)
def test_what_a_configuration_leaves_out_is_transformers_own(
    case: str, tiny_vlms: dict[str, Path], tmp_path: Path
) -> None:
    """Hub files leave out what equals the defaults: LLaVA's names neither layers nor heads."""
    folder = copied(tiny_vlms[case], tmp_path)
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


def test_action_tokens_that_are_not_read_are_told(tiny_vlms: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(tiny_vlms["paligemma"], tmp_path)
    edit(folder / "config.json", lambda content: content.update(action_token_begin_idx=50))
    assert "not supported: only the text is shown" in models.inspect(folder).notes["actions"]


def test_only_what_is_there_is_called_unused(tiny_vlms: dict[str, Path]) -> None:
    assert set(models.inspect(tiny_vlms["llava"]).unused) == {"*.position_ids"}
    assert not models.inspect(tiny_vlms["smolvlm"]).unused


def test_every_end_token_ends_the_answer(tmp_path: Path, tiny_vlms: dict[str, Path]) -> None:
    free = models.load(tiny_vlms["qwen2 vl"]).predict(observation())
    folder = copied(tiny_vlms["qwen2 vl"], tmp_path)
    third = int(free.tokens[2])
    edit(folder / "generation_config.json", lambda content: content["eos_token_id"].append(third))
    ended = models.load(folder).predict(observation())
    assert ended.tokens.tolist() == free.tokens[: free.tokens.tolist().index(third) + 1].tolist()
    last = ended.layout.spans[-1]
    assert (last.part, last.stop - last.start) == (Part.SPECIAL, 1)
    assert ended.rationale is not None
    assert list(ended.rationale.parts) == ["text"]
    assert ended.text.split() == list(ended.token_texts[:-1])


@pytest.mark.slow
def test_ends_are_read_from_config_without_generation_config(tmp_path: Path, tiny_vlms: dict[str, Path]) -> None:
    folder = copied(tiny_vlms["llava"], tmp_path)
    (folder / "generation_config.json").unlink()
    here, there = (models.load(each).predict(observation()) for each in (folder, tiny_vlms["llava"]))
    np.testing.assert_array_equal(here.tokens, there.tokens)
    edit(folder / "config.json", lambda content: content["text_config"].pop("eos_token_id"))
    default = models.load(folder).predict(observation())
    np.testing.assert_array_equal(default.tokens, there.tokens, "transformers' own default for llama is 2 as well")
    edit(folder / "config.json", lambda content: content["text_config"].update(eos_token_id=None))
    with pytest.raises(UserError, match=r"neither generation_config.json nor config.json has an eos_token_id"):
        models.load(folder)


@pytest.mark.slow
def test_banned_words_are_never_said(tmp_path: Path, tiny_vlms: dict[str, Path]) -> None:
    free = models.load(tiny_vlms["idefics3"]).predict(observation())
    folder, first = copied(tiny_vlms["idefics3"], tmp_path), int(free.tokens[0])
    edit(folder / "generation_config.json", lambda content: content["bad_words_ids"].append([first]))
    assert first not in models.load(folder).predict(observation()).tokens


def test_forced_text_ends_as_an_answer_does(tiny_vlms: dict[str, Path]) -> None:
    policy = models.load(tiny_vlms["smolvlm"])
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
def test_refuses_a_forced_text(force: Rationale | str, sentence: str, tiny_vlms: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=sentence):
        models.load(tiny_vlms["smolvlm"]).predict(observation(), force=force)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in WRITERS if not case.startswith("qwen")])
def test_teacher_forcing_gives_the_same_log_probabilities(case: str, tiny_vlms: dict[str, Path]) -> None:
    policy = models.load(tiny_vlms[case])
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


def test_positions_on_a_grid_are_not_in_the_embeddings(tiny_vlms: dict[str, Path]) -> None:
    assert not isinstance(models.load(tiny_vlms["qwen2 vl"]), Differentiable)


def test_pictures_are_read_alike_alone_and_together(tiny_vlms: dict[str, Path]) -> None:
    policy: Any = models.load(tiny_vlms["idefics3"])
    frames = {name: observation(seed, height=64 + 80 * seed).images["image"] for seed, name in enumerate("ab")}
    _, pictures = policy._read(Observation(frames, "up"))
    _, alone = policy._read(Observation({"b": frames["b"]}, "up"))
    with torch.inference_mode():
        left, right = (features(policy.model, each, None)[0] for each in (pictures[1], alone[0]))
    assert torch.equal(left, right)


def test_half_precision(tmp_path: Path) -> None:
    policy = models.load(write_tiled(tmp_path / "it"), dtype="bfloat16")
    record = policy.predict(observation(), Capture(vision=True)).attention[0]
    assert record.weights.dtype == np.float32
    np.testing.assert_allclose(record.weights.sum(-1), 1, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["llava", "smolvlm", "qwen2 vl"])
def test_a_lora_adapter_is_its_merge(case: str, tiny_vlms: dict[str, Path], tmp_path: Path) -> None:
    """Its tensors are named as transformers' modules are, the base's as the hub's files are."""
    auto: Any = AutoModelForImageTextToText
    targets = LoraConfig(r=4, target_modules=r".*(language_model|text_model).*q_proj", init_lora_weights=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tuned = get_peft_model(auto.from_pretrained(tiny_vlms[case]), targets)
    tuned.save_pretrained(str(tmp_path / "adapter"))
    merged = copied(tiny_vlms[case], tmp_path)
    tuned.merge_and_unload().save_pretrained(merged)
    plain, whole = (models.load(folder).predict(observation()) for folder in (tiny_vlms[case], merged))
    adapted = models.load(tmp_path / "adapter", base=tiny_vlms[case]).predict(observation())
    np.testing.assert_array_equal(adapted.tokens, whole.tokens)
    np.testing.assert_allclose(adapted.token_logprobs, whole.token_logprobs, atol=1e-4)
    assert not np.array_equal(adapted.token_logprobs[:1], plain.token_logprobs[:1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("case", WRITERS)
def test_the_same_on_a_gpu(case: str, tiny_vlms: dict[str, Path]) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    asked = Capture(vision=True)
    there = models.load(tiny_vlms[case], device="cuda").predict(observation(), asked)
    here = models.load(tiny_vlms[case]).predict(observation(), asked)
    np.testing.assert_array_equal(there.tokens, here.tokens)
    for one, other in zip(there.attention, here.attention, strict=True):
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-4)
