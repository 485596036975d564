"""What only some policies show: several cameras, denoising steps, depth, marks, tiles, text without actions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from app.player_files import PLAYER
from models.types import RATIONALE_TITLES
from tests.browser.conftest import Tab
from tests.browser.planted_runs import WORDS
from tests.browser.world import checkpoint_named

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def base(world: Path) -> str:
    return checkpoint_named(world, "base").digest


def test_all_cameras_stand_side_by_side_and_a_press_shows_one(tab: Tab, base: str) -> None:
    tab.open(episode="two", checkpoint=base, reduce="head")
    tab.wait_for_rows()
    cameras = tab.page.locator(".camera-strip .camera")
    expect(cameras).to_have_text([re.compile(r"^front\b"), re.compile(r"^wrist\b")])
    expect(cameras.nth(0)).to_have_attribute("aria-pressed", "true")
    front = tab.settled_pixels()
    cameras.nth(1).click()
    tab.wait_for_parameter("camera", "wrist")
    tab.wait_for_other_pixels(front)
    # head 0 puts 0.6 on a patch of "front" for two of the four steps, of "wrist" for the other two
    shares = tab.page.locator(".share-key")
    expect(shares).to_contain_text(re.compile(r"image front\s*30 %"))
    expect(shares).to_contain_text(re.compile(r"image wrist\s*30 %"))


def test_each_denoising_step_has_rows_of_its_own(tab: Tab, base: str) -> None:
    tab.open(episode="two", checkpoint=base, reduce="head", query="action.step 0")
    tab.wait_for_rows()
    tab.wait_for_caption("action expert, denoising step 3 of 3 · layer 0, head 0 · query: action step 0")
    tab.wait_for_caption("full colour = 60 % of the row")
    expect(tab.page.locator(".chips.part-action button")).to_have_text([f"step {step}" for step in range(4)])
    tab.page.get_by_role("slider", name="Denoising step").fill("1")
    tab.wait_for_caption("denoising step 1 of 3")
    tab.wait_for_caption("full colour = 20 % of the row")
    tab.wait_for_parameter("denoise", "0")
    tab.page.keyboard.press("d")
    tab.wait_for_caption("query: action step 1")


def test_the_language_models_own_rows_can_be_asked(tab: Tab, base: str) -> None:
    tab.open(episode="two", checkpoint=base, reduce="head")
    tab.wait_for_rows()
    tab.page.get_by_label("Attention of").select_option("language")
    tab.wait_for_caption("language model · layer 0, head 0 · query: the instruction (mean)")
    tab.page.locator(".chips.part-instruction button", has_text="red").click()
    tab.wait_for_caption("prompt word “red”")
    tab.wait_for_parameter("stream", "language")
    tab.page.keyboard.press("5")
    tab.wait_for_caption("rollout through all layers")


def test_an_action_expert_has_no_rollout(tab: Tab, base: str) -> None:
    tab.open(episode="two", checkpoint=base, reduce="rollout")
    tab.wait_for_rows()
    tab.page.get_by_text("an action expert reads the keys of another one").wait_for()
    expect(tab.page.get_by_role("button", name="Capture all rows")).to_be_hidden()


def test_depth_takes_the_place_of_attention_and_has_metres(tab: Tab, base: str) -> None:
    tab.open(episode="two", checkpoint=base)
    tab.wait_for_rows()
    attention = tab.settled_pixels()
    tab.page.get_by_label("Depth").check()
    tab.wait_for_caption("depth as the policy estimates it")
    tab.wait_for_parameter("depth", "1")
    tab.wait_for_other_pixels(attention)
    expect(tab.page.locator(".legend").first).to_have_text(re.compile(" m.* m", re.DOTALL))
    tab.page.locator("canvas.stage-canvas").hover(position={"x": 30, "y": 30})
    expect(tab.page.locator(".stage-box .tip")).to_contain_text("depth 1.")


def test_marks_are_on_until_they_are_taken_off(tab: Tab, base: str) -> None:
    tab.open(episode="two", checkpoint=base)
    tab.wait_for_rows()
    expect(tab.page.get_by_label("Marks")).to_be_checked()
    marked = tab.settled_pixels()
    tab.page.keyboard.press("m")
    tab.wait_for_parameter("marks", "0")
    tab.wait_for_other_pixels(marked)


def test_a_chunk_is_drawn_and_actions_that_the_episode_lacks_have_plots(tab: Tab, base: str) -> None:
    tab.open(episode="two", checkpoint=base)
    tab.wait_for_rows()
    titles = tab.page.locator(".plot-title[data-dim] b")
    expect(titles.nth(7)).to_have_text("reach")
    expect(titles.nth(8)).to_have_text("grip")
    expect(titles).to_have_count(9)
    tab.page.get_by_text("chunk predicted at this step").wait_for()
    expect(tab.page.locator(".plot.bins")).to_be_hidden()


def test_text_without_actions(tab: Tab, base: str) -> None:
    tab.open(episode="tiles", checkpoint=base, reduce="head")
    words = tab.page.locator(".chips.part-rationale button")
    expect(words).to_have_text([*WORDS])
    tab.wait_for_caption("query: whole text (mean)")
    expect(tab.page.locator(".chip.asked")).to_have_count(len(WORDS))
    expect(tab.page.get_by_text("predicted by base")).to_be_hidden()
    expect(tab.page.locator(".plot.bins")).to_be_hidden()
    expect(tab.page.locator(".plot .error").filter(has_text="error")).to_have_count(0)


def test_tiles_are_drawn_each_in_its_place_and_can_be_chosen(tab: Tab, base: str) -> None:
    tab.open(episode="tiles", checkpoint=base, reduce="head")
    tab.page.locator(".chips.part-rationale button").first.wait_for()
    every = tab.settled_pixels()
    box = tab.page.locator("canvas.stage-canvas").bounding_box()
    lower_right = {"x": box["width"] - 10, "y": box["height"] - 10}
    tab.page.locator("canvas.stage-canvas").hover(position=lower_right)
    tip = tab.page.locator(".stage-box .tip")
    said = re.compile("^patch 3 · row 1, column 1 of the tile at 128, 0.*60 % of the row", re.DOTALL)
    expect(tip).to_contain_text(said)
    tab.page.get_by_label("Part").select_option("0")
    tab.wait_for_parameter("tile", "0")
    tab.wait_for_other_pixels(every)
    tab.page.locator("canvas.stage-canvas").hover(position={"x": 10, "y": 10})
    expect(tip).to_contain_text("10.0 % of the row")


def test_a_vision_tower_is_asked_by_patch(tab: Tab, base: str) -> None:
    tab.open(episode="tiles", checkpoint=base, reduce="head", stream="vision")
    tab.wait_for_caption("vision tower · layer 0, head 0 · query: all patches")
    tab.page.locator("canvas.stage-canvas").click(position={"x": 20, "y": 20})
    tab.wait_for_caption("query: patch shoulder 0")
    tab.wait_for_caption("full colour = 100 % of the row")
    expect(tab.page.locator(".reverse-note")).to_be_hidden()


def test_a_camera_that_the_policy_does_not_see_says_so(tab: Tab, world: Path) -> None:
    tab.open(episode="two", checkpoint=checkpoint_named(world, "tuned").digest, camera="wrist")
    tab.wait_for_rows()
    tab.page.get_by_text("The model does not see the camera “wrist”; it sees front.").wait_for()


def in_player(browser: Any, server: str, expression: str, argument: object = None) -> Any:
    """What ``expression`` gives in the player's own modules, loaded by ``load(name)``."""
    page = browser.new_page()
    page.goto(f"{server}/lens/episode?dataset=none&episode=none")  # any page of the server: modules load from there
    found = page.evaluate(
        f"async (given) => {{ const load = (name) => import(`{PLAYER.address}/${{name}}.js`); {expression} }}", argument
    )
    page.close()
    return found


@pytest.mark.parametrize(
    ("episode", "policy", "columns", "alone", "in_order"),
    [
        ("x y z", "z x", [1, -1, 0], [], False),  # by name
        ("x y", "a b", [0, 1], [], True),  # no name shared, as many
        ("x y", "a b c", [-1, -1], ["a", "b", "c"], False),  # nothing shared
        ("x y", "x yaw", [0, -1], ["yaw"], False),
        ("x y", "", [-1, -1], [], False),  # a model without actions
    ],
)
def test_dimensions_are_matched_by_name_else_in_order(
    browser: Any, server: str, episode: str, policy: str, columns: list[int], alone: list[str], in_order: bool
) -> None:
    names = {"episode": {"names": episode.split(), "units": []}, "policy": {"names": policy.split(), "units": []}}
    found = in_player(
        browser,
        server,
        "return (await load('action_match')).actionDimensions(given.episode, [given.policy]);",
        names,
    )
    assert [dim["columns"][0] for dim in found["dims"]][: len(columns)] == columns
    assert [dim["name"] for dim in found["dims"] if dim["recorded"] < 0] == alone
    assert found["inOrder"] is in_order


def test_other_units_are_not_the_same_dimension(browser: Any, server: str) -> None:
    given = {"episode": {"names": ["x"], "units": ["m"]}, "policy": {"names": ["x"], "units": ["cm"]}}
    found = in_player(
        browser,
        server,
        "return (await load('action_match')).actionDimensions(given.episode, [given.policy]).dims;",
        given,
    )
    assert [(dim["recorded"], dim["columns"]) for dim in found] == [(0, [-1]), (-1, [0])]


def test_parts_have_the_titles_of_python(browser: Any, server: str) -> None:
    names = [*RATIONALE_TITLES, "constructor", "__proto__"]  # of data sets' own parts the name itself
    titles = in_player(browser, server, "return given.map((await load('query')).partTitle);", names)
    assert dict(zip(names, titles, strict=True)) == RATIONALE_TITLES | {name: name for name in names[-2:]}
