"""What every policy promises, over every registered family."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

import models
from models.errors import UserError
from models.fake_chunk import PlantedChunkPolicy
from models.fakes import PlantedPolicy
from models.policy import Policy
from models.registry import FAMILIES
from models.types import AttentionRecord, Capture, Observation, Part, Prediction, Rationale
from tests.contracts.policy_cases import CASES, QUICK, observation_for

EVERYTHING = Capture(queries=tuple(Part), prefix=True)
LONG = [pytest.param(case, marks=pytest.mark.slow) for case in CASES if case not in QUICK]
FAKES = {"fake": PlantedPolicy, "fake chunk": PlantedChunkPolicy}


@pytest.fixture(scope="module", params=[*QUICK, *FAKES, *LONG])
def policy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    if request.param in FAKES:
        return FAKES[request.param]()
    family, write = CASES[request.param]
    return models.load(write(tmp_path_factory.mktemp("checkpoint") / request.param), family=family)


def same(left: Prediction, right: Prediction) -> bool:
    return (
        np.array_equal(left.tokens, right.tokens)
        and np.array_equal(left.token_logprobs, right.token_logprobs)
        and np.array_equal(left.actions, right.actions)
        and left.layout == right.layout
    )


def same_rows(left: Prediction, right: Prediction) -> bool:
    pairs = zip(left.attention, right.attention, strict=True)
    return all(np.array_equal(one.weights, other.weights) for one, other in pairs)


def speaks(policy: Policy) -> bool:
    """Whether it writes tokens; else its actions are continuous."""
    return policy.info.action_space is None or policy.info.action_space.bins is not None


def denoises(policy: Policy) -> bool:
    """Whether an action expert writes the actions, whose rows are those of the actions' own positions."""
    return policy.info.denoising_steps > 0


def written_rows(prediction: Prediction) -> list[AttentionRecord]:
    """Records of what the policy wrote: one of the language model, or one a denoising step."""
    return [each for each in prediction.attention if any(token >= 0 for token in each.produced)]


def vision_rows(prediction: Prediction) -> list[AttentionRecord]:
    return [each for each in prediction.attention if each.stream.startswith("vision")]


def test_every_family_has_a_case() -> None:
    assert {family for family, _ in CASES.values()} == set(FAMILIES)
    assert {CASES[case][0] for case in QUICK} == set(FAMILIES)


@pytest.mark.slow
def test_is_a_policy(policy: Policy) -> None:
    assert isinstance(policy, Policy)


def test_layout_of_the_prompt_begins_the_layout_of_the_prediction(policy: Policy) -> None:
    seen = observation_for(policy.info)
    prompt, whole = policy.layout(seen), policy.predict(seen).layout
    assert whole.tokens[: len(prompt.tokens)] == prompt.tokens
    assert whole.spans[: len(prompt.spans)] == prompt.spans


def test_what_it_wrote_is_named(policy: Policy) -> None:
    prediction = policy.predict(observation_for(policy.info))
    prompt = len(prediction.layout.tokens) - prediction.written
    assert len(prediction.token_texts) == len(prediction.token_logprobs) == len(prediction.tokens)
    assert (len(prediction.tokens) > 0) == speaks(policy)
    assert prediction.actions.shape[1] == len(prediction.action_names) == len(prediction.action_units)
    written = [span for span in prediction.layout.spans if span.start >= prompt]
    assert {span.part for span in written} <= {Part.ACTION, Part.RATIONALE, Part.SPECIAL}
    actions = {position for span in written if span.part is Part.ACTION for position in range(span.start, span.stop)}
    assert bool(actions) == (policy.info.action_space is not None) == (prediction.actions.size > 0)
    assert {each.token + prompt for each in prediction.action_distribution} == (actions if speaks(policy) else set())


def test_every_image_span_has_a_grid_that_counts_its_tokens(policy: Policy) -> None:
    seen = observation_for(policy.info)
    images = [span for span in policy.layout(seen).spans if span.part is Part.IMAGE]
    assert {span.name for span in images} == set(seen.images)
    for span in images:
        assert span.grid is not None
        assert span.grid.camera == span.name
        assert span.grid.rows * span.grid.columns == span.stop - span.start


def test_bins_are_a_distribution_and_the_action_is_the_likeliest(policy: Policy) -> None:
    prediction = policy.predict(observation_for(policy.info))
    one_a_token = len({each.token for each in prediction.action_distribution}) == len(prediction.action_distribution)
    for each in prediction.action_distribution:
        assert each.probabilities.sum() == pytest.approx(1)
        assert 0 < each.mass <= 1 + 1e-9
        if one_a_token:  # else the values of a token are told apart, each summed over the others
            action = prediction.actions[each.step][prediction.action_names.index(each.name)]
            assert each.values[each.probabilities.argmax()] == pytest.approx(action)


def test_rows_sum_to_one_and_belong_to_what_they_produced(policy: Policy) -> None:
    prediction = policy.predict(observation_for(policy.info), Capture())
    records = written_rows(prediction)
    assert [each.denoising_step for each in records] == (
        list(range(policy.info.denoising_steps)) if denoises(policy) else [None]
    )
    prompt = len(prediction.layout.tokens) - prediction.written
    wanted = np.concatenate([prediction.layout.positions(part) for part in Capture().queries]) - prompt
    for record in records:
        layers = policy.info.expert_layers if denoises(policy) else policy.info.layers
        assert record.weights.shape[1] == (policy.info.expert_heads if denoises(policy) else policy.info.heads)
        assert record.layers == tuple(range(layers))
        assert record.weights.shape[3] == len(prediction.layout.tokens)
        assert record.layout == prediction.layout
        np.testing.assert_allclose(record.weights.sum(-1), 1, atol=1e-5)
        produced = [(query, token) for query, token in zip(record.queries, record.produced, strict=True) if token >= 0]
        assert sorted(wanted) == [token for _, token in produced]
        assert all(query - (prompt - (not denoises(policy))) == token for query, token in produced)
        for row, query in enumerate(record.queries if speaks(policy) else ()):
            assert not record.weights[:, :, row, query + 1 :].any(), "a row looks at tokens that did not exist yet"


@pytest.mark.slow
def test_only_asked_for_rows_are_kept(policy: Policy) -> None:
    seen = observation_for(policy.info)
    full = written_rows(policy.predict(seen, EVERYTHING))[-1]
    capture = Capture(layers=(0,), queries=(Part.ACTION if policy.info.action_space else Part.RATIONALE,))
    part = written_rows(policy.predict(seen, capture))[-1]
    assert part.layers == (0,)
    rows = [full.produced.index(token) for token in part.produced]
    # one row alone is another matrix product than one of many: the last bit may differ
    np.testing.assert_allclose(part.weights, full.weights[:1][:, :, rows], atol=1e-6)


def test_prefix_keeps_every_position_of_the_prompt(policy: Policy) -> None:
    prediction = policy.predict(observation_for(policy.info), EVERYTHING)
    record = next(each for each in prediction.attention if each.stream == "language")
    length = len(record.layout.tokens) - 1 if speaks(policy) else len(record.queries)
    assert record.queries == tuple(range(length))
    assert length >= max(span.stop for span in record.layout.spans if span.part is Part.IMAGE)
    np.testing.assert_allclose(record.weights.sum(-1), 1, atol=1e-5)


@pytest.mark.slow
def test_capture_never_changes_the_prediction(policy: Policy) -> None:
    seen = observation_for(policy.info)
    plain = policy.predict(seen)
    assert plain.attention == ()
    assert same(plain, policy.predict(seen, EVERYTHING))
    assert same(plain, policy.predict(seen, Capture(layers=(1,), vision=policy.info.vision_layers > 0)))


def test_vision_rows_come_on_request(policy: Policy) -> None:
    seen = observation_for(policy.info)
    if policy.info.vision_layers == 0:
        with pytest.raises(UserError, match="no vision tower"):
            policy.predict(seen, Capture(vision=True))
        return
    records = vision_rows(policy.predict(seen, Capture(vision=True)))
    assert {span.name for each in records for span in each.layout.spans if span.part is Part.IMAGE} == set(seen.images)
    assert records[0].weights.shape[:2] == (policy.info.vision_layers, policy.info.vision_heads)
    for record in records:
        count = len(record.layout.tokens)
        assert record.weights.shape[2:] == (count, count)
        assert record.queries == tuple(range(count))
        np.testing.assert_allclose(record.weights.sum(-1), 1, atol=1e-5)


@pytest.mark.slow
def test_is_deterministic(policy: Policy) -> None:
    seen = observation_for(policy.info, 3)
    one, other = policy.predict(seen, Capture()), policy.predict(seen, Capture())
    assert same(one, other)
    assert same_rows(one, other)


@pytest.mark.slow
def test_sees_its_image(policy: Policy) -> None:
    one, other = observation_for(policy.info, 1), observation_for(policy.info, 2)
    swapped = Observation(other.images, one.instruction, one.state)
    left, right = policy.predict(one), policy.predict(swapped)
    if not speaks(policy):
        assert not np.allclose(left.actions, right.actions, atol=1e-4)
        return
    assert not np.array_equal(left.token_logprobs, right.token_logprobs)
    if policy.info.action_space:
        assert any(
            not np.allclose(a.probabilities, b.probabilities, atol=1e-4)
            for a, b in zip(left.action_distribution, right.action_distribution, strict=True)
        )


def test_reads_its_instruction(policy: Policy) -> None:
    one = observation_for(policy.info, 1)
    other = Observation(one.images, "stack the green block on the yellow block", one.state)
    assert policy.layout(one).tokens != policy.layout(other).tokens


@pytest.mark.slow
def test_two_threads_capture_at_once(policy: Policy) -> None:
    words = ("put the spoon on the towel", "move up")
    asked = [observation_for(policy.info, seed, each) for seed, each in enumerate(words)]
    serial = [policy.predict(each, EVERYTHING) for each in asked]
    start = Barrier(2)

    def run(index: int) -> list[Prediction]:
        start.wait()
        return [policy.predict(asked[index], EVERYTHING) for _ in range(2)]

    with ThreadPoolExecutor(2) as pool:
        for expected, found in zip(serial, pool.map(run, range(2)), strict=True):
            assert all(same(expected, each) and same_rows(expected, each) for each in found)


@pytest.mark.slow
def test_its_own_words_forced_on_it_change_nothing(policy: Policy) -> None:
    seen = observation_for(policy.info, 4)
    free = policy.predict(seen, EVERYTHING)
    if not policy.info.generates_rationale:
        with pytest.raises(UserError, match="writes no rationale"):
            policy.predict(seen, force="<obs> the carrot")
        return
    forced = policy.predict(seen, EVERYTHING, force=free.text)
    np.testing.assert_array_equal(forced.tokens, free.tokens)
    np.testing.assert_allclose(forced.token_logprobs, free.token_logprobs, atol=1e-4)
    np.testing.assert_allclose(forced.attention[0].weights, free.attention[0].weights, atol=1e-5)


def test_other_words_forced_on_it_are_said(policy: Policy) -> None:
    if not policy.info.generates_rationale:
        pytest.skip(f"{policy.info.name} writes no rationale")
    seen = observation_for(policy.info, 4)
    free = policy.predict(seen)
    assert free.rationale is not None
    edited = Rationale(dict.fromkeys(free.rationale.parts, "move down"))
    forced = policy.predict(seen, Capture(), force=edited)
    assert forced.rationale is not None
    assert forced.rationale.parts == edited.parts
    spoken = forced.layout.positions(Part.RATIONALE) - (len(forced.layout.tokens) - len(forced.tokens))
    assert set(spoken) <= set(forced.attention[0].produced), "forced words have rows as if they had been generated"


@pytest.mark.parametrize("layer", [-1, 99])
def test_refuses_a_layer_that_is_not_there(policy: Policy, layer: int) -> None:
    with pytest.raises(UserError, match=f"no layer {layer}"):
        policy.predict(observation_for(policy.info), Capture(layers=(layer,)))
