"""The what-if page's editor of attention: routes and heads to knock out."""

from __future__ import annotations

import streamlit as st

from analysis.interventions.knock_outs import KnockOutHead, KnockOutRoute
from app.plain_text import plain
from app.views.what_if_editors import add
from app.what_if import Place, Seen
from models.knock_out import NAMED
from models.types import RATIONALE_TITLES, CheckpointSpec, Part, TokenLayout

PART_NAMES = {
    Part.ACTION: "action",
    Part.RATIONALE: "rationale",
    Part.INSTRUCTION: "instruction",
    Part.IMAGE: "image",
    Part.STATE: "state",
    Part.PROMPT: "fixed words of the prompt",
    Part.SPECIAL: "special tokens (sinks)",
}


def attention_editor(place: Place, seen: Seen) -> None:
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
    st.button("Knock this route out", on_click=add, args=(route,), disabled=queries is None or keys is None)


def _head(spec: CheckpointSpec) -> None:
    streams = ["language", *(["action expert"] if spec.expert_layers else [])]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        stream = st.selectbox("Stream", streams, key="head_stream") if len(streams) > 1 else streams[0]
        expert = stream == "action expert"
        layers, heads = (spec.expert_layers, spec.expert_heads) if expert else (spec.layers, spec.heads)
        layer = int(st.number_input("Layer", 0, max(layers - 1, 0), 0, key=f"head_layer_{stream}", width=130))
        head = int(st.number_input("Head", 0, max(heads - 1, 0), 0, key=f"head_head_{stream}", width=130))
        st.button("Knock this head out", on_click=add, args=(KnockOutHead(layer, head, stream or "language"),))
