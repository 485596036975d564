"""What the tables of an image folder say about an episode: everything but its frames."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.episodes.image_folder_files import ACTIONS, DESCRIPTION, Tables
from analysis.episodes.image_folder_table import Table, checked_table, csv_table, split, text_of
from models.errors import UserError
from models.types import Rationale

TEXTS = ("instruction", "task", "robot")
AT_A_STEP = {"action": "actions", "state": "states", "image": "images"}  # a step's key -> what all of them are


@dataclass(frozen=True)
class Described:
    """Everything about an episode but its frames."""

    actions: Table
    states: Table | None
    instruction: str
    task: str
    robot: str
    fps: float  # frames a second
    success: bool | None
    rationales: tuple[Rationale, ...]
    images: tuple[str, ...]  # the file of each step, below the folder, where the steps name them; else none


def read_described(folder: Path, tables: Tables, root: Path) -> Described:
    """Reads the tables of an episode's folder. Raises UserError with one sentence for the first thing wrong."""
    where = f"{folder.name}/{DESCRIPTION if tables.description is None else tables.description.name}"
    said = {} if tables.description is None else _by_step(_object(tables.description, where, root), where)
    actions = _table(tables.actions, said, "action", where, root)
    if actions is None:
        raise UserError(f"{folder.name} has no actions; expected {ACTIONS}, or 'actions' in {where.split('/')[-1]}")
    if not len(actions.values):
        raise UserError(f"{folder.name} has zero steps; an episode needs at least one")
    states = _table(tables.states, said, "state", where, root)
    if states is None:
        actions, states = split(actions)
    if states is not None and len(states.values) != len(actions.values):
        raise UserError(
            f"lengths disagree in {folder.name}: there are {len(states.values)} states and {len(actions.values)} "
            "actions"
        )
    for key in TEXTS:
        if not isinstance(said.get(key, ""), str):
            raise UserError(f"{key!r} in {where} is {said[key]!r}; expected a text")
    success = said.get("success")
    if success not in (None, True, False):
        raise UserError(f"'success' in {where} is {success!r}; expected true, false or null")
    return Described(
        actions=actions,
        states=states,
        instruction=said.get("instruction", ""),
        task=said.get("task", ""),
        robot=said.get("robot", ""),
        fps=_fps(said.get("fps"), actions, folder),
        success=None if success is None else bool(success),
        rationales=_rationales(said.get("rationales", []), len(actions.values), where),
        images=_images(said, where),
    )


def _object(path: Path, where: str, root: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(text_of(path, root))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{where} holds {type(found).__name__}; expected an object")
    return found


def _by_step(said: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """``steps`` taken apart: a list of what each step has under action, state and image."""
    steps = said.get("steps")
    if not isinstance(steps, list) or said.get("actions") is not None:
        return said
    out = dict(said)
    for one, all_of_them in AT_A_STEP.items():
        given = [isinstance(step, dict) and step.get(one) is not None for step in steps]
        if any(given) and not all(given):
            raise UserError(f"step {given.index(False)} in {where} has no {one!r}, and others have")
        if all(given):
            out[all_of_them] = [step[one] for step in steps]
    return out


def _table(path: Path | None, said: Mapping[str, Any], kind: str, where: str, root: Path) -> Table | None:
    rows = said.get(f"{kind}s")
    if path is not None and rows is not None and path.name == f"{kind}s.csv":
        raise UserError(
            f"{path.parent.name} has {kind}s twice, in {path.name} and in {where.split('/')[-1]}; leave one out"
        )
    if rows is None:
        return None if path is None else csv_table(path, kind, root)
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise UserError(f"{kind}s in {where} are no list of lists; expected one list of numbers a step")
    names = said.get(f"{kind}_names", [f"{kind} {k}" for k in range(len(rows[0]) if rows else 1)])
    units = said.get(f"{kind}_units", [""] * len(names) if isinstance(names, list) else None)
    if not isinstance(names, list) or not isinstance(units, list) or len(names) != len(units):
        raise UserError(f"{kind}s in {where}: {kind}_names and {kind}_units are no two lists of texts of one length")
    columns = [(str(name), str(unit)) for name, unit in zip(names, units, strict=True)]
    return checked_table(rows, columns, f"{kind}s in {where}", kind)


def _images(said: Mapping[str, Any], where: str) -> tuple[str, ...]:
    steps = said.get("images") if isinstance(said.get("steps"), list) else None
    if steps is not None and not all(isinstance(name, str) for name in steps):
        raise UserError(f"the images of the steps in {where} are no texts; expected names such as frames/000000.png")
    return tuple(steps or ())


def _fps(stated: object, actions: Table, folder: Path) -> float:
    if stated is None and actions.seconds is not None and len(actions.seconds) > 1:
        stated = 1 / step if (step := float(np.median(np.diff(actions.seconds)))) > 0 else 0.0
    if stated is None:
        raise UserError(
            f"{folder.name} does not say its frame rate; expected 'fps' in {DESCRIPTION}, or a column time [s] in"
            f" {ACTIONS}"
        )
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not 0 < stated < 100_000:
        raise UserError(f"{folder.name} says {stated!r} frames a second; expected a positive number")
    return float(stated)


def _rationales(found: object, length: int, where: str) -> tuple[Rationale, ...]:
    if not isinstance(found, list):
        raise UserError(f"'rationales' in {where} is no list; expected objects with start, stop and parts")
    return tuple(_rationale(entry, length, f"rationale {index} in {where}") for index, entry in enumerate(found))


def _rationale(entry: object, length: int, which: str) -> Rationale:
    given: Mapping[str, Any] = entry if isinstance(entry, dict) else {}
    start, stop, parts = given.get("start"), given.get("stop"), given.get("parts")
    if type(start) is not int or type(stop) is not int or not isinstance(parts, dict) or not any(parts.values()):
        raise UserError(f"{which} lacks start and stop (whole numbers) or parts (texts by name)")
    if not all(isinstance(said, str) for said in parts.values()):
        raise UserError(f"{which} has parts that are no text")
    if not 0 <= start < stop <= length:
        raise UserError(f"{which} covers steps [{start}, {stop}) of {length}")
    return Rationale(parts, start=start, stop=stop, author=str(given.get("author", "")))
