"""Checkpoints below the folders of a workspace; their digests are remembered until a file of theirs changes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
from analysis import __version__
from analysis.atomic_file import replaced
from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.types import CheckpointSpec

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class BrokenCheckpoint:
    """A folder that should be a checkpoint and cannot be used; listed beside the good ones."""

    path: str
    reason: str  # one sentence a user can act on


@dataclass(frozen=True)
class Inspected:
    """What one folder was found to be, and the files that say so."""

    folders: tuple[Path, ...]  # that the checkpoint is made of: its own, its model's, its base's
    files: list[list[Any]]  # name, size and modification time of each file in them
    found: CheckpointSpec | BrokenCheckpoint


def list_checkpoints(
    roots: tuple[Path, ...],
    cache: Path,
    bases: Mapping[str, Path] | None = None,
    inspected: dict[Path, Inspected] | None = None,
) -> tuple[CheckpointSpec | BrokenCheckpoint, ...]:
    """Every checkpoint at or directly below ``roots``. Imports no torch.

    ``bases``: for a checkpoint's folder name, the folder of the model that it builds on. ``cache``: a JSON file of
    earlier digests, ``inspected``: what this process found earlier. Both count while names, sizes and modification
    times of all files that the checkpoint is made of are what they were: many gigabytes are read through once, and
    headers with thousands of tensors not each time somebody looks.
    """
    held = {} if inspected is None else inspected
    known = _read_cache(cache)
    current: dict[str, Any] = {}
    out: list[CheckpointSpec | BrokenCheckpoint] = []
    for root in roots:
        for folder in _candidates(root):
            try:
                if not folder.resolve().is_relative_to(root.resolve()):
                    raise UserError(f"{folder} is a link that leads out of {root}; add its target to the workspace")
                one = held.get(folder)
                if one is None or _signature(one.folders) != one.files:
                    base = (bases or {}).get(folder.name)
                    one = held[folder] = _inspect(folder, base, known.get(str(folder)))
                out.append(one.found)
                if isinstance(one.found, CheckpointSpec):
                    current[str(folder)] = {"files": one.files, "digest": one.found.digest}
            except UserError as error:
                out.append(BrokenCheckpoint(str(folder), str(error)))
            except PermissionError as error:
                out.append(BrokenCheckpoint(str(folder), f"{error.filename} may not be read by this user"))
    if current != known:
        with replaced(cache) as part:
            part.write_text(json.dumps({"version": __version__, "digests": current}, indent=1), encoding="utf-8")
    return tuple(out)


def looks_like_checkpoint(folder: Path) -> bool:
    """Whether a folder has a configuration or weights, usable or not."""
    if not folder.is_dir() or not os.access(folder, os.R_OK):
        return False
    return any(path.name == "config.json" or path.suffix in WEIGHT_SUFFIXES for path in folder.iterdir())


def _inspect(folder: Path, base: Path | None, known: Mapping[str, Any] | None) -> Inspected:
    """Raises UserError where not even the folders are known in which a change could help."""
    files = CheckpointFiles.open(folder, base)
    folders = tuple(path for path in dict.fromkeys((files.folder, files.model, files.base)) if path is not None)
    signature = _signature(folders)
    digest = known["digest"] if known is not None and known["files"] == signature else None
    found: CheckpointSpec | BrokenCheckpoint
    try:
        found = models.inspect(folder, known_digest=digest, base=base)
    except UserError as error:
        found = BrokenCheckpoint(str(folder), str(error))
    return Inspected(folders, signature, found)


def _signature(folders: tuple[Path, ...]) -> list[list[Any]]:
    try:
        files = [path for each in folders for path in sorted(each.iterdir()) if path.is_file()]
        return [[path.name, (status := path.stat()).st_size, status.st_mtime_ns] for path in files]
    except FileNotFoundError:  # taken away meanwhile
        return []


def _candidates(root: Path) -> Iterator[Path]:
    """The folder itself if it looks like a checkpoint, else the folders in it."""
    entries = sorted(root.iterdir()) if root.is_dir() and os.access(root, os.R_OK) else []
    inner = [path for path in entries if path.is_dir() and not path.name.startswith(".")]
    if not inner or looks_like_checkpoint(root):
        yield root
    else:
        yield from (path for path in inner if not _lends_a_tokenizer(path))


def _lends_a_tokenizer(folder: Path) -> bool:
    """A folder that is there for another checkpoint's sake, which names its tokenizer."""
    return os.access(folder, os.R_OK) and (folder / "tokenizer.json").is_file() and not looks_like_checkpoint(folder)


def _read_cache(cache: Path) -> dict[str, Any]:
    """What was remembered, or nothing where it is missing, damaged or another version's: it can be made again."""
    try:
        stored = json.loads(cache.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    usable = isinstance(stored, dict) and stored.get("version") == __version__
    return dict(stored["digests"]) if usable else {}
