"""``kill -9`` of the server while somebody reviews: drafts and what was acknowledged are there afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.review_world import ReviewWorld, make_review_world
from tests.browser.reviewer import Reviewer, reviews

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ReviewWorld]:
    made = make_review_world(tmp_path)
    made.start()
    yield made
    made.stop()


def test_a_killed_server_loses_nothing(browser: Any, world: ReviewWorld) -> None:
    project = world.project("killed", 8)
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    ann = Reviewer(context.new_page(), world.address)
    ann.open(project)
    acknowledged = [ann.item]
    ann.press("g", "Enter")
    unsent = ann.next_after(acknowledged[0])
    ann.all_sent()
    world.kill()
    ann.press("1", "3", "d", "Enter")  # judged while nobody answers; the next item was fetched before
    drafted = ann.next_after(unsent)
    ann.saved("1 judgement not stored yet")
    ann.press("1", "2", "m")
    ann.page.keyboard.type("written while the server was dead")
    ann.saved("Kept in this browser")
    assert set(reviews(world, project)) == set(acknowledged)
    ann.page.close()  # and the tab too
    world.start()
    again = Reviewer(context.new_page(), world.address)
    again.open(project)
    again.all_sent()
    assert set(reviews(world, project)) == {acknowledged[0], unsent}
    assert len(world.store.review_history(project)) == 2
    assert again.item == drafted
    expect(again.page.locator(".comment")).to_have_value("written while the server was dead")
    again.press("Escape", "g", "Enter")
    again.next_after(drafted)
    again.all_sent()
    world.kill()
    world.start()
    stored = reviews(world, project)
    assert set(stored) == {acknowledged[0], unsent, drafted}
    assert stored[drafted].judgement.comment == "written while the server was dead"  # type: ignore[union-attr]
    context.close()
