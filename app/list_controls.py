"""Widgets that narrow and sort a list of episodes: one for each part of an `EpisodeList`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from app import session
from app.episode_list import ORDERS, RATIONALE, SUCCESS, USABLE, EpisodeList


def search(shown: EpisodeList) -> None:
    st.text_input(
        "Search",
        key=session.list_key("q", shown.filter.text),
        placeholder="Words of instruction, id or task",
        on_change=session.narrow_list,
        args=("q",),
    )


def success(shown: EpisodeList) -> None:
    _choice("Success", "success", shown, SUCCESS)


def rationale(shown: EpisodeList) -> None:
    _choice("Rationale", "rationale", shown, RATIONALE)


def split(shown: EpisodeList, names: Sequence[str]) -> None:
    asked = [shown.filter.split] if shown.filter.split else []  # a link can ask for any
    _choice("Split", "split", shown, {"": "Any"} | {name: name for name in (*names, *asked)})


def can_split(shown: EpisodeList, names: Sequence[str]) -> bool:
    """Whether there is more than one split to choose, or one chosen already, which must not be stuck."""
    return len(names) > 1 or bool(shown.filter.split)


def usable(shown: EpisodeList) -> None:
    _choice("Files", "broken", shown, USABLE)


def order(shown: EpisodeList) -> None:
    orders = ORDERS if shown.sort in ORDERS else {**ORDERS, shown.sort: shown.sort}  # a link can ask for any column
    _choice("Sort", "sort", shown, orders, "position")


def lengths(shown: EpisodeList) -> None:
    """Two fields beside each other."""
    fields = st.columns(2)
    for field, name, label, value in zip(
        fields,
        ("shortest", "longest"),
        ("Steps from", "to"),
        (shown.filter.shortest, shown.filter.longest),
        strict=True,
    ):
        field.number_input(
            label,
            min_value=0,
            max_value=10**9 - 1,
            value=None,
            step=1,
            key=session.list_key(name, value),
            placeholder="any",
            on_change=session.narrow_list,
            args=(name,),
        )


def datasets(shown: EpisodeList, names: Sequence[str]) -> None:
    st.multiselect(
        "Data sets",
        names,
        key=session.list_key("in", list(shown.filter.datasets)),
        placeholder="All",
        on_change=session.narrow_list,
        args=("in",),
    )


def pager(shown: EpisodeList, total: int, size: int, key: str) -> None:
    """Which of the episodes stand here, and buttons to the ones before and after."""
    last = max(0, (total - 1) // size)
    if not last:
        return
    before, where, after = st.columns([1, 3, 1], vertical_alignment="center")
    first = shown.page * size
    where.caption(f"{first + 1:,} to {min(total, first + size):,} of {total:,}", text_alignment="center")
    for column, icon, page, off, words in (
        (before, ":material/chevron_left:", shown.page - 1, shown.page <= 0, "Previous page"),
        (after, ":material/chevron_right:", shown.page + 1, shown.page >= last, "Next page"),
    ):
        column.button(
            "",
            icon=icon,
            key=f"{key}_{words.split()[0]}",
            help=words,
            disabled=off,
            on_click=session.turn_list_to,
            args=(page,),
            width="stretch",
        )


def _choice(label: str, name: str, shown: EpisodeList, offered: Mapping[str, str], default: str = "") -> None:
    value = shown.parameters().get(name, default)
    st.selectbox(
        label,
        list(offered),
        key=session.list_key(name, value),
        format_func=lambda each: offered[each],
        on_change=session.narrow_list,
        args=(name,),
    )
