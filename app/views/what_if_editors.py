"""The what-if page's editors: each button adds a change to the list."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import streamlit as st

from analysis.attribution.features import Fill
from analysis.catalogue import Filter
from analysis.interventions import instruction_edits as instructions
from analysis.interventions import rationale_edits as rationales
from analysis.interventions.image_edits import FILLS
from analysis.interventions.question import Intervention, Question, Situation
from analysis.types import EpisodeMeta
from app import session
from app.plain_text import plain
from app.selection import episode_label
from app.what_if import Place, Seen
from app.what_if_edits import IMAGE, INSTRUCTION, added, with_fill, with_instruction
from models.errors import UserError
from models.types import RATIONALE_TITLES, Rationale

Edits = tuple[Intervention, ...]
OFFERED = 50  # episodes in a select box; more are searched
PRESETS: dict[str, Intervention] = {
    "Blank": instructions.BlankInstruction(),
    "Shuffled": instructions.ShuffledInstruction(),
    "Other object": instructions.OtherObject(),
    "Negated": instructions.NegatedInstruction(),
    "Paraphrase": instructions.ParaphrasedInstruction(),
}


def fill_editor(edits: Edits) -> None:
    """What hidden pixels become; it begins with what the link's changes have."""
    options = list(get_args(Fill))
    now = next((each.fill for each in edits if isinstance(each, IMAGE)), "mean")
    st.segmented_control(
        "Hidden pixels become",
        options,
        default=now,
        key="what_if_fill",
        format_func=lambda fill: FILLS[fill],
        on_change=lambda: session.keep_edits(with_fill(session.edits(), _chosen_fill())),
        required=True,
    )


def _chosen_fill() -> Fill:
    held = session.value("what_if_fill", "mean")
    return next((fill for fill in get_args(Fill) if fill == held), "mean")


def instruction_editor(place: Place, seen: Seen, edits: Edits) -> None:
    """Presets, each shown with the words that it gives, and own words."""
    here = _situation(place, seen)
    old = here.observation.instruction
    st.caption(f"As it is: “{plain(old)}”")
    for label, preset in PRESETS.items():
        _preset(label, preset, here, edits)
    now = next((each for each in edits if isinstance(each, INSTRUCTION)), None)
    start = now.words if isinstance(now, instructions.OwnInstruction) else old
    with st.form("own_instruction", border=False):
        field, button = st.columns([5, 2], vertical_alignment="bottom")
        words = field.text_input("Own words", value=start, max_chars=500, key=f"own_instruction_{old}")
        if button.form_submit_button("Ask this", width="stretch"):
            session.keep_edits(with_instruction(edits, instructions.OwnInstruction(words)))
            st.rerun()


def _preset(label: str, preset: Intervention, here: Situation, edits: Edits) -> None:
    button, said = st.columns([2, 5], vertical_alignment="center")
    try:
        question = preset.change(Question(here.observation), here)
        text, why = question.observation.instruction, ""
    except UserError as error:
        text, why = "", str(error)
    on = preset in edits
    button.button(
        label,
        key=f"preset_{label}",
        type="primary" if on else "secondary",
        disabled=bool(why),
        help=why or None,
        width="stretch",
        on_click=lambda: session.keep_edits(with_instruction(session.edits(), None if on else preset)),
    )
    said.caption(plain(why or text or "(no words at all)"))


def rationale_editor(place: Place, seen: Seen, edits: Edits) -> None:
    """By part; greyed out where the policy writes none."""
    if (why := seen.why_not.get("rationale")) is not None:
        st.caption(f":material/block: {plain(why)}.")
        return
    said = seen.answer.rationale
    if said is None:
        st.caption("The policy said nothing at this step. Own words can still be forced on it.")
    else:
        for name, text in said.parts.items():
            st.markdown(f"**{plain(RATIONALE_TITLES.get(name, name))}**  \n{plain(text)}")
        _rationale_buttons(place, said, edits)
    _own_rationale(said, edits)


def _rationale_buttons(place: Place, said: Rationale, edits: Edits) -> None:
    parts = list(said.parts)
    left, right = st.columns(2, vertical_alignment="bottom")
    part = left.selectbox("Part", parts, format_func=lambda name: RATIONALE_TITLES.get(name, name), key="drop_part")
    right.button(
        "Drop this part", width="stretch", disabled=part is None, on_click=add, args=(rationales.DropPart(part or ""),)
    )
    one, other, swap = st.columns([2, 2, 2], vertical_alignment="bottom")
    word = session.picked_word()
    first = one.text_input("Swap", value=word or "left", key=f"swap_one_{word}", max_chars=80).strip()
    second = other.text_input("with", value="" if word else "right", key=f"swap_other_{word}", max_chars=80).strip()
    swapping = rationales.SwapWords(first, second)
    swap.button("Swap", width="stretch", disabled=not first or not second, on_click=add, args=(swapping,))
    count, random = st.columns(2, vertical_alignment="bottom")
    number = int(count.number_input("Words at random", 1, 500, 2, key="random_words"))
    random.button(
        "Replace them",
        width="stretch",
        on_click=add,
        args=(rationales.RandomWords(number),),
        help="The control of another edit: as many random words changed.",
    )
    _elsewhere(place)
    words, sentences = st.columns(2)
    words.button("Shuffle words", width="stretch", on_click=add, args=(rationales.ShuffleWords(),))
    sentences.button("Shuffle sentences", width="stretch", on_click=add, args=(rationales.ShuffleSentences(),))


def _elsewhere(place: Place) -> None:
    """What the policy says at another step, of this episode or another one of the data set."""
    asked = place.asked
    own, others = place.library.episode(asked.dataset, asked.episode).meta, place.library.workspace.index
    usable = Filter(datasets=(asked.dataset,), broken=False)
    many = others.query(usable, size=0).total > OFFERED
    words = st.text_input("Search episodes", key="other_search", max_chars=200) if many else ""
    found = others.query(replace(usable, text=words or ""), size=OFFERED).entries
    metas = {own.id: own} | {one.entry.id: one.entry for one in found if isinstance(one.entry, EpisodeMeta)}
    episode, step, take = st.columns([4, 2, 3], vertical_alignment="bottom")
    picked = episode.selectbox(
        "What it says in",
        list(metas),
        format_func=lambda id: "this episode" if id == own.id else episode_label(metas[id]) if id in metas else id,
        key=f"other_episode_{asked.dataset}_{own.id}",
    )
    chosen = metas.get(picked or own.id, own)
    index = int(step.number_input("at step", 0, max(chosen.length - 1, 0), 0, key=f"other_step_{chosen.id}"))
    other = rationales.OtherRationale(index, None if chosen.id == own.id else chosen.id)
    take.button("Take these words", width="stretch", on_click=add, args=(other,))


def _own_rationale(said: Rationale | None, edits: Edits) -> None:
    with st.expander("Own words"), st.form("own_rationale", border=False):
        names = list(said.parts) if said is not None else ["text"]
        texts = {
            name: st.text_area(
                RATIONALE_TITLES.get(name, name),
                value=said.parts[name] if said is not None else "",
                max_chars=4000,
                key=f"own_{name}_{hash(said.text) if said is not None else 0}",
                height=80,
            )
            for name in names
        }
        if st.form_submit_button("Force these words"):
            session.keep_edits(added(edits, rationales.OwnRationale(texts)))
            st.rerun()


def add(one: Intervention) -> None:
    session.keep_edits(added(session.edits(), one))


def _situation(place: Place, seen: Seen) -> Situation:
    """As far as words need it: images are left out."""
    asked = place.asked
    step = place.library.read(asked.dataset, asked.episode, lambda each: each.step(place.step))
    return Situation(place.cameras.seen(step.observation), seen.layout, seen.answer, seen.objects, place.step)
