"""Training runs below the folders of a workspace's checkpoints, running or finished. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.refine.curves import FILE, read_curves

TRAINING, SETTINGS = "training", "settings.json"


@dataclass(frozen=True)
class TrainingRun:
    name: str
    path: Path  # the checkpoint's folder
    settings: dict[str, Any]
    lines: list[dict[str, Any]]  # of the curves, in order
    finished: bool
    problem: str = ""  # why its curves cannot be shown
    base: str = ""  # digest of the checkpoint that it began with
    family: str = ""  # as which that is taught; "" for older runs

    @property
    def steps(self) -> tuple[int, int]:
        """Done, of how many."""
        return (self.lines[-1]["step"] if self.lines else 0), int(self.settings.get("steps", 0))


def training_runs(roots: Sequence[Path]) -> list[TrainingRun]:
    """Every folder at or directly below ``roots`` in which finetune trains or trained."""
    folders = [folder for root in roots for folder in (root, *sorted(root.glob("*"))) if (folder / TRAINING).is_dir()]
    return [_read(folder) for folder in dict.fromkeys(folders)]


def _read(folder: Path) -> TrainingRun:
    work, finished = folder / TRAINING, (folder / "config.json").is_file()
    try:
        held = json.loads((work / SETTINGS).read_text(encoding="utf-8"))
        settings, base = held["settings"], held.get("made_of", {}).get("base", {})
        digest, family = str(base.get("digest", "")), str(base.get("family", ""))
        lines = read_curves(work / FILE) if (work / FILE).is_file() else []
        return TrainingRun(folder.name, folder, dict(settings), lines, finished, base=digest, family=family)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError) as error:
        return TrainingRun(folder.name, folder, {}, [], finished, f"{folder}: {error}")
