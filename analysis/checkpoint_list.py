"""Checkpoints below the folders of a workspace, inspected once and remembered until a file of theirs changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import models
from analysis import __version__
from analysis.atomic_file import replaced
from models.errors import UserError
from models.types import ActionSpace, CheckpointSpec

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class BrokenCheckpoint:
    """A folder that should be a checkpoint and cannot be used; listed beside the good ones."""

    path: str
    reason: str  # one sentence a user can act on


def list_checkpoints(roots: tuple[Path, ...], cache: Path) -> tuple[CheckpointSpec | BrokenCheckpoint, ...]:
    """Every checkpoint at or directly below ``roots``. Imports no torch.

    ``cache``: a JSON file of earlier answers. An answer counts while names, sizes and modification times of the
    checkpoint's files are what they were: digests of many gigabytes are computed once.
    """
    known = _read_cache(cache)
    out: list[CheckpointSpec | BrokenCheckpoint] = []
    fresh: dict[str, Any] = {}
    for root in roots:
        for folder in _candidates(root):
            try:
                signature = _signature(folder, root)
                entry = known.get(str(folder))
                if entry is None or entry["signature"] != signature:
                    entry = {"signature": signature, "spec": asdict(models.inspect(str(folder)))}
                fresh[str(folder)] = entry
                out.append(_spec(entry["spec"]))
            except UserError as error:
                out.append(BrokenCheckpoint(str(folder), str(error)))
    if fresh != known:
        _write_cache(cache, fresh)
    return tuple(out)


def _candidates(root: Path) -> Iterator[Path]:
    """The folder itself if it looks like a checkpoint, else the folders in it."""
    inner = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")) if root.is_dir() else []
    is_one = not inner or any(p.name == "config.json" or p.suffix in WEIGHT_SUFFIXES for p in root.iterdir())
    yield from (root,) if is_one else inner


def _signature(folder: Path, root: Path) -> list[list[str | int]]:
    """Name, size and modification time (ns) of every file. Raises UserError for a link that leads elsewhere."""
    allowed = [root.resolve()]
    if folder.parent.name == "snapshots":  # Hugging Face's cache: snapshots/<commit>/* link to blobs/*
        allowed.append(folder.parent.parent.resolve() / "blobs")
    if not folder.exists():
        raise UserError(f"there is nothing at {folder}; expected a checkpoint folder with config.json and weights")
    signature: list[list[str | int]] = []
    for path in (folder, *sorted(folder.rglob("*"))):
        if not any(path.resolve().is_relative_to(place) for place in allowed):
            raise UserError(f"{path} is a link that leads out of {root}; put the file itself there")
        if path.is_file():
            status = path.stat()
            signature.append([str(path.relative_to(folder)), status.st_size, status.st_mtime_ns])
    return signature


def _version() -> list[str]:
    """Answers of another version of this program, or with other fields, do not count."""
    return [
        __version__,
        *(field.name for field in fields(CheckpointSpec)),
        *(field.name for field in fields(ActionSpace)),
    ]


def _read_cache(cache: Path) -> dict[str, Any]:
    try:
        stored = json.loads(cache.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return dict(stored["entries"]) if isinstance(stored, dict) and stored.get("version") == _version() else {}


def _write_cache(cache: Path, entries: dict[str, Any]) -> None:
    with replaced(cache) as part:
        part.write_text(json.dumps({"version": _version(), "entries": entries}, indent=1), encoding="utf-8")


def _spec(stored: dict[str, Any]) -> CheckpointSpec:
    values = {name: _tuples(value) for name, value in stored.items()}
    if stored["action_space"] is not None:
        values["action_space"] = ActionSpace(**{k: _tuples(v) for k, v in stored["action_space"].items()})
    return CheckpointSpec(**values)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
