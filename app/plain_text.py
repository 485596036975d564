"""Text from data sets and people, shown by Streamlit's Markdown as it is."""

from __future__ import annotations

SIGNS = frozenset("\\`*_{}[]<>()#+-.!|~$:&@=^\"'/")


def plain(text: str) -> str:
    """Text in which every sign stands for itself: no markup, no links, no directives, no formulas."""
    return "".join(f"\\{sign}" if sign in SIGNS else sign for sign in text)
