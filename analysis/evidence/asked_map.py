"""Which map is tested: how it is made and what it is about, in the words of a link into the player. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from analysis.attribution.registry import METHODS, method_class
from analysis.attribution.settings import settings_of, with_settings
from analysis.attribution.target import SCALARS
from analysis.pictures.rows import EXPERT
from analysis.pictures.view import View
from analysis.records import Setting
from models.errors import UserError
from models.policy import Policy
from models.types import CheckpointSpec

ATTENTION = "attention"  # what the policy looked at, reduced as in the player; every other method is an attribution
ISS = "iss"
MOVING = (ISS, "occlusion", "ablation", "shapley")  # can measure how far a whole action moves
LAYERS = ("from", "to")
REDUCTIONS: Mapping[str, tuple[str, ...]] = {  # -> what else makes the map
    "head": ("layer", "head"),
    "mean": LAYERS,
    "max": LAYERS,
    "topk": (*LAYERS, "k", "keep", "ranked_by", "ranked_over", "fuse", "ranked_camera", "rows"),
    "rollout": (),
}
WHOSE = ("stream", "denoise", "patch")


@dataclass(frozen=True)
class AskedMap:
    """Made by `of`, which puts settings into one form, so that equal maps are equal.

    Settings of attention are those of a link, with layers by the model's own numbers; -1 of ``to`` and ``denoise`` is
    the last. Seeds are no setting here: what a method draws is drawn anew at every step.
    """

    method: str
    settings: str  # JSON, sorted
    query: str = "action"
    scalar: str = ""  # of an attribution: which number is explained

    @staticmethod
    def of(
        method: str = ATTENTION,
        settings: Mapping[str, Setting] | None = None,
        query: str = "action",
        scalar: str | None = None,
    ) -> AskedMap:
        """Of attention the mean of all layers and heads unless told otherwise.

        Raises UserError for a method or a setting that is not there.
        """
        if method == ATTENTION:
            return AskedMap(method, _sorted(_attention(settings or {}, query)), query)
        own = settings_of(with_settings(method_class(method), settings or {}))
        own.pop("seed", None)
        if scalar and scalar not in SCALARS:
            raise UserError(f"the explained number is {scalar!r}; it can be {' or '.join(SCALARS)}")
        tokens = not query.startswith("action") or (query == "action" and method not in MOVING)
        return AskedMap(method, _sorted(own), query, scalar or ("log-probability" if tokens else "action"))

    @staticmethod
    def parse(text: str, query: str = "action", scalar: str | None = None) -> AskedMap:
        """From a command line: ``attention:reduce=head;layer=3;head=2``, ``iss:masks=64``, ``relevancy``."""
        method, _, rest = text.partition(":")
        if method not in (ATTENTION, *METHODS):
            raise UserError(f"there is no map {method!r}; there are {ATTENTION}, {', '.join(METHODS)}")
        given: dict[str, Setting] = {}
        for pair in filter(None, rest.split(";")):
            name, equals, value = pair.partition("=")
            if not equals:
                raise UserError(f"{pair!r} in {text!r} sets nothing; write METHOD:name=value;name=value")
            given[name.strip()] = value.strip()
        return AskedMap.of(method, given, query, scalar)

    @property
    def attends(self) -> bool:
        return self.method == ATTENTION

    @property
    def held(self) -> dict[str, Setting]:
        """The settings by name."""
        found: dict[str, Setting] = json.loads(self.settings)
        return found

    @property
    def text(self) -> str:
        """As `parse` reads it; what is as usual is left out, but for the number of a layer and a head."""
        held = self.held
        usual = AskedMap.of(self.method, {"reduce": held["reduce"]} if self.attends else {}).held
        order = ("reduce", *REDUCTIONS[str(held["reduce"])], *WHOSE) if self.attends else tuple(held)
        always = ("reduce", "layer", "head") if self.attends else ()
        told = [name for name in order if name in always or usual.get(name, "") != held.get(name, "")]
        return ":".join(filter(None, (self.method, ";".join(f"{name}={_text(held[name])}" for name in told))))

    @property
    def view(self) -> View:
        """Of attention, as the player sees it. Every layer is captured, so a layer's place is its number."""
        held = {name: _text(value) for name, value in self.held.items() if name != "rows"}
        return View.of({**held, "query": self.query})

    def fitted(self, spec: CheckpointSpec) -> AskedMap:
        """The same map of this checkpoint in its one form: the last layer is -1, however it is named."""
        if not self.attends:
            words = spec.action_space is None and self.scalar == "action"
            return replace(self, scalar="log-probability") if words else self
        held, own = self.held, EXPERT if spec.expert_layers else "language"
        stream = str(held["stream"]) or own
        counts = {"language": spec.layers, EXPERT: spec.expert_layers}
        held["stream"] = "" if stream == own else stream
        for name, count in (("to", counts.get(stream, spec.vision_layers)), ("denoise", spec.denoising_steps)):
            if name in held and int(str(held[name])) >= count - 1:
                held[name] = -1
        return replace(self, settings=_sorted(held))

    def why_not(self, policy: Policy) -> str | None:
        """Why the map cannot be made of this policy; None where it can."""
        info = policy.info
        if not self.attends:
            return with_settings(method_class(self.method), self.held).why_not(policy)
        if self.held["reduce"] == "rollout" and info.denoising_steps:
            return f"{info.name} writes actions in an expert of its own, whose rows rollout cannot pass through"
        return None


def _attention(settings: Mapping[str, Setting], query: str) -> dict[str, Setting]:
    given = {"reduce": "mean", **{name: _text(value) for name, value in settings.items()}}
    rows = given.pop("rows", "")
    view = View.of({**given, "query": query}, strict=tuple(given))
    names = ("reduce", *REDUCTIONS[view.reduce], *WHOSE)
    if unknown := sorted(set(given) - set(names)):
        raise UserError(f"attention with reduce={view.reduce} has no setting {unknown[0]!r}; it has {', '.join(names)}")
    found: dict[str, Setting] = {n: getattr(view, "start" if n == "from" else n) for n in names if n != "rows"}
    if view.ranked_over == "all queries" and "rows" in names:
        found["rows"] = "all" if rows == "all" else ""  # whether the prompt's own rows rank as well
    return found


def _sorted(settings: Mapping[str, Setting]) -> str:
    return json.dumps(dict(settings), sort_keys=True)


def _text(value: Setting) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


MEAN = AskedMap.of()  # attention, the mean of all layers, heads and action tokens
