"""What a person knows about a data set better than its files say: names, units, frame rate, normalisation key.

A small TOML file in the workspace, corrected by hand or in the app (docs/dataset-description.md).
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from analysis.atomic_file import replaced
from analysis.types import EpisodeMeta
from models.errors import UserError

KEY = "action_stats"  # in EpisodeMeta.extra: the data set's key in a checkpoint's action statistics
ACTIONS_ARE = "actions_are"  # likewise: how actions are to be read, one of ACTION_KINDS
ACTION_KINDS = ("relative", "absolute")  # increments; targets, such as poses or joint positions
TEXTS = ("robot", "action_stats", ACTIONS_ARE)
LISTS = ("action_names", "action_units", "state_names", "state_units")
LARGEST = 1 << 20  # bytes of the file
HIGHEST_FPS = 10_000.0


@dataclass(frozen=True)
class DatasetDescription:
    """Corrections; what is empty is as the files say."""

    fps: float | None = None  # frames a second
    robot: str = ""
    action_stats: str = ""  # key of the data set in the action statistics of checkpoints
    actions_are: str = ""  # one of ACTION_KINDS
    action_names: tuple[str, ...] = ()
    action_units: tuple[str, ...] = ()
    state_names: tuple[str, ...] = ()
    state_units: tuple[str, ...] = ()
    cameras: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # name in the files -> name here

    def applied(self, meta: EpisodeMeta, actions: int | None = None, states: int | None = None) -> EpisodeMeta:
        """``meta`` as corrected; ``actions``, ``states``: their dimensions where known, else as many as ``meta`` names.

        Lists of another length than there are dimensions, and cameras that would share a name, are left as they are;
        `misfits` says which.
        """
        wrong = self.misfits(meta, actions, states)
        extra = dict(meta.extra)
        if self.fps is not None:
            extra.pop("fps", None)  # a note that the rate was not recorded
        if self.action_stats:
            extra[KEY] = self.action_stats
        if self.actions_are:
            extra[ACTIONS_ARE] = self.actions_are
        lists = {name: getattr(self, name) for name in LISTS if getattr(self, name) and name not in wrong}
        cameras = meta.cameras if "cameras" in wrong else self.renamed(meta.cameras)
        return replace(
            meta, fps=self.fps or meta.fps, robot=self.robot or meta.robot, cameras=cameras, extra=extra, **lists
        )

    def renamed(self, cameras: tuple[str, ...]) -> tuple[str, ...]:
        """Cameras of the files under the names that they have here."""
        return tuple(self.cameras.get(camera, camera) for camera in cameras)

    def misfits(self, meta: EpisodeMeta, actions: int | None = None, states: int | None = None) -> dict[str, str]:
        """Entries that do not fit an episode -> why, in words."""
        out = {}
        for name in LISTS:
            count = actions if name.startswith("action") else states
            known = count or len(getattr(meta, name.split("_")[0] + "_names"))
            given = len(getattr(self, name))
            if given and known and given != known:
                what = "actions" if name.startswith("action") else "states"
                out[name] = f"{name!r} has {given} entries and the {what} have {known} dimensions"
        if len(set(self.renamed(meta.cameras))) < len(meta.cameras):
            out["cameras"] = "'cameras' gives two cameras of one episode the same name"
        return out


EMPTY = DatasetDescription()


def description_path(folder: Path, dataset: str) -> Path:
    """The file of the data set called ``dataset``, below ``folder``; no name leads out of it."""
    parts = [quote(part, safe=" ._-+@=") for part in dataset.split("/") if part not in ("", ".", "..")]
    return folder.joinpath(*parts[:-1], f"{parts[-1] if parts else 'unnamed'}.toml")


def read_description(path: Path) -> DatasetDescription:
    """The description at ``path``, empty where there is none. Raises UserError for one that cannot be used."""
    try:
        if not path.exists():
            return EMPTY
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes; a description of a data set is a small file")
        stored = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None
    return described(stored, str(path))


def described(stored: Mapping[str, Any], where: str) -> DatasetDescription:
    """The description that ``stored`` holds. Raises UserError, which begins with ``where``, for anything else."""
    known = [entry.name for entry in fields(DatasetDescription)]
    if unknown := [name for name in stored if name not in known]:
        raise UserError(f"{where} has the unknown key {unknown[0]!r}; it knows {', '.join(known)}")
    values: dict[str, Any] = {name: _names(stored[name], name, where) for name in LISTS if name in stored}
    values |= {name: _text(stored[name], name, where) for name in TEXTS if name in stored}
    if (kind := values.get(ACTIONS_ARE)) and kind not in ACTION_KINDS:
        raise UserError(f"{where}: {ACTIONS_ARE!r} is {kind!r}; expected one of {', '.join(ACTION_KINDS)}")
    for kind in ("action", "state"):
        found, units = values.get(f"{kind}_names"), values.get(f"{kind}_units")
        if found and len(set(found)) < len(found):
            raise UserError(f"{where}: '{kind}_names' has {_twice(found)!r} twice; names are told apart")
        if found and units and len(found) != len(units):
            raise UserError(f"{where}: '{kind}_names' has {len(found)} entries and '{kind}_units' {len(units)}")
    if "fps" in stored:
        values["fps"] = _rate(stored["fps"], where)
    if "cameras" in stored:
        values["cameras"] = _cameras(stored["cameras"], where)
    return DatasetDescription(**values)


def write_description(path: Path, description: DatasetDescription) -> None:
    """Writes what is not empty; an empty one takes the file away. Raises UserError where that cannot be done."""
    try:
        if description == EMPTY:
            path.unlink(missing_ok=True)
            return
        with replaced(path) as part:
            part.write_text(as_toml(description), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


def as_toml(description: DatasetDescription) -> str:
    """The file's text."""
    lines = ["# What is known about this data set better than its files say: docs/dataset-description.md"]
    if description.fps is not None:
        lines.append(f"fps = {description.fps!r}")
    lines += [f"{name} = {_quoted(text)}" for name in TEXTS if (text := getattr(description, name))]
    for name in LISTS:
        if entries := getattr(description, name):
            lines.append(f"{name} = [{', '.join(map(_quoted, entries))}]")
    if description.cameras:
        lines += ["", "[cameras]"]
        lines += [f"{_quoted(stored)} = {_quoted(name)}" for stored, name in description.cameras.items()]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _text(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise UserError(f"{where}: {name!r} is {str(value)[:60]!r}; expected a text on one line")
    return value.strip()


def _names(value: Any, name: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, str) and entry.isprintable() for entry in value):
        raise UserError(f'{where}: {name!r} is {str(value)[:60]}; expected a list of texts such as ["x", "y"]')
    entries = tuple(entry.strip() for entry in value)
    if name.endswith("names") and "" in entries:
        raise UserError(f"{where}: entry {entries.index('') + 1} of {name!r} is empty; every dimension needs a name")
    return entries


def _rate(value: Any, where: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 < value <= HIGHEST_FPS:
        raise UserError(f"{where}: 'fps' is {str(value)[:40]}; expected frames a second, more than 0")
    return float(value)


def _cameras(value: Any, where: str) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(name, str) and name.strip() for name in value.values()):
        raise UserError(f"{where}: 'cameras' is {str(value)[:60]}; expected a table of name in the files = name here")
    names = {stored: _text(name, "cameras", where) for stored, name in value.items()}
    if len(set(names.values())) < len(names):
        raise UserError(f"{where}: 'cameras' gives the name {_twice(tuple(names.values()))!r} twice")
    return MappingProxyType({stored: name for stored, name in names.items() if stored != name})


def _twice(entries: tuple[str, ...]) -> str:
    return next(entry for entry in entries if entries.count(entry) > 1)
