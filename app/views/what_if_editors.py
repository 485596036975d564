"""The what-if page's editors: each button adds a change to the list."""

from __future__ import annotations

from typing import get_args

import streamlit as st

from analysis.attribution.features import Fill
from analysis.interventions import instruction_edits as instructions
from analysis.interventions import rationale_edits as rationales
from analysis.interventions.image_edits import FILLS
from analysis.interventions.knock_outs import KnockOutHead, KnockOutRoute
from analysis.interventions.question import Intervention, Question, Situation
from app import session
from app.plain_text import plain
from app.what_if import Place, Seen
from app.what_if_edits import INSTRUCTION, added, with_fill, with_instruction
from models.errors import UserError
from models.knock_out import NAMED
from models.types import RATIONALE_TITLES, CheckpointSpec, Part, Rationale, TokenLayout

Edits = tuple[Intervention, ...]
PRESETS: dict[str, Intervention] = {
    "Blank": instructions.BlankInstruction(),
    "Shuffled": instructions.ShuffledInstruction(),
    "Other object": instructions.OtherObject(),
    "Negated": instructions.NegatedInstruction(),
    "Paraphrase": instructions.ParaphrasedInstruction(),
}
PART_NAMES = {
    Part.ACTION: "action",
    Part.RATIONALE: "rationale",
    Part.INSTRUCTION: "instruction",
    Part.IMAGE: "image",
    Part.STATE: "state",
    Part.PROMPT: "fixed words of the prompt",
    Part.SPECIAL: "special tokens (sinks)",
}


def fill_editor(edits: Edits) -> None:
    """What hidden pixels become."""
    options = list(get_args(Fill))
    st.segmented_control(
        "Hidden pixels become",
        options,
        default="mean",
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
        "Drop this part", width="stretch", disabled=part is None, on_click=_add, args=(rationales.DropPart(part or ""),)
    )
    one, other, swap = st.columns([2, 2, 2], vertical_alignment="bottom")
    first = one.text_input("Swap", value="left", key="swap_one", max_chars=80).strip()
    second = other.text_input("with", value="right", key="swap_other", max_chars=80).strip()
    swapping = rationales.SwapWords(first, second)
    swap.button("Swap", width="stretch", disabled=not first or not second, on_click=_add, args=(swapping,))
    count, random = st.columns(2, vertical_alignment="bottom")
    number = int(count.number_input("Words at random", 1, 500, 2, key="random_words"))
    random.button(
        "Replace them",
        width="stretch",
        on_click=_add,
        args=(rationales.RandomWords(number),),
        help="The control of another edit: as many random words changed.",
    )
    step, take = st.columns(2, vertical_alignment="bottom")
    length = place.library.episode(place.asked.dataset, place.asked.episode).meta.length
    index = int(step.number_input("Another step", 0, max(length - 1, 0), 0, key="other_step"))
    take.button("Take what it says there", width="stretch", on_click=_add, args=(rationales.OtherRationale(index),))
    words, sentences = st.columns(2)
    words.button("Shuffle words", width="stretch", on_click=_add, args=(rationales.ShuffleWords(),))
    sentences.button("Shuffle sentences", width="stretch", on_click=_add, args=(rationales.ShuffleSentences(),))


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


def attention_editor(place: Place, seen: Seen, edits: Edits) -> None:
    """Routes and heads; greyed out where the policy's attention cannot be cut."""
    if (why := seen.why_not.get("attention")) is not None:
        st.caption(f":material/block: {plain(why)}.")
        return
    spec = place.spec
    _route(spec, ends_of(seen.answer.layout))
    _head(spec)
    st.caption(
        "Only the direct route is cut: what other positions took up in lower layers still arrives. "
        "The rest of each row is renormalised."
    )


def ends_of(layout: TokenLayout) -> dict[str, str]:
    """What a route may begin or end at, as `KnockOutRoute` writes it -> as a person reads it."""
    found: dict[str, str] = {}
    for part, title in PART_NAMES.items():
        names = list(dict.fromkeys(span.name for span in layout.spans if span.part is part))
        found |= {str(part): title} if names else {}
        if part in NAMED and len(names) > 1:
            found |= {f"{part}:{name}": f"{title}: {RATIONALE_TITLES.get(name, name)}" for name in names}
    return found


def _route(spec: CheckpointSpec, ends: dict[str, str]) -> None:
    left, right = st.columns(2)
    names = list(ends)
    queries = left.selectbox("From", names, format_func=lambda end: ends.get(end, end), key="route_from")
    image = names.index(Part.IMAGE) if Part.IMAGE in names else 0
    keys = right.selectbox("to", names, index=image, format_func=lambda end: ends.get(end, end), key="route_to")
    expert = spec.expert_layers if queries == Part.ACTION else 0
    count, heads = expert or spec.layers, (spec.expert_heads if expert else 0) or spec.heads
    first, last = (
        st.slider("Layers", 0, count - 1, (0, count - 1), key=f"route_layers_{count}") if count > 1 else (0, 0)
    )
    picked = st.multiselect("Heads", list(range(heads)), key=f"route_heads_{heads}", placeholder="all of them")
    layers = None if (first, last) == (0, count - 1) else tuple(range(first, last + 1))
    route = KnockOutRoute(queries or "", keys or "", layers, tuple(sorted(picked)) or None)
    st.button("Knock this route out", on_click=_add, args=(route,), disabled=queries is None or keys is None)


def _head(spec: CheckpointSpec) -> None:
    streams = ["language", *(["action expert"] if spec.expert_layers else [])]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        stream = st.selectbox("Stream", streams, key="head_stream") if len(streams) > 1 else streams[0]
        expert = stream == "action expert"
        layers, heads = (spec.expert_layers, spec.expert_heads) if expert else (spec.layers, spec.heads)
        layer = int(st.number_input("Layer", 0, max(layers - 1, 0), 0, key=f"head_layer_{stream}", width=130))
        head = int(st.number_input("Head", 0, max(heads - 1, 0), 0, key=f"head_head_{stream}", width=130))
        st.button("Knock this head out", on_click=_add, args=(KnockOutHead(layer, head, stream or "language"),))


def _add(one: Intervention) -> None:
    session.keep_edits(added(session.edits(), one))


def _situation(place: Place, seen: Seen) -> Situation:
    """As far as words need it: images are left out."""
    asked = place.asked
    step = place.library.read(asked.dataset, asked.episode, lambda each: each.step(place.step))
    return Situation(place.cameras.seen(step.observation), seen.layout, seen.answer, seen.objects, place.step)
