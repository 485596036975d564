"""The catalogue and the overview in Chromium: first frames, filters in the link, opening, exporting, what is broken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from analysis.workspace import Workspace
from tests.browser.conftest import Tab
from tests.browser.world import HTML

pytestmark = pytest.mark.browser


def cards(tab: Tab) -> Any:
    return tab.page.locator(".catalogue .card")


@pytest.fixture
def catalogue(tab: Tab) -> Iterator[Tab]:
    """The catalogue, its cards drawn."""
    tab.page.goto(f"{tab.address}/?page=catalogue")
    cards(tab).first.wait_for()
    yield tab


def test_first_frames_are_shown_and_texts_do_no_harm(catalogue: Tab) -> None:
    catalogue.page.wait_for_function(
        "() => [...document.querySelectorAll('*')].flatMap((n) => n.shadowRoot ? [n.shadowRoot] : [document])"
        ".flatMap((r) => [...r.querySelectorAll('.catalogue img')]).some((i) => i.complete && i.naturalWidth > 0)",
    )
    card = cards(catalogue).filter(has_text="put <b>the block</b>")
    expect(card.locator(".instruction")).to_have_text(HTML)
    assert catalogue.page.evaluate("window.harmed") is None


def test_a_broken_file_is_a_card_with_its_reason(catalogue: Tab) -> None:
    card = catalogue.page.locator(".catalogue .card.broken").filter(has_text="truncated.hdf5")
    expect(card).to_contain_text("cannot be used")
    expect(card.locator(".reason")).to_have_text(re.compile(".{21,}", re.DOTALL))


def test_filters_and_order_stand_in_the_link(catalogue: Tab) -> None:
    search = catalogue.page.get_by_label("Search")
    search.fill("wide")
    search.press("Enter")
    catalogue.wait_for_parameter("q", "wide")
    catalogue.page.get_by_text("Clear filters").wait_for()
    expect(cards(catalogue)).to_have_count(1)
    catalogue.page.goto(f"{catalogue.address}/?page=catalogue&sort=-length&broken=no")
    cards(catalogue).first.wait_for()
    lengths = [int(text.split("steps")[0].split()[-1]) for text in cards(catalogue).all_inner_texts()]
    assert lengths == sorted(lengths, reverse=True) and lengths[0] == 12


def test_a_click_opens_the_episode(catalogue: Tab) -> None:
    cards(catalogue).filter(has_text="put the wide block away").locator("a.open").click()
    catalogue.page.wait_for_selector(".lens[data-step]")
    catalogue.wait_for_parameter("episode", "wide")
    catalogue.wait_for_parameter("page", "trajectory")


def test_ticked_episodes_are_exported(catalogue: Tab, world: Path) -> None:
    page = catalogue.page
    cards(catalogue).filter(has_text="put the wide block away").locator("input[type=checkbox]").check()
    page.get_by_role("button", name="Export 1 ticked").click()
    page.get_by_label("Folder, under").fill("chosen")
    page.get_by_label("Folder, under").press("Enter")
    page.get_by_role("button", name="Export", exact=True).click()
    page.get_by_text("1 episodes, 3 steps as HDF5").wait_for()
    assert [path.name for path in (world / "exports" / "chosen").iterdir()] == ["wide.hdf5"]


def test_the_overview_draws_lengths_and_actions(tab: Tab, world: Path) -> None:
    tab.page.goto(f"{tab.address}/?page=data-set")
    tab.page.get_by_text("Missing and broken files").wait_for()
    tab.page.get_by_text("n = ").wait_for()
    tab.page.get_by_text("As numbers").wait_for()
    tab.page.locator(".js-plotly-plot .subplot").nth(7).wait_for(state="attached")  # lengths, 7 actions
    expect(tab.page.get_by_text("truncated.hdf5").first).to_be_attached()
    assert tab.page.evaluate("window.harmed") is None
    (dataset,) = Workspace.open(world).datasets()
    expect(tab.page.get_by_text(dataset.name, exact=True).first).to_be_attached()
