"""The folders that a checkpoint is made of: its own, and one that it builds on. No torch, no weights read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models import checkpoint
from models.checkpoint import TensorInfo
from models.config_section import ConfigSection
from models.errors import UserError

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TITLE = "policy_name"  # in config.json of a checkpoint that was tuned here


@dataclass(frozen=True)
class CheckpointFiles:
    """A checkpoint on disk. A LoRA adapter is one too: configuration and weights are then those of its base."""

    folder: Path  # what the user named
    model: Path  # config.json, tokenizer and weights; another folder than ``folder`` for an adapter
    base: Path | None = None  # the folder that the user named as the one this builds on

    @staticmethod
    def open(path: str | Path, base: str | Path | None = None) -> CheckpointFiles:
        """Raises UserError for a folder that is no checkpoint, or an adapter whose base is not to be found."""
        folder = Path(path).expanduser()
        given = checkpoint.checkpoint_folder(base) if base is not None else None
        if not (folder / ADAPTER_CONFIG).is_file() or (folder / "config.json").is_file():
            folder = checkpoint.checkpoint_folder(folder)
            return CheckpointFiles(folder, folder, given)
        for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
            checkpoint.inside(folder, name)
        named = ConfigSection.read(folder / ADAPTER_CONFIG).text("base_model_name_or_path", default="")
        model = given or checkpoint.checkpoint_folder(companion(folder, named, "the LoRA adapter's base model"))
        return CheckpointFiles(folder, model, given)

    @property
    def is_adapter(self) -> bool:
        return self.folder != self.model

    def config(self) -> ConfigSection:
        return ConfigSection.read(self.model / "config.json")

    def names(self) -> tuple[str, ...]:
        """What the checkpoint is called: its folders (in a hub cache, the repository) and ``_name_or_path``."""
        folders = [folder.resolve() for folder in dict.fromkeys((self.folder, self.model))]
        called = [folder.parent.parent.name if folder.parent.name == "snapshots" else folder.name for folder in folders]
        return (*called, self.config().text("_name_or_path", default=""))

    def title(self) -> str:
        """What people call it: as a tuned one says of itself, else its folder or repository."""
        return self.config().text(TITLE, default="") or self.names()[0]

    def entries(self) -> tuple[str, ...]:
        """Names of everything in its folders, sorted."""
        return tuple(sorted({entry.name for folder in {self.folder, self.model} for entry in folder.iterdir()}))

    def find(self, name: str) -> Path | None:
        """The file ``name``, of the adapter where it brings its own, else of the model; None where there is none."""
        for folder in dict.fromkeys((self.folder, self.model)):
            if (folder / name).is_file():
                return checkpoint.inside(folder, name)
        return None

    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor of the model's weights, by its stored name. Raises UserError for a truncated or broken file."""
        return checkpoint.tensors(self.model)

    def adapter_tensors(self) -> Mapping[str, TensorInfo]:
        """The adapter's own tensors; none where this is no adapter."""
        if not self.is_adapter:
            return {}
        file = self.folder / ADAPTER_WEIGHTS
        if not file.is_file():
            found = "adapter_model.bin, a pickle," if (self.folder / "adapter_model.bin").is_file() else "no weights"
            raise UserError(
                f"{self.folder} has {found} where {ADAPTER_WEIGHTS} was expected; pickles are never opened here, as "
                "they can run code: save the adapter with save_pretrained(safe_serialization=True)"
            )
        return {info.name: info for info in checkpoint.header(file)}

    def digest(self) -> str:
        """First 16 hex digits of a sha256 over everything that changes what the checkpoint does."""
        if not self.is_adapter:
            return checkpoint.digest(self.folder)
        total = hashlib.sha256(checkpoint.digest(self.model).encode())
        self.adapter_tensors()
        for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS, *checkpoint.DESCRIPTIONS):
            if (self.folder / name).is_file():
                total.update(f"{name}\0".encode() + checkpoint.file_digest(self.folder / name))
        for file in checkpoint.side_files(self.folder):
            total.update(f"{file.name}\0".encode() + checkpoint.file_digest(file))
        return total.hexdigest()[:16]


def companion(folder: Path, named: str, what: str) -> Path:
    """The local copy of a model that ``folder`` names: in it or beside it, by the last part of its name.

    A path in a checkpoint's own files is followed only as far as the folder that ``folder`` itself lies in.
    Raises UserError that says where to put the copy, or how to point to one.
    """
    place = folder.resolve().parent
    name = named.rstrip("/").rsplit("/", 1)[-1]
    if name not in ("", ".", ".."):
        for found in (folder / named, folder / name, place / name):  # an absolute name stands for itself
            if found.is_dir() and found.resolve().is_relative_to(place) and found.resolve() not in (place, folder):
                return found
    raise UserError(
        f"{folder} needs {what}, {named!r}, which is not beside it; put a copy of that model at {place / name}, or "
        "name its folder with base"
    )
