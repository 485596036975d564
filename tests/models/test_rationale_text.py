from __future__ import annotations

import pytest

from models.config_section import ConfigSection
from models.errors import UserError
from models.rationale_text import PartTokens, RationaleFormat, join_parts, split_parts
from models.types import Rationale

FORMAT = RationaleFormat({"<obs>": "observation", "<plan>": "planning"}, 96, "rationale first")
MARKERS = {7: "observation", 8: "planning"}


def test_split_by_hand() -> None:
    assert split_parts([1, 7, 2, 3, 8, 8, 4], MARKERS) == (
        PartTokens("text", 0, 1, marker=False),
        PartTokens("observation", 1, 2, marker=True),
        PartTokens("observation", 2, 4, marker=False),
        PartTokens("planning", 4, 5, marker=True),
        PartTokens("planning", 5, 6, marker=True),
        PartTokens("planning", 6, 7, marker=False),
    )
    assert split_parts([], MARKERS) == ()


def test_a_part_said_twice_is_joined_and_nothing_is_none() -> None:
    joined = join_parts([("planning", "move"), ("observation", "cup"), ("planning", "down")], author="me")
    assert joined == Rationale({"planning": "move down", "observation": "cup"}, author="me")
    assert join_parts([], author="me") is None


def test_marked_text_and_its_lower_case() -> None:
    rationale = Rationale({"observation": "A Cup < 5 cm", "text": "Then", "planning": ""})
    assert FORMAT.marked(rationale) == "<obs> A Cup < 5 cm Then <plan>"
    assert FORMAT.lowered("<obs> A Cup < 5 CM <PLAN> Up <plan> Go") == "<obs> a cup < 5 cm <plan> up <plan> go"
    assert FORMAT.marked("as it is") == "as it is"


def test_refuses_parts_and_orders_it_does_not_know() -> None:
    with pytest.raises(UserError, match="no rationale part mood; it knows observation, planning"):
        FORMAT.marked(Rationale({"mood": "fine"}))
    with pytest.raises(UserError, match="order is 'last', expected one of 'rationale first', 'action first'"):
        RationaleFormat.read(ConfigSection("rationale", {"order": "last", "parts": {}, "max_tokens": 4}))
