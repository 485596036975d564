"""What can be knocked out of a policy's attention: a route between two kinds of positions, or a head. No torch.

A route is closed before the softmax: the rows of its queries are renormalised over what they may still look at; a row
that may look nowhere gives zero. A head is knocked out by zeroing what it hands to the output projection. Both follow
the common practice of causal tracing (attention knock-out: Geva et al., 2023, 2304.14767; head ablation: Michel et al.,
2019, 1905.10650, with zero in place of their mask variable).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from models.errors import UserError
from models.types import CheckpointSpec, Part, TokenLayout

STREAMS = ("language", "action expert")
NAMED = (Part.IMAGE, Part.RATIONALE)  # parts of which one may be meant by its name: a camera, "planning"
Place = tuple[Part, str]  # what a position is, and its name where its part is `NAMED`, else ""


@dataclass(frozen=True)
class RouteCut:
    """Positions of ``queries`` may not look at positions of ``keys``, in some layers and heads.

    Whose row it is follows `models.types.AttentionRecord`: from the last position of the prompt on, a row is that of
    the token it produces, so ``queries=ACTION`` closes the rows that actions are read off. The last position of the
    prompt counts as its own part too. While a policy picks words freely, the rows that pick the marks between parts
    count as rationale.
    """

    queries: Part
    keys: Part
    layers: tuple[int, ...] | None = None  # of the stream in which these queries are; None: all
    heads: tuple[int, ...] | None = None  # None: all
    key_name: str = ""  # only this camera's image, or this part of the rationale
    query_name: str = ""

    def __str__(self) -> str:
        ends = (_named(self.queries, self.query_name), _named(self.keys, self.key_name))
        return f"{'->'.join(ends)}{_where(self.layers, self.heads)}"

    def is_query(self, place: Place) -> bool:
        return place[0] is self.queries and self.query_name in ("", place[1])

    def is_key(self, place: Place) -> bool:
        return place[0] is self.keys and self.key_name in ("", place[1])


@dataclass(frozen=True)
class HeadCut:
    """The head adds nothing to the stream, at any position."""

    layer: int
    head: int
    stream: str = "language"

    def __str__(self) -> str:
        return f"head {self.layer}.{self.head}" + (f" of the {self.stream}" if self.stream != "language" else "")


Cut = RouteCut | HeadCut


def places_of(layout: TokenLayout) -> list[Place]:
    """What every position is."""
    return [
        (span.part, span.name if span.part in NAMED else "")
        for span in layout.spans
        for _ in range(span.start, span.stop)
    ]


def closed_entries(cut: RouteCut, layout: TokenLayout, prompt: int) -> Bool[np.ndarray, "K K"]:
    """What a route closes in a whole sequence whose first ``prompt`` positions are the prompt: [query, key]."""
    places = places_of(layout)
    queries = [
        (query < prompt and cut.is_query(place))
        or (query >= prompt - 1 and query + 1 < len(places) and cut.is_query(places[query + 1]))
        for query, place in enumerate(places)
    ]
    keys = [cut.is_key(place) for place in places]
    return np.array(queries)[:, None] & np.array(keys)[None]


def check_cuts(cuts: Sequence[Cut], info: CheckpointSpec) -> None:
    """Raises UserError for layers, heads, streams or parts that the policy does not have."""
    for cut in cuts:
        if isinstance(cut, HeadCut):
            _check_head(cut, info)
        else:
            _check_route(cut, info)


def _check_head(cut: HeadCut, info: CheckpointSpec) -> None:
    if cut.stream not in STREAMS or (cut.stream != "language" and not info.expert_layers):
        there = STREAMS if info.expert_layers else STREAMS[:1]
        raise UserError(f"{info.name} has no stream {cut.stream!r} whose heads can be knocked out; it has {_or(there)}")
    layers, heads = _sizes(info, cut.stream)
    if not 0 <= cut.layer < layers:
        raise UserError(f"there is no layer {cut.layer}; the {cut.stream} of {info.name} has layers 0 to {layers - 1}")
    if not 0 <= cut.head < heads:
        raise UserError(f"there is no head {cut.head}; the {cut.stream} of {info.name} has heads 0 to {heads - 1}")


def _check_route(cut: RouteCut, info: CheckpointSpec) -> None:
    layers, heads = _sizes(info, "action expert" if info.expert_layers and cut.queries is Part.ACTION else "language")
    for name, asked, count in (("layer", cut.layers, layers), ("head", cut.heads, heads)):
        if asked is not None and not asked:
            raise UserError(f"{cut} names no {name}; leave {name}s out to cut all of them")
        outside = [number for number in asked or () if not 0 <= number < count]
        if outside:
            raise UserError(f"there is no {name} {outside[0]}; {info.name} has {name}s 0 to {count - 1} there")
    for part, name in ((cut.queries, cut.query_name), (cut.keys, cut.key_name)):
        if name and part not in NAMED:
            raise UserError(f"{cut} names {name!r}, but only cameras and parts of the rationale have names")
        if part is Part.ACTION and info.action_space is None:
            raise UserError(f"{info.name} predicts no actions, so {cut} cuts nothing")
        if part is Part.RATIONALE and not info.generates_rationale and info.action_space is not None:
            raise UserError(f"{info.name} writes no rationale, so {cut} cuts nothing")


def _sizes(info: CheckpointSpec, stream: str) -> tuple[int, int]:
    return (info.expert_layers, info.expert_heads) if stream == "action expert" else (info.layers, info.heads)


def _named(part: Part, name: str) -> str:
    return f"{part}:{name}" if name else str(part)


def _where(layers: tuple[int, ...] | None, heads: tuple[int, ...] | None) -> str:
    in_layers = "" if layers is None else f" in layers {numbers(layers)}"
    return in_layers + ("" if heads is None else f", heads {numbers(heads)}")


def numbers(values: Sequence[int]) -> str:
    """Whole numbers as a person writes them: 0-3,7."""
    runs: list[list[int]] = []
    for value in sorted(set(values)):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _or(names: Sequence[str]) -> str:
    return " or ".join(names)
