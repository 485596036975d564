"""Gradient methods against independent ways to the same numbers: eager attention, autograd by hand, completeness."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import LayerGradientXActivation
from transformers import PaliGemmaForConditionalGeneration

import models
from analysis.attribution.attention_gradient import AttentionGradient
from analysis.attribution.explained import Explained, gradient
from analysis.attribution.input_gradient import InputGradient
from analysis.attribution.integrated_gradients import IntegratedGradients
from analysis.attribution.layer_gradient import LayerGradient
from analysis.attribution.relevancy import Relevancy
from analysis.attribution.saliency import Saliency
from analysis.attribution.target import Target
from models.decoder_layers import decoder_layers
from models.errors import UserError
from models.policy import ActionTokens, BatchScoring, Policy
from models.types import Observation, Part, Prediction
from tests.contracts.policy_cases import observation
from tests.tiny_checkpoints import write_action_token_paligemma


@dataclass(frozen=True)
class World:
    folder: Path
    policy: Policy
    seen: Observation
    said: Prediction


@pytest.fixture(scope="module", params=["gemma", pytest.param("gemma2", marks=pytest.mark.slow)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = write_action_token_paligemma(
        tmp_path_factory.mktemp("checkpoint") / "one", rationale=True, kv_heads=2, text=request.param
    )
    policy, seen = models.load(folder), observation()
    return World(folder, policy, seen, policy.predict(seen, force="<obs> the carrot"))


def targets(world: World) -> list[Target]:
    actions = [each.token for each in world.said.action_distribution]
    return [
        Target(tokens=(2,)),
        Target(tokens=tuple(actions[:2])),
        Target(action=world.said.action_names[3], scalar="action"),
        Target(action=world.said.action_names[1], scalar="log-probability"),
    ]


@dataclass(frozen=True)
class Eager:
    """The same forward with transformers' own eager attention: maps [L A K K] and the value's gradient in them."""

    maps: list[np.ndarray]
    slopes: list[np.ndarray]
    value: float
    queries: list[int]


def eager(world: World, target: Target) -> Eager:
    """Written without anything of the product's but the policy's embeddings and the ids of its bins."""
    model = PaliGemmaForConditionalGeneration.from_pretrained(world.folder, attn_implementation="eager").eval()
    policy, tokens = world.policy, torch.from_numpy(world.said.tokens)
    assert isinstance(policy, BatchScoring) and isinstance(policy, ActionTokens)
    with torch.no_grad():
        prompt = policy.embed(world.seen)
    whole = torch.cat([prompt, model.get_input_embeddings()(tokens[None, :-1])], dim=1).detach().requires_grad_(True)
    kinds = torch.zeros(whole.shape[:2], dtype=torch.long)
    kinds[:, prompt.shape[1] :] = 1
    output = model(inputs_embeds=whole, token_type_ids=kinds, output_attentions=True, use_cache=False)
    logprobs = torch.log_softmax(output.logits[0, prompt.shape[1] - 1 :].float(), dim=-1)
    if target.scalar == "action":
        bins = next(b for b in policy.action_bins(world.said) if b.name == target.action)
        rows = [bins.token]
        value = (torch.softmax(logprobs[bins.token, bins.ids], 0) * torch.from_numpy(bins.values).float()).sum()
    else:
        own = [d.token for d in world.said.action_distribution if d.name == target.action]
        rows = list(target.tokens) or own
        value = sum(logprobs[row, tokens[row]] for row in rows)
    slopes = torch.autograd.grad(value, output.attentions)
    return Eager(
        [each[0].detach().double().numpy() for each in output.attentions],
        [each[0].double().numpy() for each in slopes],
        float(value.detach()),
        [prompt.shape[1] - 1 + row for row in rows],
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", range(4))
def test_relevancy_and_attention_gradient_equal_an_eager_implementation(world: World, number: int) -> None:
    target = targets(world)[number]
    reference = eager(world, target)
    length = reference.maps[0].shape[1]
    relevance = np.eye(length)
    for maps, slopes in zip(reference.maps, reference.slopes, strict=True):
        relevance = relevance + np.maximum(maps * slopes, 0).mean(axis=0) @ relevance
    expected = (relevance - np.eye(length))[reference.queries].mean(axis=0)
    found = Relevancy()(world.policy, world.seen, target, prediction=world.said)
    np.testing.assert_allclose(found.scores[:length], expected, atol=1e-6 + 1e-4 * np.abs(expected).max())
    assert found.notes["value"] == pytest.approx(reference.value, abs=1e-4)
    assert expected.max() > 0

    products = np.stack([m * s for m, s in zip(reference.maps, reference.slopes, strict=True)])[:, :, reference.queries]
    signed = products.sum(axis=2).mean(axis=(0, 1))
    found = AttentionGradient()(world.policy, world.seen, target, prediction=world.said)
    np.testing.assert_allclose(found.scores[:length], signed, atol=1e-6 + 1e-4 * np.abs(signed).max())
    one = np.maximum(products, 0).sum(axis=2)[1, 0]
    method = AttentionGradient(keep="positive", layers=(1,), head=0)
    found = method(world.policy, world.seen, target, prediction=world.said)
    np.testing.assert_allclose(found.scores[:length], one, atol=1e-6 + 1e-4 * one.max())
    assert not found.signed and not found.scores[length:].any()


def test_relevancy_from_a_later_layer(world: World) -> None:
    target = targets(world)[0]
    reference = eager(world, target)
    top = np.maximum(reference.maps[-1] * reference.slopes[-1], 0).mean(axis=0)[reference.queries].mean(axis=0)
    method = Relevancy(first_layer=len(reference.maps) - 1)
    found = method(world.policy, world.seen, target, prediction=world.said)
    np.testing.assert_allclose(found.scores[: len(top)], top, atol=1e-6 + 1e-4 * top.max())
    with pytest.raises(UserError, match="no layer 99"):
        Relevancy(first_layer=99)(world.policy, world.seen, target, prediction=world.said)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(4))
def test_saliency_and_input_gradient_equal_autograd(world: World, number: int) -> None:
    target = targets(world)[number]
    explained = Explained(world.policy, world.seen, world.said, target)
    slope, _ = gradient(explained, explained.inputs)
    length = explained.inputs.shape[1]
    told = {"prediction": world.said}
    found = Saliency()(world.policy, world.seen, target, **told).scores[:length]
    np.testing.assert_allclose(found, slope[0].norm(dim=1).numpy(), rtol=1e-4)
    found = Saliency(norm="L1")(world.policy, world.seen, target, **told).scores[:length]
    np.testing.assert_allclose(found, slope[0].abs().sum(dim=1).numpy(), rtol=1e-4)
    found = InputGradient()(world.policy, world.seen, target, **told).scores[:length]
    np.testing.assert_allclose(found, (slope * explained.inputs)[0].sum(dim=1).numpy(), atol=1e-5)
    assert all(parameter.grad is None for parameter in world.policy.model.parameters()), "weights gathered gradients"


@pytest.mark.slow
@pytest.mark.parametrize("baseline", ["mean embedding", "blurred image"])
def test_integrated_gradients_add_up(world: World, baseline: str) -> None:
    target = targets(world)[3]
    method = IntegratedGradients(baseline=baseline, steps=60)
    found = method(world.policy, world.seen, target, prediction=world.said)
    change = found.notes["value"] - found.notes["value at the baseline"]
    assert found.convergence_delta is not None
    assert found.scores.sum() - change == pytest.approx(found.convergence_delta, abs=1e-4)
    assert abs(found.convergence_delta) < 0.02 * abs(change) + 1e-3
    elsewhere = np.ones(len(found.scores), bool)
    elsewhere[world.said.layout.positions(Part.IMAGE)] = False
    assert found.scores[elsewhere].any() == (baseline == "mean embedding")
    assert not found.scores[world.said.layout.tokens.index("<bos>")]


def test_a_rationale_word_can_be_what_speaks_for_an_action(world: World) -> None:
    spoken = world.said.layout.positions(Part.RATIONALE)
    found = InputGradient()(world.policy, world.seen, targets(world)[2], prediction=world.said)
    assert found.scores[spoken].any()


def test_layer_gradient_equals_captum_summed_over_channels(world: World) -> None:
    target = targets(world)[3]
    explained = Explained(world.policy, world.seen, world.said, target)
    layer = decoder_layers(world.policy)[1]
    reference = LayerGradientXActivation(explained, layer).attribute(explained.inputs.clone().requires_grad_(True))
    reference = reference[0] if isinstance(reference, tuple) else reference
    found = LayerGradient(layer=1)(world.policy, world.seen, target, prediction=world.said)
    expected = reference[0].sum(dim=1).detach().numpy()
    np.testing.assert_allclose(found.scores[: len(expected)], expected, atol=1e-5)
    with pytest.raises(UserError, match="no layer 9;"):
        LayerGradient(layer=9)(world.policy, world.seen, target, prediction=world.said)


def test_the_whole_action_is_no_single_number(world: World) -> None:
    with pytest.raises(UserError, match="one number"):
        Saliency()(world.policy, world.seen, Target(scalar="action"), prediction=world.said)
    with pytest.raises(UserError, match="stands for no value"):
        Saliency()(world.policy, world.seen, Target(tokens=(1,), scalar="action"), prediction=world.said)
    with pytest.raises(UserError, match="there is no action dimension 'warp'"):
        Saliency()(world.policy, world.seen, Target(action="warp"), prediction=world.said)
