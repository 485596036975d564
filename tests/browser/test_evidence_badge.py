"""The badge beside a map's caption in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import Tab
from tests.browser.world import checkpoint_named

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_every_attention_map_says_whether_it_was_tested(tab: Tab, world: Path) -> None:
    tab.open(episode="plain", checkpoint=checkpoint_named(world, "tuned").digest)
    tab.wait_for_rows()
    badge = tab.page.locator(".stage .faithful").first
    badge.wait_for(timeout=30_000)
    assert badge.inner_text() == "faithfulness not tested"
    assert "This reduction was not tested by itself" in (badge.get_attribute("title") or "")
