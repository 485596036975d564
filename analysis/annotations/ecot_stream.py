"""Reads a file of ECoT annotations from front to back in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ijson  # type: ignore[import-untyped]

from analysis.annotations.json_nan import NanAsNull
from analysis.annotations.json_nesting import JsonNesting
from models.errors import UserError

PORTION = 1 << 18  # bytes read at a time
MAX_RECORDING = 32 << 20  # bytes of JSON under one file path; in the published file a few hundred thousand
MAX_DEPTH = 32  # the layout has seven levels
LAYOUT = "an object of file path -> episode id -> reasoning and features"


def read_recordings(path: Path, progress: Callable[[int, int], None]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (file path, {episode id: annotations}) in the file's order.

    ``progress`` is told the bytes read and the file's size. Raises UserError, which says how far it got, for a file
    that is cut short, damaged or in another layout.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            _check_beginning(stream.read(PORTION), path)
            stream.seek(0)
            yield from _parsed(iter(lambda: stream.read(PORTION), b""), path, size, progress)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def _parsed(
    portions: Iterator[bytes], path: Path, size: int, progress: Callable[[int, int], None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    found = ijson.sendable_list()
    parser = ijson.kvitems_coro(found, "", use_float=True)
    nesting, strict = JsonNesting(), NanAsNull()
    read = since = recordings = 0
    for portion in portions:
        text = strict(portion, nesting.in_string, nesting.escaped)
        if nesting.deepest(portion) > MAX_DEPTH:
            raise UserError(
                f"{path.name} is nested more than {MAX_DEPTH} levels deep near byte {read:,}; expected {LAYOUT}"
            )
        try:
            if text:  # to the parser nothing is the end
                parser.send(text)
        except (ijson.JSONError, UnicodeDecodeError) as error:  # the latter for half a surrogate pair
            raise _damaged(path, error, read, size, recordings) from None
        read += len(portion)
        since = 0 if found else since + len(portion)
        if since > MAX_RECORDING:
            raise UserError(
                f"{path.name} has more than {MAX_RECORDING >> 20} MiB under one name near byte {read:,}; "
                f"expected {LAYOUT}"
            )
        for name, value in found:
            _check_recording(name, value, path, read)
            recordings += 1
            yield name, value
        found.clear()
        progress(read, size)
    try:
        if strict.kept:
            parser.send(strict.kept)
        parser.close()
    except ijson.JSONError as error:
        raise _damaged(path, error, read, size, recordings) from None
    if not recordings:
        raise UserError(f"{path.name} has no episodes; expected {LAYOUT}")


def _check_beginning(first: bytes, path: Path) -> None:
    if first.startswith(b"version https://git-lfs"):
        raise UserError(f"{path.name} is a Git LFS pointer, not the file itself; fetch it with git lfs pull")
    if not first.lstrip().startswith(b"{"):
        raise UserError(f"{path.name} begins with {first[:20]!r}; expected JSON, {LAYOUT}")


def _check_recording(name: str, value: object, path: Path, read: int) -> None:
    episodes = value.values() if isinstance(value, dict) else ()
    if not episodes or not all(
        isinstance(entry, dict) and entry.keys() & {"reasoning", "features"} for entry in episodes
    ):
        raise UserError(f"{name[:200]!r} in {path.name}, before byte {read:,}, holds no episodes; expected {LAYOUT}")


def _damaged(path: Path, error: Exception, read: int, size: int, recordings: int) -> UserError:
    said = str(error).strip().splitlines() or [""]
    reason = "it is cut short" if "premature EOF" in said[0] else f"it is no valid JSON ({said[0][:100]})"
    return UserError(
        f"{path.name} can be read up to byte {read:,} of {size:,} ({recordings:,} recordings), then {reason}; "
        "download it again"
    )
