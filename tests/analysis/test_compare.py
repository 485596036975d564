"""Differences between policies and against the record, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.compare import (
    PredictedActions,
    action_difference,
    map_difference,
    predicted_actions,
    recorded_actions,
    row_difference,
    shared_positions,
)
from analysis.episodes import open_source
from analysis.records import RecordStore, RunKey
from models.errors import UserError
from models.fakes import PlantedPolicy
from models.types import Observation, Part, PatchGrid, Span, TokenLayout


def actions(values: list[list[float]], names: str = "xy", units: tuple[str, ...] = ("m", "rad")) -> PredictedActions:
    return PredictedActions(np.array(values, float), tuple(names), units)


def test_difference_is_second_minus_first_per_dimension():
    found = action_difference(actions([[1, 2], [3, 4]]), actions([[1.5, 2], [2.0, 5]]))
    np.testing.assert_allclose(found.difference, [[0.5, 0], [-1, 1]])
    np.testing.assert_allclose(found.mean_absolute, [0.75, 0.5])
    assert (found.names, found.units) == (("x", "y"), ("m", "rad"))


def test_dimensions_are_matched_by_name():
    found = action_difference(actions([[1, 2]]), actions([[7, 5, 1]], "zyx", ("m", "rad", "m")))
    np.testing.assert_allclose(found.difference, [[0, 3]])


def test_only_steps_that_both_have_count():
    nan = float("nan")
    found = action_difference(actions([[1, 1], [nan, nan], [1, 1]]), actions([[nan, nan], [2, 2], [3, 4]]))
    np.testing.assert_array_equal(found.steps, [2])
    np.testing.assert_allclose(found.mean_absolute, [2, 3])
    nothing = action_difference(actions([[nan, nan]]), actions([[1, 1]]))
    assert np.isnan(nothing.mean_absolute).all() and len(nothing.steps) == 0


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(UserError, match=r"'y' is in 'rad' here and in 'deg' there"):
        action_difference(actions([[1, 2]]), actions([[1, 2]], units=("m", "deg")))
    with pytest.raises(UserError, match=r"no action dimension is shared: x, y against a, b"):
        action_difference(actions([[1, 2]]), actions([[1, 2]], "ab"))
    with pytest.raises(UserError, match=r"actions of 1 steps cannot be compared with actions of 2"):
        action_difference(actions([[1, 2]]), actions([[1, 2], [1, 2]]))


def test_actions_of_a_run_and_their_error_against_the_record(tmp_path, tiny_episode):
    run = RecordStore(tmp_path).run(RunKey("c", "e"))
    with pytest.raises(UserError, match="no captured step yet"):
        predicted_actions(run, 4)
    for step, brightness in ((0, 255), (2, 0)):
        seen = Observation({"c": np.full((2, 2, 3), brightness, np.uint8)}, "look")
        run.write(step, PlantedPolicy().predict(seen))
    found = predicted_actions(run, 4)
    np.testing.assert_array_equal(found.steps, [0, 2])
    np.testing.assert_array_equal(found.values[[0, 2], 0], [1.0, 0.0])
    truth = replace(found, values=np.array([[0.5], [0.0], [0.25], [0.0]]))
    np.testing.assert_allclose(action_difference(truth, found).mean_absolute, [(0.5 + 0.25) / 2])
    episode = open_source(tiny_episode).open("tiny")
    np.testing.assert_array_equal(recorded_actions(episode).values, episode.actions)


def test_a_model_without_actions_has_none_to_compare(tmp_path):
    run = RecordStore(tmp_path).run(RunKey("c", "e"))
    said = PlantedPolicy().predict(Observation({"c": np.zeros((2, 2, 3), np.uint8)}, "look"))
    run.write(0, replace(said, actions=np.zeros((0, 0)), action_names=(), action_units=(), action_distribution=()))
    with pytest.raises(UserError, match="a model without actions"):
        predicted_actions(run, 1)


def layout(words: tuple[str, ...], columns: int = 2) -> TokenLayout:
    grid = PatchGrid("c", 1, columns, (0, 0, columns, 1))
    spans = (Span(Part.IMAGE, "c", 0, columns, grid), Span(Part.INSTRUCTION, "i", columns, columns + len(words)))
    return TokenLayout((*(f"c 0,{column}" for column in range(columns)), *words), spans)


def test_maps_are_compared_where_the_words_differ():
    first, second = np.array([0.5, 0.5, 0.0]), np.array([0.1, 0.2, 0.3, 0.4])
    found = map_difference(first, layout(("a",)), second, layout(("b", "c")))
    np.testing.assert_allclose(found, [[-0.4, -0.3]])


def test_maps_through_other_patches_are_refused():
    with pytest.raises(UserError, match="different patches"):
        map_difference(np.zeros(3), layout(("a",)), np.zeros(4), layout(("a",), columns=3))


def test_rows_are_compared_up_to_the_first_difference():
    one, two = layout(("put", "it", "here")), layout(("put", "it", "there", "now"))
    np.testing.assert_array_equal(shared_positions(one, two), [True, True, True, True, False])
    first, second = np.array([0.2] * 5), np.array([0.3, 0.1, 0.2, 0.2, 0.1, 0.1])
    np.testing.assert_allclose(row_difference(first, one, second, two), [0.1, -0.1, 0, 0])
    other = TokenLayout(("z",), (Span(Part.PROMPT, "p", 0, 1),))
    with pytest.raises(UserError, match="share no position"):
        row_difference(first, one, np.ones(1), other)
