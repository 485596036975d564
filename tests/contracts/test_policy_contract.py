"""What every policy promises, over every registered family."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

import models
from models.errors import UserError
from models.fakes import PlantedPolicy
from models.policy import Policy
from models.registry import FAMILIES
from models.types import Capture, Observation, Part, Prediction, Rationale
from tests.contracts.policy_cases import CASES, observation

EVERYTHING = Capture(queries=tuple(Part), prefix=True)


@pytest.fixture(scope="module", params=[*CASES, "fake"])
def policy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    if request.param == "fake":
        return PlantedPolicy()
    _, write = CASES[request.param]
    return models.load(write(tmp_path_factory.mktemp("checkpoint") / request.param))


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


def test_every_family_has_a_case() -> None:
    assert {family for family, _ in CASES.values()} == set(FAMILIES)


def test_is_a_policy(policy: Policy) -> None:
    assert isinstance(policy, Policy)


def test_layout_of_the_prompt_begins_the_layout_of_the_prediction(policy: Policy) -> None:
    seen = observation()
    prompt, whole = policy.layout(seen), policy.predict(seen).layout
    assert whole.tokens[: len(prompt.tokens)] == prompt.tokens
    assert whole.spans[: len(prompt.spans)] == prompt.spans


def test_generated_tokens_are_named(policy: Policy) -> None:
    prediction = policy.predict(observation())
    prompt = len(prediction.layout.tokens) - len(prediction.tokens)
    assert len(prediction.token_texts) == len(prediction.token_logprobs) == len(prediction.tokens)
    actions = [span for span in prediction.layout.spans if span.part is Part.ACTION]
    assert [span.name for span in actions] == [each.name for each in prediction.action_distribution]
    assert [span.start - prompt for span in actions] == [each.token for each in prediction.action_distribution]
    assert prediction.actions.size == len(actions)
    generated = [span.part for span in prediction.layout.spans if span.start >= prompt]
    assert set(generated) <= {Part.ACTION, Part.RATIONALE, Part.SPECIAL}


def test_bins_are_a_distribution_and_the_action_is_the_likeliest(policy: Policy) -> None:
    prediction = policy.predict(observation())
    for each, action in zip(prediction.action_distribution, prediction.actions.ravel(), strict=True):
        assert each.probabilities.sum() == pytest.approx(1)
        assert 0 < each.mass <= 1 + 1e-9
        assert each.values[each.probabilities.argmax()] == pytest.approx(action)


def test_rows_sum_to_one_and_belong_to_the_token_they_produced(policy: Policy) -> None:
    prediction = policy.predict(observation(), Capture())
    record = prediction.attention[0]
    assert record.weights.shape[1] == policy.info.heads
    assert record.layers == tuple(range(policy.info.layers))
    assert record.weights.shape[3] == len(prediction.layout.tokens)
    np.testing.assert_allclose(record.weights.sum(-1), 1, atol=1e-5)
    prompt = len(prediction.layout.tokens) - len(prediction.tokens)
    assert [query - (prompt - 1) for query in record.queries] == list(record.produced)
    wanted = np.concatenate([prediction.layout.positions(part) for part in Capture().queries]) - prompt
    assert sorted(wanted) == list(record.produced)
    for row, query in enumerate(record.queries):
        assert not record.weights[:, :, row, query + 1 :].any(), "a row looks at tokens that did not exist yet"


def test_only_asked_for_rows_are_kept(policy: Policy) -> None:
    full = policy.predict(observation(), EVERYTHING).attention[0]
    part = policy.predict(observation(), Capture(layers=(0,), queries=(Part.ACTION,))).attention[0]
    assert part.layers == (0,)
    rows = [full.produced.index(token) for token in part.produced]
    np.testing.assert_array_equal(part.weights, full.weights[:1][:, :, rows])


def test_prefix_keeps_every_position_of_the_prompt(policy: Policy) -> None:
    record = policy.predict(observation(), EVERYTHING).attention[0]
    assert record.queries == tuple(range(len(record.layout.tokens) - 1))
    np.testing.assert_allclose(record.weights.sum(-1), 1, atol=1e-5)


def test_capture_never_changes_the_prediction(policy: Policy) -> None:
    plain = policy.predict(observation())
    assert plain.attention == ()
    assert same(plain, policy.predict(observation(), EVERYTHING))
    assert same(plain, policy.predict(observation(), Capture(layers=(1,), vision=policy.info.vision_layers > 0)))


def test_vision_rows_come_on_request(policy: Policy) -> None:
    if policy.info.vision_layers == 0:
        with pytest.raises(UserError, match="no vision tower"):
            policy.predict(observation(), Capture(vision=True))
        return
    record = policy.predict(observation(), Capture(vision=True)).attention[1]
    count = policy.info.patch_grid[0] * policy.info.patch_grid[1]
    assert record.stream == "vision"
    assert record.weights.shape == (policy.info.vision_layers, policy.info.vision_heads, count, count)
    np.testing.assert_allclose(record.weights.sum(-1), 1, atol=1e-5)


def test_is_deterministic(policy: Policy) -> None:
    one, other = policy.predict(observation(3), Capture()), policy.predict(observation(3), Capture())
    assert same(one, other)
    assert same_rows(one, other)


def test_sees_its_image(policy: Policy) -> None:
    one, other = observation(1), observation(2)
    swapped = Observation(other.images, one.instruction, one.state)
    left, right = policy.predict(one), policy.predict(swapped)
    assert not np.array_equal(left.token_logprobs, right.token_logprobs)
    assert any(
        not np.allclose(a.probabilities, b.probabilities, atol=1e-4)
        for a, b in zip(left.action_distribution, right.action_distribution, strict=True)
    )


def test_reads_its_instruction(policy: Policy) -> None:
    one = observation(1)
    other = Observation(one.images, "stack the green block on the yellow block", one.state)
    assert policy.layout(one).tokens != policy.layout(other).tokens


def test_two_threads_capture_at_once(policy: Policy) -> None:
    asked = [observation(seed, words) for seed, words in enumerate(("put the spoon on the towel", "move up"))]
    serial = [policy.predict(each, EVERYTHING) for each in asked]
    start = Barrier(2)

    def run(index: int) -> list[Prediction]:
        start.wait()
        return [policy.predict(asked[index], EVERYTHING) for _ in range(3)]

    with ThreadPoolExecutor(2) as pool:
        for expected, found in zip(serial, pool.map(run, range(2)), strict=True):
            assert all(same(expected, each) and same_rows(expected, each) for each in found)


def test_its_own_words_forced_on_it_change_nothing(policy: Policy) -> None:
    seen = observation(4)
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
    free = policy.predict(observation(4))
    assert free.rationale is not None
    edited = Rationale(dict.fromkeys(free.rationale.parts, "move down"))
    forced = policy.predict(observation(4), Capture(), force=edited)
    assert forced.rationale is not None
    assert forced.rationale.parts == edited.parts
    spoken = forced.layout.positions(Part.RATIONALE) - (len(forced.layout.tokens) - len(forced.tokens))
    assert set(spoken) <= set(forced.attention[0].produced), "forced words have rows as if they had been generated"


@pytest.mark.parametrize("layer", [-1, 99])
def test_refuses_a_layer_that_is_not_there(policy: Policy, layer: int) -> None:
    with pytest.raises(UserError, match=f"no layer {layer}"):
        policy.predict(observation(), Capture(layers=(layer,)))
