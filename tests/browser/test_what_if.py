"""The what-if page in a real browser: click, see the effect, follow the link."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from tests.browser.conftest import Tab

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
TABLE = "[data-what-if-table]"


def opened(tab: Tab, **parameters: object) -> None:
    tab.page.set_default_timeout(240_000)  # the first visit imports torch, and charts are drawn without a GPU
    tab.page.goto(f"{tab.address}/?{urlencode({'page': 'what-if', 'episode': 'plain', **parameters})}")
    tab.page.locator(".what-if-frames .patch").first.wait_for(state="attached", timeout=240_000)


def test_hiding_an_object_shows_its_effect_and_the_link_brings_it_back(tab: Tab) -> None:
    opened(tab, step=3)
    tab.page.get_by_role("button", name="red block").click()
    tab.page.locator(TABLE).wait_for(timeout=240_000)
    assert tab.page.get_by_text("the red block replaced by the mean colour").count() == 1
    assert "hide object" in (tab.parameter("edits") or "")
    assert tab.parameter("step") == "3"
    tab.page.reload()
    tab.page.locator(TABLE).wait_for(timeout=240_000)
    assert tab.page.get_by_role("button", name="red block").get_attribute("aria-pressed") == "true"


def test_patches_are_hidden_by_dragging_and_taken_back(tab: Tab) -> None:
    opened(tab)
    box = tab.page.locator(".what-if-frames svg.grid").bounding_box()
    tab.page.mouse.move(box["x"] + 5, box["y"] + 5)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5, steps=10)
    tab.page.mouse.up()
    tab.page.locator(TABLE).wait_for(timeout=240_000)
    assert tab.page.get_by_text("patches of shoulder replaced by the mean colour").count() == 1
    tab.page.get_by_role("button", name="✕").click()
    tab.page.get_by_text("Nothing yet.").wait_for(timeout=30_000)
    assert tab.parameter("edits") is None


def test_a_broken_link_is_said(tab: Tab) -> None:
    tab.page.goto(f"{tab.address}/?{urlencode({'page': 'what-if', 'episode': 'plain', 'edits': '[{'})}")
    tab.page.get_by_text("the link's edits cannot be read").wait_for(timeout=60_000)
    tab.page.get_by_role("button", name="Start without changes").click()
    tab.page.get_by_text("Nothing yet.").wait_for(timeout=60_000)
