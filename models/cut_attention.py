"""Knock-outs in a running model: which entries of which attention are closed, and which heads' outputs are zero.

As the collector of rows, the cuts of a run are a context variable: forwards elsewhere, and on other threads, are
ordinary ones. A family says before each forward which positions it reads and what they are; the attention function
(`models.capture.row_attention`) asks here for every module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from models.errors import UserError
from models.knock_out import Cut, HeadCut, Place, RouteCut, check_cuts, places_of
from models.policy import Policy
from models.types import Capture, CheckpointSpec, Observation, Part, Prediction, Rationale, TokenLayout

if TYPE_CHECKING:
    from models.capture import AttentionSite

LANGUAGE, EXPERT = "language", "action expert"


class CutAttention:
    """The cuts of one run. Belongs to one thread."""

    def __init__(self, cuts: Sequence[Cut], sites: Mapping[nn.Module, AttentionSite], prompt: TokenLayout):
        self._sites = sites
        self._routes = [cut for cut in cuts if isinstance(cut, RouteCut)]
        self._heads = [cut for cut in cuts if isinstance(cut, HeadCut)]
        self._places = places_of(prompt)
        self._prompt = len(prompt.tokens)
        self._queries: list[frozenset[Place]] = []  # of the running forward, all that a row counts as
        self._known = 0  # positions after the running forward
        self._made: dict[tuple[RouteCut, int, int], Tensor | None] = {}  # masks of the running forward
        self._used: set[Cut] = set()
        self._check_cameras()

    @property
    def by_name(self) -> bool:
        """Whether a part of the rationale is meant by its name: `expect` must be told names then."""
        return any(self._rationale_names(cut) for cut in self._routes)

    def expect(self, count: int, own: Sequence[Place], produced: Sequence[Place | None]) -> None:
        """The coming forward reads ``count`` further positions: what each is, and what its row produces.

        ``own`` may be empty for positions of the prompt, and begin before these positions: words that follow may tell
        what earlier ones are.
        """
        start = self._known
        self._places[start + count - len(own) :] = own
        self._expect(start, count, produced)

    def expect_all(self, layout: TokenLayout, start: int, count: int, shifted: bool) -> None:
        """The coming forward reads ``count`` positions from ``start`` on, all there are are known: ``layout``.

        ``shifted``: from the prompt's last position on, a row produces the next position; else each its own.
        """
        self._places = places_of(layout)
        after = [*self._places[1:], None] if shifted else [None] * len(self._places)
        self._prompt = self._prompt if shifted else len(self._places) + 1
        self._expect(start, count, after[start : start + count])

    def _expect(self, start: int, count: int, produced: Sequence[Place | None]) -> None:
        self._made.clear()
        self._known = start + count
        self._queries = []
        for position, made in zip(range(start, start + count), produced, strict=True):
            own = {self._places[position]} if position < self._prompt else set()
            made_here = {made} if made is not None and position >= self._prompt - 1 else set()
            self._queries.append(frozenset(own | made_here))

    def closed(
        self, module: nn.Module, query: Float[Tensor, "B A R d"], key: Float[Tensor, "B G K d"]
    ) -> Bool[Tensor, "1 #A R K"] | None:
        """Entries that the module's queries may not look at; None: it is not cut."""
        (heads, rows), keys, device = query.shape[1:3], key.shape[2], query.device
        site = self._sites.get(module)
        if site is None or site.stream not in (LANGUAGE, EXPERT):
            return None
        found: Tensor | None = None
        for cut in self._routes:
            if cut.layers is not None and site.layer not in cut.layers:
                continue
            mask = self._mask(cut, rows, keys, site.stream == EXPERT, device)
            if mask is None:
                continue
            self._used.add(cut)
            each = mask[None, None]
            if cut.heads is not None:
                chosen = torch.zeros(heads, dtype=torch.bool, device=device)
                chosen[list(cut.heads)] = True
                each = each & chosen[None, :, None, None]
            found = each if found is None else found | each
        return found

    def without_heads(self, module: nn.Module, output: Float[Tensor, "B R A d"]) -> Float[Tensor, "B R A d"]:
        """The module's output before its projection, knocked-out heads zero."""
        site = self._sites.get(module)
        out = [cut for cut in self._heads if site is not None and (cut.stream, cut.layer) == (site.stream, site.layer)]
        if not out:
            return output
        self._used.update(out)
        kept = torch.ones(output.shape[2], dtype=output.dtype, device=output.device)
        kept[[cut.head for cut in out]] = 0
        return output * kept[:, None]

    def check_used(self) -> None:
        """Raises UserError for a cut that met nothing in the whole run."""
        said = list(dict.fromkeys(name for part, name in self._places if part is Part.RATIONALE and name))
        every: list[Cut] = [*self._routes, *self._heads]
        for cut in every:
            if cut in self._used:
                continue
            for name in self._rationale_names(cut):
                if name not in said:
                    raise UserError(f"the rationale has no part {name!r}; it has {', '.join(said) or 'none'}")
            raise UserError(f"the knock-out {cut} cut nothing: no such position looks at any such position")

    def _mask(self, cut: RouteCut, rows: int, keys: int, expert: bool, device: torch.device) -> Tensor | None:
        """Bool [rows, keys], or None where nothing is closed."""
        place = (cut, rows, keys)
        if place not in self._made:
            first = 0 if expert else self._known - keys  # a sliding layer has dropped its oldest keys
            to = [cut.is_key(place) for place in self._places[first : min(first + keys, self._known)]]
            to += [False] * (keys - len(to))
            of = [any(map(cut.is_query, places)) for places in self._queries[len(self._queries) - rows :]]
            mask = torch.tensor(of, device=device)[:, None] & torch.tensor(to, device=device)[None]
            self._made[place] = mask if any(of) and any(to) else None
        return self._made[place]

    def _check_cameras(self) -> None:
        seen = list(dict.fromkeys(name for part, name in self._places if part is Part.IMAGE))
        for cut in self._routes:
            for part, name in ((cut.queries, cut.query_name), (cut.keys, cut.key_name)):
                if part is Part.IMAGE and name and name not in seen:
                    raise UserError(f"the policy sees no camera {name!r}; it sees {', '.join(seen)}")

    @staticmethod
    def _rationale_names(cut: Cut) -> list[str]:
        if isinstance(cut, HeadCut):
            return []
        ends = ((cut.queries, cut.query_name), (cut.keys, cut.key_name))
        return [name for part, name in ends if part is Part.RATIONALE and name]


_asked: ContextVar[tuple[Cut, ...]] = ContextVar("knock_outs_asked", default=())
_active: ContextVar[CutAttention | None] = ContextVar("knock_outs_of_a_run", default=None)


def active_cuts() -> CutAttention | None:
    """The cuts of the run on this thread; None where it is an ordinary one."""
    return _active.get()


@contextmanager
def cutting(sites: Mapping[nn.Module, AttentionSite], prompt: TokenLayout) -> Iterator[CutAttention | None]:
    """For a family, around one run: forwards inside are cut as `Cuttable.predict_without` was asked.

    Raises UserError for a cut that met nothing.
    """
    asked = _asked.get()
    cuts = CutAttention(asked, sites, prompt) if asked else None
    token = _active.set(cuts)
    try:
        yield cuts
    finally:
        _active.reset(token)
    if cuts is not None:
        cuts.check_used()


class Cuttable:
    """For a policy whose `predict` runs under `cutting`: makes it `models.policy.Knockable`."""

    info: CheckpointSpec

    def predict_without(
        self,
        observation: Observation,
        cuts: Sequence[Cut],
        capture: Capture | None = None,
        force: Rationale | str | None = None,
    ) -> Prediction:
        """See `models.policy.Knockable`."""
        check_cuts(cuts, self.info)
        assert isinstance(self, Policy)
        token = _asked.set(tuple(cuts))
        try:
            return self.predict(observation, capture, force)
        finally:
            _asked.reset(token)


def merged(mask: Tensor | None, closed: Bool[Tensor, "1 #A R K"], causal: bool) -> Bool[Tensor, "B #A R K"] | Tensor:
    """``mask`` (boolean: True may look; or additive) with the ``closed`` entries closed too."""
    rows, keys = closed.shape[2:]
    if mask is None:
        mask = torch.ones(rows, keys, dtype=torch.bool, device=closed.device)[None, None]
        mask = mask.tril() if causal and rows > 1 else mask  # SDPA aligns a causal mask at the upper left
    mask = mask[..., :keys]
    if mask.dtype == torch.bool:
        return mask & ~closed
    return mask.masked_fill(closed, -torch.inf)
