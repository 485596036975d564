"""What a list of episodes shows, as a link carries it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.catalogue import Filter
from app.episode_list import ORDERS, EpisodeList, list_from

SETS = ("a/b", "über, alles", "c%2Cd")


def test_nothing_asked_lists_everything() -> None:
    assert list_from({}, SETS) == (EpisodeList(), ()) and not EpisodeList().narrowed
    assert EpisodeList().parameters() == {}


filters = st.builds(
    Filter,
    text=st.text(max_size=20),
    datasets=st.lists(st.sampled_from(SETS), unique=True).map(tuple),
    shortest=st.none() | st.integers(0, 999_999_999),
    longest=st.none() | st.integers(0, 999_999_999),
    success=st.sampled_from(["", "yes", "no", "unrecorded"]),
    has_rationale=st.sampled_from([None, True, False]),
    split=st.text(max_size=20),
    broken=st.sampled_from([None, True, False]),
)


@pytest.mark.slow
@given(st.builds(EpisodeList, filters, st.sampled_from(list(ORDERS)), st.integers(0, 10_000)))
def test_a_link_brings_the_same_list_back(shown: EpisodeList) -> None:
    assert list_from(shown.parameters(), SETS) == (shown, ())


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"success": "perhaps"}, "success=perhaps; expected yes, no, unrecorded"),
        ({"rationale": "1"}, "rationale=1; expected yes, no"),
        ({"shortest": "-3"}, "shortest=-3; expected a whole number"),
        ({"p": "two"}, "p=two; expected a whole number"),
        ({"p": "٣"}, "expected a whole number"),
        ({"sort": "colour"}, "sorts by colour; expected one of position"),
        ({"in": "gone"}, "data set “gone”, which is not here"),
    ],
)
def test_what_there_is_not_is_said(parameters: dict[str, str], sentence: str) -> None:
    shown, said = list_from(parameters, SETS)
    assert shown == EpisodeList() and len(said) == 1 and sentence in said[0]


@pytest.mark.slow
@given(
    st.dictionaries(st.sampled_from(["q", "in", "success", "split", "shortest", "sort", "p"]), st.text(max_size=600))
)
def test_no_link_breaks_it(parameters: dict[str, str]) -> None:
    shown, _ = list_from(parameters, SETS)
    assert list_from(shown.parameters(), SETS)[0] == shown
