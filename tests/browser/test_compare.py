"""Two checkpoints side by side in a real browser."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from playwright.sync_api import expect

from app.figures import CHANGED
from tests.browser.conftest import Tab

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def wait_for_both(tab: Tab) -> None:
    tab.page.wait_for_selector(".lens.compare[data-step]")
    for side in ("first", "second"):
        tab.page.locator(f".words.{side} .chips.part-action button").first.wait_for()


def test_panes_are_synced_and_the_difference_is_signed(tab: Tab) -> None:
    tab.open(page="compare", episode="plain")
    wait_for_both(tab)
    before = [tab.pixels(which) for which in range(3)]
    tab.page.keyboard.press("ArrowRight")
    tab.page.wait_for_selector('.lens[data-step="1"]')
    wait_for_both(tab)
    for which in range(3):
        tab.wait_for_other_pixels(before[which], which)
    difference = tab.page.locator(".stage").nth(2)
    for said in ("tuned − base", "−", "+", "share of the row"):
        expect(difference).to_contain_text(said)


def test_a_word_that_only_one_of_them_wrote_is_explained(tab: Tab) -> None:
    tab.open(page="compare", episode="plain", query="word.1")
    wait_for_both(tab)
    note = tab.page.locator(".stage").first.locator(".stage-note")
    expect(note).to_contain_text("generated no rationale")


def test_weights_say_where_attention_can_differ(tab: Tab) -> None:
    tab.open(page="compare", episode="plain")
    tab.page.get_by_text("Where the weights differ").wait_for()
    tab.page.get_by_text("attention can differ in every layer").wait_for()
    tab.page.locator(".js-plotly-plot").wait_for()
    saved = tab.page.locator(".chart-export")
    saved.locator(".open").click()
    with tab.page.expect_download() as download:
        saved.locator("[data-format=png]").click()
    picture = Image.open(download.value.path())
    assert "weights from" in picture.text["Description"] and "Frobenius norm" in picture.text["Description"]
    facts = json.loads(picture.text["vla-lens"])
    assert len({model["digest"] for model in facts["models"]}) == 2
    bars = CHANGED.lstrip("#")
    assert tuple(bytes.fromhex(bars)) in {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}


def test_going_from_trajectory_to_compare_keeps_the_view(tab: Tab) -> None:
    tab.open(episode="plain", step=4, map="inferno")
    tab.page.get_by_role("radio", name="Compare").or_(tab.page.get_by_role("button", name="Compare")).first.click()
    wait_for_both(tab)
    tab.page.wait_for_selector('.lens.compare[data-step="4"]')
    tab.wait_for_parameter("map", "inferno")
    tab.wait_for_parameter("page", "compare")
