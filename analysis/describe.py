"""Episodes, checkpoints, workspaces and predictions as plain values for JSON, and the same as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from analysis.checkpoint_facts import checkpoint_facts
from analysis.checkpoint_list import BrokenCheckpoint
from analysis.episodes import BrokenEpisode, OpenedSource
from analysis.prediction_structure import finite
from analysis.types import Episode, EpisodeMeta
from analysis.workspace import Workspace
from models.types import CheckpointSpec, Prediction


def episodes(source: OpenedSource, path: str) -> dict[str, Any]:
    """Every episode of the source at ``path``, and every file of it that cannot be used."""
    entries = list(source.scan())
    good = [asdict(entry) for entry in entries if isinstance(entry, EpisodeMeta)]
    return {"kind": "episodes", "path": path, "episodes": good, "broken": _broken(entries)}


def checkpoint(spec: CheckpointSpec, alternatives: Sequence[str] = ()) -> dict[str, Any]:
    """Everything that the files said. ``alternatives``: families that could open it, its own among them."""
    return {"kind": "checkpoint", "families": list(alternatives)} | asdict(spec)


def checkpoint_text(spec: CheckpointSpec, alternatives: Sequence[str] = ()) -> str:
    """The same for a person, a line a fact."""
    lines = [f"{spec.name} ({spec.path}, digest {spec.digest})"]
    lines += [f"  {fact.label}: {fact.text}" for fact in checkpoint_facts(spec)]
    lines += [f"  Not used: {name} ({why})" for name, why in spec.unused.items()]
    if len(alternatives) > 1:
        lines.append(f"  Opens as: {', '.join(alternatives)} (choose with --family)")
    return "\n".join(lines)


def workspace(opened: Workspace) -> dict[str, Any]:
    """Its data sets and checkpoints, with everything that cannot be used, and its records."""
    checkpoints = opened.checkpoints()
    found = {dataset.name: opened.episodes(dataset.name) for dataset in opened.datasets()}
    return {
        "kind": "workspace",
        "path": str(opened.path),
        "datasets": [
            {"name": name, "episodes": sum(isinstance(e, EpisodeMeta) for e in entries), "broken": _broken(entries)}
            for name, entries in found.items()
        ],
        "checkpoints": [
            {"name": spec.name, "digest": spec.digest, "path": spec.path}
            for spec in checkpoints
            if isinstance(spec, CheckpointSpec)
        ],
        "broken_checkpoints": _broken(checkpoints),
        "records": [
            {"address": run.address, "steps": len(run.steps_done()), "complete": run.complete}
            for run in opened.records.runs()
        ],
    }


def prediction(said: Prediction, step: int, episode: Episode) -> dict[str, Any]:
    """What a policy said at a step; actions are named and in their units, the chunk's first step beside the record.

    A number that is not finite becomes None, as JSON has no word for it.
    """
    recorded = dict(zip(episode.meta.action_names, _finite(episode.actions[step]), strict=False))
    return {
        "step": step,
        "actions": [
            {"name": name, "unit": unit, "predicted": _finite(said.actions[:, column]), "recorded": recorded.get(name)}
            for column, (name, unit) in enumerate(zip(said.action_names, said.action_units, strict=True))
        ],
        "text": said.text,
        "rationale": None if said.rationale is None else dict(said.rationale.parts),
        "tokens": said.tokens.tolist(),
        "token_texts": list(said.token_texts),
        "token_logprobs": _finite(said.token_logprobs),
        "marks": [asdict(mark) for mark in said.marks],
        "depth": [
            {"camera": depth.camera, "nearest": _nearest(depth.metres), "farthest": _farthest(depth.metres)}
            for depth in said.depth
        ],
    }


def as_text(values: dict[str, Any]) -> str:
    """One line a value; lists of values indented below their name."""
    if "actions" in values:
        return _prediction_text(values)
    return "\n".join(_lines(values, ""))


def _broken(entries: Any) -> list[dict[str, str]]:
    return [
        {"path": entry.path, "reason": entry.reason}
        for entry in entries
        if isinstance(entry, BrokenEpisode | BrokenCheckpoint)
    ]


def _finite(values: np.ndarray) -> list[float | None]:
    return [finite(value) for value in np.asarray(values, np.float64).tolist()]


def _nearest(metres: np.ndarray) -> float | None:
    return finite(float(np.min(metres, initial=np.inf)))


def _farthest(metres: np.ndarray) -> float | None:
    return finite(float(np.max(metres, initial=-np.inf)))


def _prediction_text(values: dict[str, Any]) -> str:
    lines = [f"step {values['step']}"]
    for action in values["actions"]:
        predicted = " ".join("none" if value is None else f"{value:+.4f}" for value in action["predicted"])
        recorded = "" if action["recorded"] is None else f"   recorded {action['recorded']:+.4f}"
        lines.append(f"  {action['name']:>10} [{action['unit']}]  {predicted}{recorded}")
    parts, marks = (values["rationale"] or {}).items(), values["marks"]
    lines += [f"  {part}: {text}" for part, text in parts] or ([f"  {values['text']}"] if values["text"] else [])
    lines += [f"  {m['kind']} {m['name']!r} in {m['camera']} at {_plain([round(v) for v in m['at']])}" for m in marks]
    lines += [f"  depth of {d['camera']}: {_metres(d['nearest'])} to {_metres(d['farthest'])}" for d in values["depth"]]
    return "\n".join(lines)


def _metres(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} m"


def _lines(values: dict[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for name, value in values.items():
        if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            lines += [f"{indent}{name} ({len(value)})", *(f"{indent}  - {_one_line(entry)}" for entry in value)]
        elif isinstance(value, dict) and value:
            lines += [f"{indent}{name}", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {_plain(value)}")
    return lines


def _one_line(entry: dict[str, Any]) -> str:
    shown = (
        "id",
        "name",
        "address",
        "path",
        "reason",
        "instruction",
        "length",
        "success",
        "episodes",
        "digest",
        "steps",
    )
    return ", ".join(
        _plain(entry[key]) if key in ("id", "name", "path", "reason", "address") else f"{key} {_plain(entry[key])}"
        for key in shown
        if key in entry
    )


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value) or "none"
    return "unknown" if value is None else str(value) if value != "" else "none"
