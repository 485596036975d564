"""The tuned checkpoint as an ordinary folder: weights, the base's tokenizer and preprocessing, and its origin."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models.checkpoint import DESCRIPTIONS
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
        tensors = {key: value.detach().cpu().to(DTYPES[dtype]).contiguous() for key, value in _stored(model).items()}
        model.save_pretrained(
            part, state_dict=tensors
        )  # under the names that are published, in shards where it is large
        (Path(part) / PROVENANCE).write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
        config = json.dumps(_config(learner, model, settings, name, dtype), indent=2) + "\n"
        (Path(part) / "config.json").write_text(config, encoding="utf-8")
        for description in DESCRIPTIONS:
            found = learner.files.find(description)
            if found is not None and description != "config.json":
                shutil.copyfile(found, Path(part) / description)
        written = sorted(Path(part).iterdir(), key=lambda file: file.name == "config.json")
        for file in written:
            file.replace(folder / file.name)


def _stored(model: torch.nn.Module) -> Mapping[str, torch.Tensor]:
    """What the files hold: tied weights once, by their input's name."""
    tied = getattr(model, "all_tied_weights_keys", {}) if model.config.tie_word_embeddings else {}
    return {key: value for key, value in model.state_dict().items() if key not in tied}


def _write_adapter(folder: Path, model: torch.nn.Module, learner: Learner) -> None:
    for low_rank in model.peft_config.values():
        low_rank.base_model_name_or_path = learner.files.folder.resolve().name
    model.save_pretrained(folder, safe_serialization=True)


def _config(learner: Learner, model: torch.nn.Module, settings: TuneSettings, name: str, dtype: str) -> dict[str, Any]:
    """The base's config.json with what is new."""
    config = json.loads((learner.files.model / "config.json").read_text(encoding="utf-8"))
    tied = bool(model.config.tie_word_embeddings)
    config |= {"tie_word_embeddings": tied, "dtype": dtype}
    config["text_config"] = {**config.get("text_config", {}), "tie_word_embeddings": tied}
    config["vla"] = {**config["vla"], "name": name}
    robot = learner.robot
    if robot.rationale is not None:
        config["vla"]["rationale"] = {
            "order": robot.rationale.order,
            "parts": dict(robot.rationale.parts),
            "max_tokens": robot.rationale.max_tokens,
        }
    else:
        config["vla"].pop("rationale", None)
    config["norm_stats"] = {
        **config.get("norm_stats", {}),
        **{
            key: {"action": {"q01": [*scale.q01], "q99": [*scale.q99], "mask": [*scale.mask]}}
            for key, scale in robot.scales.items()
            if key not in config.get("norm_stats", {})
        },
    }
    config["tuned_with"] = settings.as_json()
    return config
