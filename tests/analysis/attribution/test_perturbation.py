"""Perturbation methods on policies whose truth is known, by hand-worked values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.attribution.feature_ablation import FeatureAblation
from analysis.attribution.features import Hiding, SeenObject, filled, regions, windows, words
from analysis.attribution.iss import InterventionalSignificance, random_masks, significance
from analysis.attribution.occlusion import Occlusion
from analysis.attribution.shapley import ShapleySampling
from analysis.attribution.target import Target
from analysis.cancelled import Cancelled
from models.errors import UserError
from models.fake_chunk import PlantedChunkPolicy
from models.fakes import PlantedPolicy
from models.types import Observation

PLANTED = PlantedPolicy()
VALUE = Target(action="brightness", scalar="action")


def quarters(*levels: int, size: int = 20) -> np.ndarray:
    """A grey frame of four quarters, row by row."""
    grid = np.array(levels, np.uint8).reshape(2, 2)
    return np.repeat(np.kron(grid, np.ones((size // 2, size // 2), np.uint8))[:, :, None], 3, axis=2)


def seen(*levels: int) -> Observation:
    return Observation({"image": quarters(*levels)}, "lift the red cup")


def expected(mean: float) -> float:
    """Of the planted policy's three bins 0, 0.5, 1 for a brightest patch of this mean."""
    closeness = 1 - np.abs(np.array([0, 0.5, 1]) - mean)
    return float(closeness @ [0, 0.5, 1] / closeness.sum())


BRIGHT = expected(1.0)
OTHER = expected(51 / 255)  # what is left when the bright patch is black


def test_ablation_of_patches_by_hand() -> None:
    found = FeatureAblation(fill="black")(PLANTED, seen(51, 255, 0, 51), VALUE)
    np.testing.assert_allclose(found.image(), [[0, BRIGHT - OTHER], [0, 0]], atol=1e-12)
    assert found.scores[4:].sum() == 0
    assert found.signed and found.forwards == 5 and found.notes["value"] == pytest.approx(BRIGHT)


def test_occlusion_averages_the_squares_over_a_patch() -> None:
    found = Occlusion(size=1, fill="black")(PLANTED, seen(51, 255, 0, 51), VALUE)
    np.testing.assert_allclose(found.image(), [[0, BRIGHT - OTHER], [0, 0]], atol=1e-12)
    whole = Occlusion(size=2, fill="black")(PLANTED, seen(51, 255, 0, 51), VALUE)
    np.testing.assert_allclose(whole.image(), BRIGHT - expected(0), atol=1e-12)
    with pytest.raises(UserError, match="stay unseen"):
        Occlusion(size=1, stride=2)(PLANTED, seen(0, 255, 0, 0), VALUE)


def test_shapley_shares_what_two_patches_have_in_common_and_sums_to_the_whole() -> None:
    # either of two equally bright patches is enough: each has half of the value, the dark ones nothing
    method = ShapleySampling(over="patches", orders=400, fill="black")
    found = method(PLANTED, seen(0, 255, 0, 255), VALUE)
    gain = BRIGHT - expected(0)
    assert found.scores.sum() == pytest.approx(gain)
    assert found.notes["value"] - found.notes["value with all hidden"] == pytest.approx(gain)
    assert found.standard_error is not None
    np.testing.assert_allclose(found.image()[:, 0], 0, atol=1e-12)
    assert abs(found.image()[0, 1] - gain / 2) < 4 * found.standard_error[1]
    assert found.standard_error[1] == pytest.approx(gain * 0.5 / np.sqrt(400), rel=0.05)
    assert found.forwards <= 17, "a set of patches is measured once"


def test_iss_by_hand_and_its_standard_error() -> None:
    masks = np.array([[1, 0], [1, 1], [0, 1], [1, 0]], dtype=bool)
    scores, errors = significance(masks, np.array([4.0, 1.0, 0.0, 1.0]))
    np.testing.assert_allclose(scores, [2.0, 0.5])
    np.testing.assert_allclose(errors, [np.sqrt(3 / 3), np.sqrt(0.5 / 2)])


@pytest.mark.slow
@pytest.mark.parametrize("bright", range(4))
def test_iss_finds_the_patch_that_the_action_depends_on(bright: int) -> None:
    levels = [30, 30, 30, 30]
    levels[bright] = 255
    method = InterventionalSignificance(masks=64, fill="black", hidden=0.4)
    found = method(PLANTED, seen(*levels), Target(scalar="action"))
    assert found.image().argmax() == bright
    # where it is hidden the action falls to that of the next, or to none where all are hidden
    low, high = sorted(((BRIGHT - expected(30 / 255)) ** 2, (BRIGHT - expected(0)) ** 2))
    assert low - 1e-9 <= found.image().max() <= high + 1e-9
    assert not found.signed and found.notes["masks"] == 64 and found.standard_error is not None


def test_iss_refuses_masks_that_say_nothing() -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        random_masks(8, 4, 1.0, 0)
    with pytest.raises(UserError, match="more masks"):
        random_masks(4, 64, 0.1, 0)


@pytest.mark.parametrize("target", ["reach", "reach@3", "grip"])
def test_continuous_chunks_are_explained_step_by_step(target: str) -> None:
    policy = PlantedChunkPolicy()
    asked = Observation({"front": quarters(0, 255, 0, 0), "wrist": quarters(0, 0, 102, 0)}, "reach", np.zeros(1))
    found = FeatureAblation(fill="black")(policy, asked, Target.parse(target))
    front, wrist = found.image("front"), found.image("wrist")
    if target == "grip":
        assert front.any() == 0 and wrist[1, 0] == pytest.approx(0.4)
    else:
        step = 4 if "@" in target else 1
        assert wrist.any() == 0 and front[0, 1] == pytest.approx(step / 10)


def test_only_the_camera_that_was_chosen_is_hidden_from() -> None:
    policy = PlantedChunkPolicy()
    asked = Observation({"front": quarters(0, 255, 0, 0), "wrist": quarters(0, 0, 102, 0)}, "reach", np.zeros(1))
    found = FeatureAblation(fill="black", camera="wrist")(policy, asked, Target.parse("reach"))
    assert found.forwards == 5 and not found.scores.any()
    with pytest.raises(UserError, match="it reads front, wrist"):
        FeatureAblation(camera="top")(policy, asked, Target.parse("reach"))


def test_log_probability_of_a_continuous_action_is_refused() -> None:
    asked = Observation({"front": quarters(0, 255, 0, 0), "wrist": quarters(0, 0, 102, 0)}, "reach", np.zeros(1))
    with pytest.raises(UserError, match="continuous"):
        Occlusion()(PlantedChunkPolicy(), asked, Target(action="reach"))


def test_log_probability_of_the_action_token_by_hand() -> None:
    token = Target(tokens=(4,))  # <obs> patch 1 <act> ACTION
    found = FeatureAblation(fill="black")(PLANTED, seen(51, 255, 0, 0), token)
    chance = (1 - np.abs(1.0 - 0.2)) / sum(1 - np.abs(np.array([0, 0.5, 1]) - 0.2))
    assert found.image()[0, 1] == pytest.approx(np.log((1 / 1.5) / chance))


def test_own_words_are_held_so_that_they_can_be_scored_again() -> None:
    word = Target(tokens=(2,))  # the number that the policy says
    assert not FeatureAblation(fill="black")(PLANTED, seen(51, 255, 0, 0), word).scores.any()
    with pytest.raises(UserError, match="was not said again"):
        FeatureAblation(fill="black", words="free")(
            PLANTED,
            seen(51, 255, 0, 0),
            word,
            prediction=replace(PLANTED.predict(seen(51, 255, 0, 0)), tokens=np.arange(5)),
        )


def test_objects_are_hidden_by_mask_or_box() -> None:
    mask = np.zeros((20, 20), bool)
    mask[:10, 10:] = True
    things = (SeenObject("image", "cup", box=(10, 0, 20, 10)), SeenObject("image", "cup again", mask=mask))
    found = FeatureAblation(over="objects", fill="black", seen=things)(PLANTED, seen(51, 255, 0, 51), VALUE)
    assert found.image()[0, 1] == pytest.approx(2 * (BRIGHT - OTHER))
    with pytest.raises(UserError, match="no object of this step"):
        FeatureAblation(over="objects")(PLANTED, seen(51, 255, 0, 51), VALUE)


def test_cancelling_and_progress() -> None:
    told: list[tuple[int, int]] = []
    FeatureAblation()(PLANTED, seen(0, 255, 0, 0), VALUE, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(Cancelled):
        FeatureAblation()(PLANTED, seen(0, 255, 0, 0), VALUE, cancelled=lambda: True)


def test_windows_and_regions_cover_everything() -> None:
    asked = seen(0, 0, 0, 0)
    layout = PLANTED.layout(asked)
    assert [f.positions for f in windows(asked, layout, None, 1, 1)] == [(0,), (1,), (2,), (3,)]
    assert [f.positions for f in regions(asked, layout, None, 9)] == [(0,), (1,), (2,), (3,)]
    assert [f.positions for f in regions(asked, layout, None, 1)] == [(0, 1, 2, 3)]
    assert all(f.pixels is not None and f.pixels.sum() == 100 for f in windows(asked, layout, None, 1, 1))


def test_words_are_taken_out_and_found_among_the_tokens() -> None:
    asked = seen(0, 0, 0, 0)
    found = words(asked, PLANTED.layout(asked))
    assert [(each.name, each.positions) for each in found] == [
        ("lift", (5,)),
        ("the", (6,)),
        ("red", (7,)),
        ("cup", (8,)),
    ]
    hidden = Hiding(asked, "mean")([found[1], found[3]])
    assert hidden.instruction == "lift red"
    assert hidden.images["image"] is asked.images["image"]


def test_what_hidden_pixels_become() -> None:
    frame = quarters(0, 255, 0, 255)
    assert set(np.unique(filled(frame, "mean"))) == {128}
    assert not filled(frame, "black").any()
    assert 0 < np.abs(np.diff(filled(frame, "blur")[0, :, 0].astype(int))).max() < 100, "the edge of 255 is soft"
