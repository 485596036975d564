"""Attribution maps for the player: which methods there are, starting one, and what is stored already.

A map is a record like those of the command line; the task that makes one returns nothing but how many it made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.attribution_run import attribute_episode, attribution_key, read_step
from analysis.attribution.method import AttributionMethod
from analysis.attribution.registry import METHODS, method_class
from analysis.attribution.settings import Choice, choices, with_settings
from analysis.attribution.target import SCALARS, Target
from analysis.cameras import default_cameras
from analysis.records import Run, Setting
from app.library import Library
from app.run_records import Asked, Record, find_record
from app.shared_policies import PolicyChoice
from app.task_routes import Order
from models.errors import UserError
from models.policy import Policy

TEXT = 200  # characters of a name in a request


def methods_order(library: Library, asked: Mapping[str, Any]) -> Order:
    """The methods as a person chooses among them, and why some cannot run on a checkpoint. Its result is a list."""
    choice = asked_of(asked)

    def work(policies: tuple[Policy, ...], progress: Callable[[int, int], None], cancelled: object) -> Any:
        return [_method_facts(method_class(name), policies[0]) for name in METHODS]

    key = ("attribution-methods", choice.checkpoint, choice.family, choice.action_stats)
    return Order(key, work, (_policy(choice),), "Attribution methods")


def attribute_order(library: Library, asked: Mapping[str, Any]) -> Order:
    """Explains one step, or with ``step`` null all of them, and stores the maps."""
    choice, method, target = asked_of(asked), method_of(asked), target_of(asked)
    record = find_record(library, choice)
    run = map_run(library, choice, record, method, target)
    step = asked.get("step")
    if not (step is None or (isinstance(step, int) and 0 <= step < record.length)):
        raise UserError(f"there is no step {str(step)[:20]}; the episode has steps 0 to {record.length - 1}")
    steps = range(record.length) if step is None else [step]

    def work(policies: tuple[Policy, ...], progress: Callable[[int, int], None], cancelled: object) -> Any:
        episode = library.episode(choice.dataset, choice.episode)
        made = attribute_episode(policies[0], episode, run, steps=steps, predictions=record.run, progress=progress)
        return {"computed": len(made)}

    return Order(("attribute", run.address, step), work, (_policy(choice),), method.title)


def stored_maps(library: Library, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Which steps of the episode are explained already, and the map of ``step`` where it is one of them."""
    choice, method, target = asked_of(asked), method_of(asked), target_of(asked)
    record = find_record(library, choice)
    run = map_run(library, choice, record, method, target)
    done = run.steps_done()
    step = asked.get("step")
    if not (isinstance(step, int) and step in done):
        return {"steps": sorted(done), "map": None}
    found = read_step(run, step)
    return {"steps": sorted(done), "map": map_facts(found, method, run)}


def map_facts(found: AttributionMap, method: AttributionMethod, run: Run) -> dict[str, Any]:
    """A map as JSON values: six significant digits are more than a picture shows."""
    error = found.standard_error
    return {
        "record": run.address,
        "method": found.method,
        "title": method.title,
        "settings": dict(found.settings),
        "notes": dict(found.notes),
        "target": found.target.text,
        "scalar": found.target.scalar,
        "signed": found.signed,
        "forwards": found.forwards,
        "doubts": list(found.doubts),
        "scores": [_short(value) for value in found.scores],
        "error": None if error is None else [_short(value) for value in error],
    }


def asked_of(asked: Mapping[str, Any]) -> Asked:
    """Which checkpoint on which episode. Raises UserError for a request that does not say so."""
    cameras = asked.get("cameras") or None
    if cameras is not None and not (isinstance(cameras, list) and all(isinstance(each, str) for each in cameras)):
        raise UserError("'cameras' in the request must be a list of names")
    dataset, episode, checkpoint = (_text(asked, name) for name in ("dataset", "episode", "checkpoint"))
    stats, family = (_text(asked, name) if asked.get(name) else None for name in ("action_stats", "family"))
    return Asked(dataset, episode, checkpoint, stats, False, family, tuple(cameras) if cameras else None)


def method_of(asked: Mapping[str, Any]) -> AttributionMethod:
    """The method with its settings. Raises UserError for one that is not there, or a setting that makes no sense."""
    settings = asked.get("settings") or {}
    if not isinstance(settings, dict):
        raise UserError("'settings' in the request must be names and values")
    given: dict[str, Setting] = {str(name): value for name, value in settings.items()}
    return with_settings(method_class(_text(asked, "method")), given)


def target_of(asked: Mapping[str, Any]) -> Target:
    """What is explained. Raises UserError for a text that names no target."""
    scalar = next((each for each in SCALARS if each == asked.get("scalar")), None)
    return Target.parse(_text(asked, "target"), scalar)


def map_run(library: Library, asked: Asked, record: Record, method: AttributionMethod, target: Target) -> Run:
    """The same record that ``python -m analysis attribute`` would make."""
    workspace, spec = library.workspace, record.spec
    meta = library.episode(asked.dataset, asked.episode).meta
    recognised = workspace.checkpoint(asked.checkpoint)
    usual = default_cameras(spec.cameras, meta.cameras, record.cameras.chosen, spec.every_camera)
    key = attribution_key(
        spec.digest,
        meta.digest,
        method,
        target,
        action_stats=asked.action_stats,
        family=None if spec.family == recognised.family else spec.family,
        dtype=workspace.running.recorded_number_type(spec),
        cameras=None if usual else [*record.cameras.chosen],
    )
    return workspace.records.run(key)


def _policy(asked: Asked) -> PolicyChoice:
    return PolicyChoice(asked.checkpoint, action_stats=asked.action_stats, family=asked.family)


def _method_facts(method: type[Any], policy: Policy) -> dict[str, Any]:
    return {
        "name": method.name,
        "title": method.title,
        "signed": method.signed,
        "why_not": method().why_not(policy),
        "settings": [_choice_facts(choice) for choice in choices(method)],
    }


def _choice_facts(choice: Choice) -> dict[str, Any]:
    return {
        "name": choice.name,
        "kind": choice.kind,
        "default": choice.default,
        "options": list(choice.options),
        "optional": choice.optional,
        "help": choice.help,
        "least": choice.least,
    }


def _text(asked: Mapping[str, Any], name: str) -> str:
    value = asked.get(name)
    if not isinstance(value, str) or not value or len(value) > TEXT:
        raise UserError(f"the request lacks {name!r}")
    return value


def _short(value: float) -> float | None:
    number = float(value)
    return float(f"{number:.6g}") if number == number and abs(number) != float("inf") else None
