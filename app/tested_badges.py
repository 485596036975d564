"""The badge of a map in the player: what was tested of exactly this map, and the task that tests it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.evidence.asked_map import AskedMap
from analysis.evidence.measurements import Subject, spread_steps
from analysis.evidence.probes.faithfulness import FaithfulnessProbe
from analysis.evidence.tested import badge_of, map_tests
from analysis.records import Setting
from app.attribution import asked_of
from app.evidence_asked import Asked as Measured
from app.evidence_asked import Model, measuring, subjects
from app.library import Library
from app.selection import camera_text
from app.task_routes import Order
from models.errors import UserError

STEPS = 12  # of the episode that a test from the player takes
TEXT = 200  # characters of a name in a request


def map_badge(library: Library, asked: Mapping[str, Any]) -> dict[str, Any]:
    """``state``: passed, failed or not tested; ``why``: a sentence; ``n``; ``steps``: how many a test would take."""
    model, measured, own = _test(library, asked)
    records, map = library.workspace.records, measured.map
    key = own.key(model.spec.digest, FaithfulnessProbe(map))
    found = badge_of(model.spec, map, key, map_tests(records, model.spec.digest))
    steps, n = len(spread_steps(own.episode.meta.length, STEPS)), found.checks[0].number.estimate.n
    return {"state": found.badge.value, "why": found.because, "n": f"n = {n} {found.unit}s", "steps": steps}


def map_test_order(library: Library, asked: Mapping[str, Any]) -> Order:
    """Tests a map on steps of the episode, evenly spread; what was tested before is not tested again."""
    model, measured, _ = _test(library, asked)
    measure = measuring(library, measured, (model,))

    def work(policies: Any, progress: Any, cancelled: Any) -> Any:
        if (why := measured.probes(model.spec)[0].why_not(policies[0])) is not None:
            raise UserError(f"This map cannot be tested: {why}.")
        measure(policies, progress, cancelled)
        return {"map": measured.map.text}

    return Order(("faithfulness", *measured.key(model)), work, (model.choice,), "Test of a map")


def _test(library: Library, asked: Mapping[str, Any]) -> tuple[Model, Measured, Subject]:
    """Raises UserError for a request that names no map, or nothing in the workspace."""
    choice = asked_of(asked)
    spec = library.workspace.checkpoint(choice.checkpoint, choice.family)
    model = Model(spec, choice.action_stats, choice.family, camera_text(choice.cameras) if choice.cameras else None)
    meta = library.episode(choice.dataset, choice.episode).meta
    measured = Measured(choice.dataset, (meta,), STEPS, (FaithfulnessProbe.name,), map=_map(asked).fitted(spec))
    (own,) = subjects(library, measured, model)
    return model, measured, own


def _map(asked: Mapping[str, Any]) -> AskedMap:
    settings, texts = asked.get("settings") or {}, [asked.get(name) or "" for name in ("method", "query", "scalar")]
    if not isinstance(settings, dict) or not all(isinstance(text, str) and len(text) <= TEXT for text in texts):
        raise UserError("the request names no map: it lacks a method, its settings and a query")
    given: dict[str, Setting] = {str(name): value for name, value in settings.items()}
    return AskedMap.of(texts[0], given, texts[1] or "action", texts[2] or None)
