"""Somebody who judges in a browser tab, and what the store has of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from analysis.review import Review
from tests.browser.review_world import ReviewWorld
from tests.browser.world import PATIENCE


class Reviewer:
    """A tab in which somebody judges."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, project: str, person: str = "Ann", wait: str = ".desk[data-ready]", **parameters: str) -> None:
        asked = {"page": "review", "project": project, "person": person} | parameters
        self.page.goto(f"{self.address}/?{urlencode(asked)}")
        self.page.wait_for_selector(wait)
        self.page.wait_for_timeout(300)  # no judgement is sent in the first moment of an item

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def item(self) -> str:
        return str(self.page.locator(".desk").get_attribute("data-ready"))

    def message(self, text: str) -> None:
        self.page.locator(".bar .message").filter(has_text=text).wait_for()

    def saved(self, text: str = "All saved") -> None:
        self.page.locator(".bar .saved").filter(has_text=text).wait_for()

    def next_after(self, item: str) -> str:
        """Waits until another item stands there, ready."""
        self.page.wait_for_selector(f".desk[data-ready]:not([data-ready='{item}'])")
        self.page.wait_for_timeout(300)
        return self.item

    def all_sent(self) -> None:
        self.page.wait_for_selector(".desk[data-unsent='0']")


def reviews(world: ReviewWorld, project: str) -> dict[str, Review]:
    return {one.item: one for one in world.store.reviews(project)}
