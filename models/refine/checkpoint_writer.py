"""The tuned checkpoint as an ordinary folder: weights, the base's tokenizer and preprocessing, and its origin."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models.checkpoint import DESCRIPTIONS, inside
from models.families.weights import DTYPES
from models.refine.learner import Learner
from models.refine.settings import Mode, TuneSettings

PROVENANCE = "provenance.json"
ADAPTER = "adapter"


def write_checkpoint(
    folder: Path,
    learner: Learner,
    model: torch.nn.Module,
    settings: TuneSettings,
    provenance: Mapping[str, Any],
    name: str,
    dtype: str,
) -> None:
    """Writes beside the name first; ``folder`` gets config.json last, so that half a checkpoint is none.

    ``model``: the trained one, a peft model for LoRA, whose changes are added to the weights; the adapter alone lies in
    ``adapter``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if settings.mode is Mode.LORA:
        _write_adapter(folder / ADAPTER, model, learner)
        model = model.merge_and_unload()
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as part:
        learner.write_weights(model, Path(part), DTYPES[dtype])
        (Path(part) / PROVENANCE).write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
        changed = learner.descriptions(settings.as_json(), name, dtype)
        for changed_name, content in changed.items():
            (Path(part) / changed_name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        for description in DESCRIPTIONS:
            found = learner.files.find(description)
            if found is not None and description not in changed:
                shutil.copyfile(found, Path(part) / description)
        for code in learner.files.model.glob("*.py"):  # for the original's own loading; never run here
            shutil.copyfile(inside(learner.files.model, code.name), Path(part) / code.name)
        written = sorted(Path(part).iterdir(), key=lambda file: file.name == "config.json")
        for file in written:
            file.replace(folder / file.name)


def _write_adapter(folder: Path, model: torch.nn.Module, learner: Learner) -> None:
    for low_rank in model.peft_config.values():
        low_rank.base_model_name_or_path = learner.files.folder.resolve().name
    model.save_pretrained(folder, safe_serialization=True)
