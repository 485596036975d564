"""The trajectory page in a real browser against the real server."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Tab
from tests.browser.world import HTML, checkpoint_named

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_open_shows_frame_overlay_actions_and_rationale(tab: Tab) -> None:
    tab.open(episode="plain")
    tab.wait_for_rows()
    expect(tab.page.locator("h2.instruction")).to_have_text("put the red block on the towel")
    expect(tab.page.locator(".chips.part-rationale button").first).to_be_visible()
    expect(tab.page.locator(".plot")).to_have_count(8)  # seven dimensions and the bins
    tab.wait_for_caption("all action tokens")
    with_overlay = tab.settled_pixels()
    tab.page.get_by_label("Opacity").fill("0")
    tab.wait_for_parameter("opacity", "0")
    tab.wait_for_other_pixels(with_overlay)


def test_every_step_is_captured_by_itself_and_stays(tab: Tab) -> None:
    tab.open(episode="plain")
    tab.page.wait_for_function(
        """async () => {
            const names = new URLSearchParams(location.search);
            const asked = new URLSearchParams(["dataset", "episode", "checkpoint"].map((n) => [n, names.get(n)]));
            return (await (await fetch(`/lens/run?${asked}`)).json()).state === "complete";
        }""",
    )
    tab.page.locator(".run-status").wait_for(state="hidden")


def test_play_moves_on_and_stops_at_the_end(tab: Tab) -> None:
    tab.open(episode="plain", speed=8)
    tab.page.get_by_label("Play (space)").click()
    tab.page.wait_for_selector('.lens[data-step="11"]')
    tab.page.get_by_label("Play (space)").wait_for()  # the button says Play again


def test_scrub_draws_the_step_under_the_pointer(tab: Tab) -> None:
    tab.open(episode="plain")
    tab.wait_for_rows()
    before = tab.settled_pixels()
    box = tab.page.locator(".timeline").bounding_box()
    tab.page.mouse.move(box["x"] + 5, box["y"] + 30)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + box["width"] * 7.5 / 12, box["y"] + 30, steps=5)
    tab.page.mouse.up()
    tab.page.wait_for_selector('.lens[data-step="7"]')
    tab.wait_for_other_pixels(before)
    tab.wait_for_parameter("step", "7")


def test_scrub_needs_no_rerun_of_the_script(tab: Tab) -> None:
    tab.open(episode="plain")
    tab.wait_for_rows()
    sent: list[object] = []
    tab.page.on("websocket", lambda socket: sent.append(socket))
    tab.page.evaluate(
        "() => { window.sends = 0; const send = WebSocket.prototype.send;"
        " WebSocket.prototype.send = function (...all) { window.sends += 1; return send.apply(this, all); }; }"
    )
    for _ in range(6):
        tab.page.keyboard.press("ArrowRight")
    tab.page.wait_for_selector('.lens[data-step="6"]')
    assert tab.page.evaluate("window.sends") == 0


def test_picking_a_word_asks_about_its_row(tab: Tab) -> None:
    tab.open(episode="plain")
    tab.wait_for_rows()
    before = tab.settled_pixels()
    tab.page.locator(".chips.part-rationale button").first.click()
    tab.wait_for_caption("word 1")
    tab.wait_for_parameter("query", "word.0")
    tab.wait_for_other_pixels(before)


def test_picking_an_action_dimension_shows_its_row_and_bins(tab: Tab) -> None:
    tab.open(episode="plain")
    tab.wait_for_rows()
    tab.page.locator(".plot-title[data-dim='5']").click()
    tab.wait_for_caption("action yaw")
    expect(tab.page.locator(".plot.bins")).to_contain_text("bins of yaw")


def test_picking_a_patch_lights_up_words_and_escape_leaves(tab: Tab) -> None:
    tab.open(episode="plain")
    tab.wait_for_rows()
    tab.page.locator("canvas.stage-canvas").click(position={"x": 60, "y": 60})
    tab.page.locator(".reverse-note").wait_for(state="visible")
    expect(tab.page.locator(".strips.reverse")).to_have_count(1)
    chips = tab.page.locator(".chips.part-action button")
    level = "chips => Math.max(...chips.map((chip) => Number(chip.style.getPropertyValue('--level'))))"
    tab.wait_until(lambda: chips.evaluate_all(level) > 0, "a word that looks at the patch")
    tab.page.keyboard.press("Escape")
    tab.page.locator(".reverse-note").wait_for(state="hidden")
    tab.page.wait_for_function("() => !new URLSearchParams(location.search).has('patch')")


def test_hover_tells_the_patch_and_its_value(tab: Tab) -> None:
    tab.open(episode="plain")
    tab.wait_for_rows()
    tab.page.locator("canvas.stage-canvas").hover(position={"x": 30, "y": 30})
    tip = tab.page.locator(".stage-box .tip")
    expect(tip).to_contain_text(re.compile("^patch 0 · row 0, column 0.*% of the row.*looked at most by", re.DOTALL))


def test_reload_gives_the_same_view(tab: Tab) -> None:
    tab.open(episode="plain")
    tab.wait_for_rows()
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "1", "ArrowUp", "]", "]", "."):
        tab.page.keyboard.press(key)
    tab.page.get_by_label("Colours").select_option("magma")
    tab.page.locator(".chips.part-action button").nth(1).click()
    tab.wait_for_parameter("query", "action.y")
    tab.page.mouse.move(5, 5)
    tab.wait_for_caption("layer 1, head 2")
    tab.page.wait_for_selector(".lens[data-step='3']")
    said = tab.page.locator(".caption span").first  # its badge comes later
    picture, caption = tab.settled_pixels(), said.inner_text()
    tab.page.goto(tab.page.url)
    tab.page.wait_for_selector(".lens[data-step='3']")
    tab.wait_for_rows()
    expect(said).to_have_text(caption)
    tab.wait_for_pixels(picture)


def test_keyboard_alone(tab: Tab) -> None:
    tab.open(episode="plain")
    tab.wait_for_rows()
    tab.page.keyboard.press("End")
    tab.page.wait_for_selector('.lens[data-step="11"]')
    tab.page.keyboard.press("Shift+ArrowLeft")
    tab.page.wait_for_selector('.lens[data-step="1"]')
    tab.page.keyboard.press("Home")
    tab.page.wait_for_selector('.lens[data-step="0"]')
    tab.page.keyboard.press("w")
    tab.wait_for_caption("word 1")
    tab.page.keyboard.press("?")
    tab.page.locator("dialog.help[open]").wait_for()
    tab.page.keyboard.press("Escape")
    tab.page.locator("dialog.help").wait_for(state="hidden")


def test_every_choice_of_the_top_k_fusion_is_kept_with_the_picture(tab: Tab) -> None:
    tab.open(episode="plain")
    tab.wait_for_rows()
    tab.wait_for_caption("top-k fusion: mean of 4 heads of layers 0–2, ranked by image attention of this query")
    group = tab.page.get_by_role("group", name="Top-k fusion")
    for label, value in (("Keep", "layers"), ("Ranked over", "all queries"), ("Fused by", "max")):
        group.get_by_label(label).select_option(value)
    group.get_by_label("Ranked by").select_option("largest image weight")
    group.get_by_label("k", exact=True).fill("2")
    said = "top-k fusion: max of 2 of layers 0–2, heads averaged, ranked by largest image weight over all queries"
    tab.wait_for_caption(said)
    tab.wait_for_parameter("ranked_over", "all queries")
    tab.wait_for_parameter("k", "2")
    picture = tab.settled_pixels()
    tab.page.goto(tab.page.url)
    tab.wait_for_rows()
    tab.wait_for_caption(said)
    tab.wait_for_pixels(picture)
    group.get_by_label("Keep").select_option("entries")
    tab.wait_for_caption("2 largest weights of every entry")
    tab.wait_for_caption("full colour = a weight of")  # these rows do not sum to one; the shares below them still do
    parts = tab.page.locator(".share-key b:visible")
    tab.wait_until(
        lambda: sum(float(text.strip("< %")) for text in parts.all_inner_texts()) == pytest.approx(100, abs=3),
        "shares that add up",
    )
    expect(group.get_by_label("Ranked by")).to_be_disabled()


def test_of_a_large_step_only_the_layers_that_are_looked_at_are_fetched(tab: Tab, world: Path) -> None:
    asked: list[str | None] = []
    tab.page.on(
        "request",
        lambda request: (
            asked.append(parse_qs(request.url).get("layers", [None])[0]) if "/lens/step?" in request.url else None
        ),
    )
    tab.open(episode="wide", checkpoint=checkpoint_named(world, "wide").digest, reduce="head", layer=5, head=1)
    tab.wait_for_rows()
    tab.wait_for_caption("layer 5, head 1")
    assert set(asked) == {"5"}
    tab.page.keyboard.press("ArrowUp")
    tab.wait_for_caption("layer 6, head 1")
    part = tab.settled_pixels()
    assert set(asked) == {"5", "6"}
    expect(tab.page.get_by_label("layer 7, head 1: not fetched")).to_have_count(1)
    tab.page.keyboard.press("2")
    tab.wait_for_caption("mean of all heads, layers 0–89")
    tab.page.keyboard.press("1")
    tab.wait_for_caption("layer 6, head 1")
    tab.wait_for_pixels(part)


def test_rollout_offers_to_capture_the_rows_that_it_needs(tab: Tab) -> None:
    tab.open(episode="html")
    tab.wait_for_rows()
    tab.page.get_by_role("radio", name="Rollout").click()
    tab.page.get_by_text("passes through the prompt's own tokens").wait_for()
    button = tab.page.get_by_role("button", name="Capture all rows")
    expect(button).to_contain_text("MB a step")
    button.click()
    tab.wait_for_caption("rollout through all layers")
    tab.wait_for_parameter("rows", "all")
    with_rollout = tab.settled_pixels()
    tab.page.goto(tab.page.url)
    tab.wait_for_rows()
    tab.wait_for_caption("rollout through all layers")
    tab.wait_for_pixels(with_rollout)
    expect(tab.page.locator(".offer")).to_be_hidden()


def test_typing_in_the_side_bar_does_not_move_the_player(tab: Tab) -> None:
    tab.open(episode="plain")
    tab.wait_for_rows()
    tab.page.get_by_role("combobox", name="Episode").click()
    tab.page.keyboard.type("a d")
    tab.page.keyboard.press("ArrowRight")
    assert tab.step == 0
    assert tab.parameter("query") is None


def test_another_episode_starts_at_its_first_step(tab: Tab) -> None:
    tab.open(episode="plain", step=9, map="cividis")
    tab.page.get_by_role("combobox", name="Episode").click()
    tab.page.get_by_role("option").filter(has_text="long").click()
    tab.page.locator("h2.instruction", has_text="put the block away").wait_for()
    tab.page.wait_for_selector('.lens[data-step="0"]')
    tab.wait_for_parameter("episode", "long")
    assert tab.parameter("map") == "cividis"


def test_html_in_an_instruction_is_text(tab: Tab) -> None:
    tab.open(episode="html")
    tab.wait_for_rows()
    expect(tab.page.locator("h2.instruction")).to_have_text(HTML)
    assert tab.page.evaluate("window.harmed") is None


def test_a_very_long_instruction_leaves_room_for_the_rest(tab: Tab) -> None:
    tab.open(episode="long")
    assert tab.page.locator("h2.instruction").bounding_box()["height"] < 80
    assert tab.page.locator(".stage-box").bounding_box()["y"] < 250


def test_a_checkpoint_that_cannot_be_loaded_says_why_and_the_app_lives(tab: Tab, world: Path) -> None:
    digest = checkpoint_named(world, "bad tokenizer").digest
    tab.open(episode="plain", checkpoint=digest)
    status = tab.page.locator(".run-status[data-state='failed']")
    status.wait_for()
    expect(status).to_have_text(re.compile(".{41,}", re.DOTALL))
    expect(status).not_to_contain_text("internal error")
    tab.page.keyboard.press("ArrowRight")
    tab.page.wait_for_selector('.lens[data-step="1"]')


def test_things_that_cannot_be_used_are_listed_with_a_sentence(tab: Tab) -> None:
    tab.open(episode="plain")
    tab.page.get_by_text("1 episode cannot be used").click()
    tab.page.get_by_text("truncated.hdf5:").wait_for()
    tab.page.get_by_text("1 checkpoint cannot be used").click()
    tab.page.get_by_text("no-checkpoint:").wait_for()
    expect(tab.page.get_by_text("Traceback")).to_have_count(0)
