"""The what-if page in a real browser: click, see the effect, follow the link."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from analysis.evidence.drawn import DrawnBoxes, KeyBox, write_drawn
from analysis.workspace import Workspace
from tests.browser.conftest import Tab
from tests.browser.world import checkpoint_named

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
TABLE = "[data-what-if-table]"


def opened(tab: Tab, **parameters: object) -> None:
    tab.page.goto(f"{tab.address}/?{urlencode({'page': 'what-if', 'episode': 'plain'} | parameters)}")
    tab.page.locator(".what-if-frames .patch").first.wait_for(state="attached")


def test_hiding_an_object_shows_its_effect_and_the_link_brings_it_back(tab: Tab) -> None:
    opened(tab, step=3)
    tab.page.get_by_role("button", name="red block").click()
    tab.page.locator(TABLE).wait_for()
    expect(tab.page.get_by_text("the red block replaced by the mean colour")).to_have_count(1)
    tab.wait_until(lambda: "hide object" in (tab.parameter("edits") or ""), "the edit in the link")
    assert tab.parameter("step") == "3"
    tab.page.reload()
    tab.page.locator(TABLE).wait_for()
    expect(tab.page.get_by_role("button", name="red block")).to_have_attribute("aria-pressed", "true")


def test_patches_are_hidden_by_dragging_and_taken_back(tab: Tab) -> None:
    opened(tab)
    patches = tab.page.locator(".what-if-frames svg.grid .patch")
    patches.nth(0).hover()
    tab.page.mouse.down()
    tab.page.get_by_role("slider", name="Step").press("ArrowRight")  # other frames come under the pointer
    tab.wait_for_parameter("step", "1")
    tab.page.wait_for_timeout(1000)
    patches.nth(3).hover()
    tab.page.mouse.up()
    tab.page.locator(TABLE).wait_for()
    expect(tab.page.get_by_text("patches of shoulder replaced by the mean colour")).to_have_count(1)
    tab.page.get_by_role("button", name="✕").click()
    tab.page.get_by_text("Nothing yet.").wait_for()
    tab.wait_until(lambda: tab.parameter("edits") is None, "a link without edits")


def test_a_thing_that_somebody_drew_is_hidden_by_its_name(tab: Tab, world: Path) -> None:
    workspace = Workspace.open(world)
    digest = workspace.episode("wide", workspace.datasets()[0].name).meta.digest
    write_drawn(world, digest, DrawnBoxes((KeyBox("my <b>cup</b>", "shoulder", 1, (10.2, 20.0, 60.0, 80.0)),)))
    opened(tab, episode="wide", step=2)
    button = tab.page.get_by_role("button", name="my <b>cup</b>")
    button.click()
    tab.page.locator(TABLE).wait_for()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(tab.page.get_by_text("the box 10,20 to 60,80")).to_have_count(1)
    button.click()
    tab.page.get_by_text("Nothing yet.").wait_for()


def test_what_was_picked_in_the_player_is_asked_about(tab: Tab, world: Path) -> None:
    tuned = checkpoint_named(world, "tuned").digest
    tab.open(episode="plain", step=3, checkpoint=tuned, query="word.1", patch=5)
    tab.wait_for_rows()
    word = tab.page.locator(".chips.part-rationale button").nth(1).inner_text()
    tab.page.get_by_role("link", name="What if here").click()
    tab.page.locator(TABLE).wait_for()
    expect(tab.page.get_by_text("1 patch of shoulder replaced by the mean colour")).to_have_count(1)
    expect(tab.page.get_by_label("Swap", exact=True)).to_have_value(word)
    tab.wait_until(lambda: tab.parameter("hide") is None, "a link that hides by its edits")
    assert (tab.parameter("step"), tab.parameter("checkpoint")) == ("3", tuned)
    tab.page.get_by_label("What it says in").click()
    options = tab.page.get_by_role("option")
    expect(options.nth(1)).to_be_visible()
    expect(options.first).to_have_text("this episode")


def test_a_broken_link_is_said(tab: Tab) -> None:
    tab.page.goto(f"{tab.address}/?{urlencode({'page': 'what-if', 'episode': 'plain', 'edits': '[{'})}")
    tab.page.get_by_text("the link's edits cannot be read").wait_for()
    tab.page.get_by_role("button", name="Start without changes").click()
    tab.page.get_by_text("Nothing yet.").wait_for()
