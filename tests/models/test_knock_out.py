"""Knock-outs against the same model run eagerly with its masks edited by hand, in every family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import models
from models.errors import UserError
from models.families import smolvla_network
from models.knock_out import Cut, HeadCut, RouteCut, numbers
from models.policy import Knockable, Policy
from models.types import Capture, Observation, Part, Prediction, Rationale, TokenLayout
from tests.contracts.policy_cases import CASES, observation_for

EVERYTHING = Capture(queries=tuple(Part), prefix=True)
QUICK = ("grouped queries", "gemma 2", "SmolVLA")
LONG = [  # with the above, one of each code path
    "action first",
    "OpenVLA of one tower, letterboxed",
    "ECoT",
    "OpenVLA-OFT",
    "spatial, two depth heads",
    "spatial with words",
    "pi0 with statistics",
    *(case for case in CASES if case.startswith("VLM")),
]
TRIED = [*QUICK, *(pytest.param(case, marks=pytest.mark.slow) for case in LONG)]


@pytest.fixture(scope="module", params=TRIED)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Knockable, Policy]:
    """A policy, and the same to be run eagerly."""
    family, write = CASES[request.param]
    folder = write(tmp_path_factory.mktemp("checkpoint") / request.param)
    policy = models.load(folder, family=family)
    assert isinstance(policy, Knockable)
    return policy, models.load(folder, family=family)


def may_not(layout: TokenLayout, prompt: int, cut: RouteCut, shifted: bool) -> np.ndarray:
    """By the rules of `RouteCut`, position by position: bool [K, K]."""
    parts = [span.part for span in layout.spans for _ in range(span.start, span.stop)]
    names = [span.name for span in layout.spans for _ in range(span.start, span.stop)]
    closed = np.zeros((len(parts), len(parts)), bool)
    for query in range(len(parts)):
        made = parts[query + 1] if query + 1 < len(parts) else None
        if Part.ACTION not in parts and made is Part.SPECIAL and query >= prompt:
            made = Part.RATIONALE  # a describing model ends when it likes
        counts = {(parts[query], names[query])} if not shifted or query < prompt else set()
        counts |= {(made, names[min(query + 1, len(names) - 1)])} if shifted and query >= prompt - 1 else set()
        if any(part is cut.queries and cut.query_name in ("", name) for part, name in counts):
            closed[query] = [
                part is cut.keys and cut.key_name in ("", name) for part, name in zip(parts, names, strict=True)
            ]
    return closed


@contextmanager
def edited(policy: Policy, cuts: Sequence[Cut], layout: TokenLayout, prompt: int) -> Iterator[None]:
    """Eager attention whose additive masks, and inputs of output projections, are changed by hooks."""
    shifted = not policy.info.denoising_steps
    hooks = []
    for name, module in policy.model.named_modules():
        expert = ".dit." in f".{name}" or "lm_expert" in name
        if not name.endswith("self_attn") or "vision" in name or "visual" in name:
            continue
        layer = int(name.split(".")[-2])
        hooks.append(module.register_forward_pre_hook(masking(cuts, layer, layout, prompt, shifted), with_kwargs=True))
        stream = "action expert" if expert else "language"
        gone = [cut.head for cut in cuts if isinstance(cut, HeadCut) and (cut.layer, cut.stream) == (layer, stream)]
        hooks += [module.o_proj.register_forward_pre_hook(silencing(gone, module.head_dim))] if gone else []
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def masking(cuts: Sequence[Cut], layer: int, layout: TokenLayout, prompt: int, shifted: bool):
    def hook(module: nn.Module, args: tuple, kwargs: dict):
        hidden = args[0] if args else kwargs["hidden_states"]
        past = kwargs.get("past_key_values")
        start, rows = (past.get_seq_length(module.layer_idx) if past is not None else 0), hidden.shape[1]
        mask = kwargs.get("attention_mask")
        if mask is None:
            mask = torch.ones(1, 1, rows, start + rows, dtype=torch.bool).tril(start)
        if mask.dtype == torch.bool:
            mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
        kwargs["attention_mask"] = shut(mask.clone(), start, start + rows, cuts, layer, layout, prompt, shifted)
        return args, kwargs

    return hook


def shut(mask: Tensor, start: int, stop: int, cuts: Sequence[Cut], layer: int, layout, prompt, shifted) -> Tensor:
    for cut in cuts:
        if isinstance(cut, RouteCut) and (cut.layers is None or layer in cut.layers):
            first = stop - mask.shape[-1]
            closed = torch.from_numpy(may_not(layout, prompt, cut, shifted)[start:stop, first:stop])
            mask[:, :, closed] = torch.finfo(torch.float32).min
    return mask


def silencing(heads: Sequence[int], width: int):
    def hook(module: nn.Module, args: tuple[Tensor]):
        values = args[0].clone()
        for head in heads:
            values[..., head * width : (head + 1) * width] = 0
        return (values,)

    return hook


@contextmanager
def eagerly(policy: Policy, cuts: Sequence[Cut], layout: TokenLayout, prompt: int) -> Iterator[None]:
    if policy.info.family == "smolvla":
        with plain_smolvla(policy, cuts, layout, prompt):
            yield
        return
    towers = [module for module in policy.model.modules() if hasattr(module, "set_attn_implementation")]
    for each in towers:
        each.set_attn_implementation("eager")
    with edited(policy, cuts, layout, prompt):
        yield


@contextmanager
def plain_smolvla(policy: Policy, cuts: Sequence[Cut], layout: TokenLayout, prompt: int) -> Iterator[None]:
    """SmolVLA calls the attention function itself: a plain softmax in its place."""
    names = {module: name for name, module in policy.model.named_modules()}
    prefix = len(layout.tokens) - policy.info.action_space.chunk

    def attention(module, query, key, value, mask, scaling, is_causal):
        expert, layer = "lm_expert" in names[module], int(names[module].split(".")[-2])
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        rows, keys = query.shape[2], key.shape[2]
        allowed = torch.ones(1, 1, rows, keys, dtype=torch.bool) if mask is None else mask
        start = prefix if expert else 0
        for cut in cuts:
            if isinstance(cut, RouteCut) and (cut.layers is None or layer in cut.layers):
                closed = may_not(layout, prompt, cut, shifted=False)[start : start + rows, :keys]
                allowed = allowed & ~torch.from_numpy(closed)
        scores = (query @ key.transpose(2, 3) * scaling).masked_fill(~allowed, -torch.inf)
        output = torch.softmax(scores, -1) @ value
        for cut in cuts:
            stream = "action expert" if expert else "language"
            if isinstance(cut, HeadCut) and (cut.layer, cut.stream) == (layer, stream):
                output[:, cut.head] = 0
        return output.transpose(1, 2), None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smolvla_network, "row_attention", attention)
        yield


def routes(policy: Policy) -> list[Cut]:
    """What is cut of every kind of policy: what it writes from the image in one layer, from the words in another."""
    written = Part.ACTION if policy.info.action_space is not None else Part.RATIONALE
    last = (policy.info.expert_layers or policy.info.layers) - 1
    return [RouteCut(written, Part.IMAGE, layers=(0,)), RouteCut(written, Part.INSTRUCTION, layers=(last,))]


def equal(one: Prediction, other: Prediction) -> None:
    np.testing.assert_array_equal(one.tokens, other.tokens)
    np.testing.assert_allclose(one.token_logprobs, other.token_logprobs, atol=1e-5)
    np.testing.assert_allclose(one.actions, other.actions, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(one.action_distribution, other.action_distribution, strict=True):
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-5)


def forced(policy: Policy) -> str | None:
    return "the carrot" if policy.info.generates_rationale and policy.info.action_space is not None else None


@pytest.mark.slow
def test_a_cut_route_equals_an_edited_mask(pair: tuple[Knockable, Policy]) -> None:
    policy, eager = pair
    seen, cuts = observation_for(policy.info), routes(policy)
    ours = policy.predict_without(seen, cuts, EVERYTHING, force=forced(policy))
    prompt = len(policy.layout(seen).tokens)
    with eagerly(eager, cuts, ours.layout, prompt):
        equal(ours, eager.predict(seen, force=forced(policy)))
    plain = policy.predict(seen, force=forced(policy))
    assert not same_words(plain, ours), "the cut changed nothing"


def same_words(one: Prediction, other: Prediction) -> bool:
    return np.array_equal(one.token_logprobs, other.token_logprobs) and np.array_equal(one.actions, other.actions)


PARTS = {  # case -> what is forced, whose second part is cut
    "grouped queries": {"observation": "the carrot", "planning": "the plate"},
    "ECoT": {"task": "the carrot", "plan": "put it on the plate"},
    "spatial with words": {"observation": "the carrot", "planning": "put it on the plate"},
}


@pytest.mark.parametrize("case", ["grouped queries", *(pytest.param(c, marks=pytest.mark.slow) for c in [*PARTS][1:])])
def test_one_part_of_the_rationale_alone_is_cut(case: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    family, write = CASES[case]
    folder = write(tmp_path_factory.mktemp("parts") / case)
    policy, parts = models.load(folder, family=family), PARTS[case]
    seen, force, name = observation_for(policy.info), Rationale(parts), [*parts][1]
    first = case != "spatial with words"  # that one acts first: later words of the part look at earlier ones
    cut = RouteCut(Part.ACTION if first else Part.RATIONALE, Part.RATIONALE, key_name=name)
    cut = cut if first else replace(cut, query_name=name)
    ours = policy.predict_without(seen, [cut], EVERYTHING, force=force)
    assert {span.name for span in ours.layout.spans if span.part is Part.RATIONALE} >= set(parts)
    both = policy.predict_without(seen, [replace(cut, key_name="", query_name="")], force=force)
    assert not same_words(ours, both) and not same_words(ours, policy.predict(seen, force=force))
    with pytest.raises(UserError, match=f"the rationale has no part 'lunch'; it has .*{name}"):
        policy.predict_without(seen, [replace(cut, key_name="lunch", query_name="")], force=force)
    prompt = len(policy.layout(seen).tokens)
    with eagerly(policy, [cut], ours.layout, prompt):
        theirs = policy.predict(seen, force=force)
    np.testing.assert_allclose(ours.token_logprobs, theirs.token_logprobs, atol=1e-5, rtol=1e-5)


def test_captured_rows_are_those_of_the_cut_run(pair: tuple[Knockable, Policy]) -> None:
    policy, _ = pair
    seen, cuts = observation_for(policy.info), routes(policy)
    prediction = policy.predict_without(seen, cuts, EVERYTHING, force=forced(policy))
    written = [record for record in prediction.attention if any(token >= 0 for token in record.produced)]
    prompt = len(policy.layout(seen).tokens)
    for record in written:
        rows = record.weights.sum(-1)
        assert np.all((np.abs(rows - 1) < 1e-5) | (rows == 0))
        closed = may_not(record.layout, prompt, cuts[0], not policy.info.denoising_steps)
        assert not record.weights[0][:, closed[list(record.queries)]].any()
        assert record.weights[0].any()


def test_a_cut_head_equals_a_silenced_one(pair: tuple[Knockable, Policy]) -> None:
    policy, eager = pair
    seen = observation_for(policy.info)
    cuts: list[Cut] = [HeadCut(0, 1)]
    cuts += [HeadCut(1, 0, "action expert")] if policy.info.expert_layers else []
    ours = policy.predict_without(seen, cuts, force=forced(policy))
    with eagerly(eager, cuts, ours.layout, len(policy.layout(seen).tokens)):
        equal(ours, eager.predict(seen, force=forced(policy)))
    assert not same_words(policy.predict(seen, force=forced(policy)), ours)


def test_plain_runs_beside_and_after_are_not_cut(pair: tuple[Knockable, Policy]) -> None:
    policy, _ = pair
    seen = observation_for(policy.info)
    before = policy.predict(seen)
    with ThreadPoolExecutor(2) as threads:
        cut = threads.submit(policy.predict_without, seen, routes(policy))
        plain = [threads.submit(policy.predict, seen) for _ in range(2)]
        assert not same_words(cut.result(), before)
        assert all(same_words(each.result(), before) for each in plain)
    assert same_words(policy.predict(seen), before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (RouteCut(Part.ACTION, Part.IMAGE, layers=(7,)), "there is no layer 7"),
        (RouteCut(Part.ACTION, Part.IMAGE, layers=()), "names no layer"),
        (RouteCut(Part.ACTION, Part.IMAGE, heads=(9,)), "there is no head 9"),
        (RouteCut(Part.ACTION, Part.IMAGE, key_name="nose"), "no camera 'nose'; it sees image"),
        (RouteCut(Part.ACTION, Part.IMAGE, query_name="x"), "only cameras and parts of the rationale have names"),
        (RouteCut(Part.IMAGE, Part.ACTION), "cut nothing"),
        (HeadCut(5, 0), "there is no layer 5"),
        (HeadCut(0, 4), "there is no head 4"),
        (HeadCut(0, 0, "action expert"), "no stream 'action expert'"),
        (RouteCut(Part.ACTION, Part.RATIONALE), "writes no rationale"),
    ],
)
def test_refusals_are_sentences(cut: Cut, said: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    policy = models.load(CASES["actions only"][1](tmp_path_factory.mktemp("plain") / "it"))
    with pytest.raises(UserError, match=said):
        policy.predict_without(observation_for(policy.info), [cut])


def test_a_row_that_may_look_nowhere_gives_zero(tmp_path_factory: pytest.TempPathFactory) -> None:
    policy = models.load(CASES["rationale"][1](tmp_path_factory.mktemp("blind") / "it"))
    seen = observation_for(policy.info)
    cuts = [RouteCut(Part.ACTION, part) for part in Part if part is not Part.PROMPT]
    prediction = policy.predict_without(seen, cuts, Capture(), force="the carrot")
    assert np.isfinite(prediction.token_logprobs).all()
    acting = [
        row
        for row, made in enumerate(prediction.attention[0].produced)
        if made in {each.token for each in prediction.action_distribution}
    ]
    assert not prediction.attention[0].weights[:, :, acting].any()


def test_one_camera_of_several_and_one_head(tmp_path_factory: pytest.TempPathFactory) -> None:
    policy = models.load(CASES["SmolVLA"][1](tmp_path_factory.mktemp("cameras") / "it"))
    seen = observation_for(policy.info)
    camera = next(span.name for span in policy.layout(seen).spans if span.part is Part.IMAGE)
    prediction = policy.predict_without(
        seen, [RouteCut(Part.ACTION, Part.IMAGE, heads=(1,), key_name=camera)], Capture()
    )
    record = prediction.attention[0]
    for span in record.layout.spans:
        weights = record.weights[..., span.start : span.stop]
        if span.part is Part.IMAGE:
            assert bool(weights[:, 1].any()) == (span.name != camera) and weights[:, 0].any()


def test_numbers_are_written_as_a_person_does() -> None:
    assert numbers((3, 0, 1, 2, 7)) == "0-3,7"
    assert str(RouteCut(Part.ACTION, Part.IMAGE, (0, 1), (2,))) == "action->image in layers 0-1, heads 2"
    assert str(RouteCut(Part.ACTION, Part.RATIONALE, key_name="planning")) == "action->rationale:planning"
    assert str(HeadCut(1, 2)) == "head 1.2"


def test_another_observation_is_needed_for_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    policy = models.load(CASES["rationale"][1](tmp_path_factory.mktemp("none") / "it"))
    seen: Observation = observation_for(policy.info)
    assert same_words(policy.predict_without(seen, []), policy.predict(seen))
