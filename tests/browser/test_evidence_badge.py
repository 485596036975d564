"""The badge beside a map's caption in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from analysis.evidence.asked_map import MEAN, AskedMap
from analysis.evidence.episodes import subject
from analysis.evidence.measurements import write_values
from analysis.evidence.probes.faithfulness import FaithfulnessProbe
from analysis.workspace import Workspace
from tests.browser.conftest import Tab
from tests.browser.world import checkpoint_named

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def pretend_tested(folder: Path, map: AskedMap = MEAN, steps: range = range(8)) -> None:
    """As if a map had been tested at these steps."""
    workspace, spec = Workspace.open(folder), checkpoint_named(folder, "tuned")
    own = subject(spec, workspace.episode("plain", workspace.datasets()[0].name))
    key = own.key(spec.digest, FaithfulnessProbe(map.fitted(spec)))
    for step in steps:
        write_values(workspace.records, key, step, {"deletion gain": 0.1 + step / 100, "insertion gain": -0.1})


def test_every_map_says_whether_it_was_tested_and_can_be(tab: Tab, world: Path) -> None:
    pretend_tested(world)
    tab.open(episode="plain", checkpoint=checkpoint_named(world, "tuned").digest, reduce="head", layer=1, head=2)
    tab.wait_for_rows()
    badge, button = tab.page.locator(".stage .faithful").first, tab.page.locator(".stage .test-map").first
    button.filter(has_text="Test this map").click()
    badge.filter(has_text="of 12 steps").wait_for()
    button.filter(has_text="Cancel").click()
    badge.filter(has_text="faithfulness not tested").wait_for()
    tab.page.locator(".segmented button", has_text="Mean").first.click()
    badge.filter(has_text="faithfulness failed, n = 8 steps").wait_for()
    expect(badge).to_have_attribute("title", re.compile("deletion passed"))
    expect(button).to_be_hidden()


def test_a_test_that_ends_elsewhere_is_told_on_a_page_that_nobody_touches(tab: Tab, world: Path) -> None:
    strongest = AskedMap.of("attention", {"reduce": "max"})
    pretend_tested(world, strongest)
    tab.page.clock.install()
    tab.open(episode="plain", checkpoint=checkpoint_named(world, "tuned").digest, reduce="max")
    badge = tab.page.locator(".stage .faithful").first
    badge.filter(has_text="n = 8 steps").wait_for()
    pretend_tested(world, strongest, range(8, 10))
    tab.page.clock.fast_forward("00:40")
    badge.filter(has_text="n = 10 steps").wait_for()
