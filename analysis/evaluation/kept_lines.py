"""Results one by one as JSON lines, so that a killed evaluation goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from models.errors import UserError


def measured(
    path: Path,
    keys: Iterable[str],
    measure: Callable[[str], Any],
    told: Callable[[], Any] = lambda: None,
    whole: Callable[[str], bool] = lambda key: True,
) -> dict[str, Any]:
    """``measure(key)`` of every key, in their order; those that are in the file already are read from it.

    ``whole(key)``: whether what measuring leaves behind beside its result is there, too; else it is measured again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    done = read_lines(path)
    wanted = list(keys)
    for key in wanted:
        if key not in done or not whole(key):
            done[key] = measure(key)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "result": done[key]}) + "\n")
        told()
    return {key: done[key] for key in wanted}


def read_lines(path: Path) -> dict[str, Any]:
    """Key -> result. A last line that a kill cut short is forgotten, in the file too."""
    if not path.exists():
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        path.write_bytes(whole)
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        return {str(line["key"]): line["result"] for line in lines}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} holds no results of evaluate; name another folder") from None
