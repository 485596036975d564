"""Every registered page names functions that exist, and has an address of its own."""

from __future__ import annotations

import pytest

from app.pages import PAGES, drawn_by
from app.session import address


@pytest.mark.slow
@pytest.mark.parametrize("title", PAGES)
def test_a_page_names_functions(title: str) -> None:
    for name in (PAGES[title].show, PAGES[title].below):
        assert name is None or callable(drawn_by(name))


def test_addresses_differ_and_need_no_quoting() -> None:
    addresses = [address(title) for title in PAGES]
    assert len(set(addresses)) == len(addresses)
    assert all(address.replace("-", "").isalnum() for address in addresses)
