"""Fields of a review project: what the form's widgets say as a `ProjectSettings` and a `Selection`, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from analysis.review import ORDERS, VERDICTS, LabelScheme, PartLabels, ProjectSettings, Selection
from analysis.workspace import Workspace

ORDER_TITLES: Mapping[str, str] = {
    "random": "random",
    "disagreement": "most disagreement first",
    "grounding": "least grounded first",
    "surprise": "most surprising to the model first",
}
MINUTE = 60.0
PLACEHOLDER = "What is a correct observation? When is a part partly right? Examples help more than rules."


def settings_fields(before: ProjectSettings, known: Sequence[str], form: str) -> ProjectSettings:
    """Widgets inside a form, filled with ``before``; what they say.

    ``known``: names offered as annotators. ``form``: tells the fields of one project and version from another's.
    """
    name = st.text_input("Name", before.name, max_chars=200, key=f"project_name_{form}")
    text = st.text_area(
        "Guidelines, in Markdown",
        before.guidelines,
        height=160,
        key=f"project_guidelines_{form}",
        placeholder=PLACEHOLDER,
    )
    columns = st.columns(4)
    overlap = columns[0].number_input("Annotators to an item", 1, 100, before.overlap, key=f"project_overlap_{form}")
    order = columns[1].selectbox(
        "Order", ORDERS, ORDERS.index(before.order), format_func=ORDER_TITLES.__getitem__, key=f"project_order_{form}"
    )
    minutes = columns[2].number_input(
        "Kept for an annotator, minutes", 0.1, 43_200.0, before.lease_seconds / MINUTE, key=f"project_lease_{form}",
        help="An item that was taken and neither judged nor touched for so long goes back to the queue.",
    )  # fmt: skip
    every = columns[3].number_input(
        "A gold item after so many",
        0,
        1000,
        before.gold_every or 0,
        key=f"project_gold_every_{form}",
        help="0: when it comes",
    )
    blind = st.checkbox(
        "Blind: annotators do not see each other's judgements", before.blind, key=f"project_blind_{form}"
    )
    closed = st.checkbox("Closed: nothing more is handed out or taken", before.closed, key=f"project_closed_{form}")
    names = sorted({*known, *before.annotators}, key=str.casefold)
    annotators = st.multiselect(
        "Annotators", names, list(before.annotators), accept_new_options=True, key=f"project_annotators_{form}",
        placeholder="anyone", help="Names, or e-mail addresses where people log in. Empty: anyone.",
    )  # fmt: skip
    labels = _labels(before.labels, form)
    return ProjectSettings(
        name=name,
        guidelines=text,
        labels=labels,
        overlap=int(overlap),
        gold_overlap=max(before.gold_overlap, int(overlap)) if before.gold_overlap else None,
        gold_every=int(every) or None,
        blind=blind,
        order=order,
        annotators=tuple(annotators),
        lease_seconds=float(minutes) * MINUTE,
        closed=closed,
    )


def _labels(before: LabelScheme, form: str) -> LabelScheme:
    with st.expander("Labels"):
        st.caption(
            "What can be said about a part, separated by commas. A row for a part replaces the usual labels. "
            "“All good” marks the parts that can be called “correct”; others are judged one by one."
        )
        verdicts = st.text_input("Verdicts", ", ".join(before.default.verdicts), key=f"project_verdicts_{form}")
        errors = st.text_input("Kinds of error", ", ".join(before.default.errors), key=f"project_errors_{form}")
        rows = [
            {"part": part, "verdicts": ", ".join(one.verdicts), "kinds of error": ", ".join(one.errors)}
            for part, one in before.parts.items()
        ]
        shape = rows or [{"part": "", "verdicts": "", "kinds of error": ""}]
        edited = st.data_editor(shape, num_rows="dynamic", hide_index=True, key=f"project_part_labels_{form}")
    default = PartLabels(_words(verdicts) or VERDICTS, _words(errors) if errors.strip() else ())
    return LabelScheme(default, dict(filter(None, (_part(row, default) for row in edited))))


def _part(row: Mapping[str, Any], default: PartLabels) -> tuple[str, PartLabels] | None:
    part = str(row.get("part") or "").strip()
    if not part:
        return None
    verdicts, errors = (_words(str(row.get(name) or "")) for name in ("verdicts", "kinds of error"))
    return part, PartLabels(verdicts or default.verdicts, errors or default.errors)


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for part in text.split(",") if (word := " ".join(part.split()))))


def selection_fields(workspace: Workspace) -> Selection:
    """Widgets that say which rationales a project holds."""
    datasets = [entry.name for entry in workspace.datasets()]
    picked = st.multiselect("Data sets", datasets, key="take_datasets", placeholder="all")
    left, right = st.columns(2)
    from_data = left.checkbox("Rationales that come with the episodes", True, key="take_from_data")
    from_records = right.checkbox("Rationales that policies wrote (stored runs)", False, key="take_from_records")
    authors = st.multiselect(
        "Authors", [], accept_new_options=True, key="take_authors", placeholder="all",
        help="A teacher's name, or a checkpoint's digest, exactly as it stands with the rationale.",
    )  # fmt: skip
    episodes = st.multiselect(
        "Episodes", [], accept_new_options=True, key="take_episodes", placeholder="all", help="Their ids."
    )
    columns = st.columns(3)
    sample = columns[0].number_input("How many (0: all)", 0, 10_000_000, 0, key="take_sample")
    seed = columns[1].number_input("Seed of the sample and order", 0, 2**31 - 1, 0, key="take_seed")
    every = columns[2].number_input("Of a run, one step in", 1, 1000, 1, key="take_every")
    return Selection(
        datasets=tuple(picked),
        episodes=tuple(episodes),
        authors=tuple(authors),
        from_data=from_data,
        from_records=from_records,
        every=int(every),
        sample=int(sample) or None,
        seed=int(seed),
    )
