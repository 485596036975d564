"""A checkpoint folder as files: what is there, what the weights' headers say, one digest. No torch, no weights read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.config_section import ConfigSection
from models.errors import UserError

DESCRIPTIONS = (  # files that change what a checkpoint does, beside its weights
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "added_tokens.json",
    "special_tokens_map.json",
    "dataset_statistics.json",
    "chat_template.json",
    "chat_template.jinja",
    "policy_preprocessor.json",
    "policy_postprocessor.json",
)
SIDE_FILES = (  # weights that change what a checkpoint does, in files of their own
    "policy_*processor_*.safetensors",  # statistics that LeRobot's processor files name
    "action_head*.safetensors",  # of OpenVLA-OFT
    "proprio_projector*.safetensors",
)
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
NUMBER_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies in its safetensors file."""

    name: str
    dtype: str  # safetensors' own names: F32, BF16 ...
    shape: tuple[int, ...]
    file: Path
    start: int  # bytes from the start of the file
    stop: int

    @property
    def size(self) -> int:
        count = 1
        for extent in self.shape:
            count *= extent
        return count


def checkpoint_folder(path: str | Path) -> Path:
    """``path`` as a folder that holds a config.json. Raises UserError that says what was found instead."""
    folder = Path(path).expanduser()
    if not folder.exists():
        raise UserError(f"{folder} does not exist; a checkpoint is a folder with config.json and *.safetensors")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; a checkpoint is a folder with config.json and *.safetensors")
    if not (folder / "config.json").is_file():
        names = sorted(entry.name for entry in folder.iterdir())
        found = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "nothing"
        raise UserError(f"{folder} is not a checkpoint: it has no config.json (found {found})")
    for name in DESCRIPTIONS:
        inside(folder, name)
    return folder


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of ``folder``, shards by way of their index. Raises UserError where there are none."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(map(str, ConfigSection.read(index).section("weight_map").fields.values())))
        files = tuple(inside(folder, name) for name in names)
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise UserError(f"{folder} is incomplete: {index.name} names {', '.join(missing)}, which is not there")
        return files
    single = inside(folder, "model.safetensors")
    if single.is_file():
        return (single,)
    pickles = sorted(entry.name for entry in folder.iterdir() if entry.suffix in PICKLES)
    if pickles:
        raise UserError(
            f"{folder} has its weights only as pickle ({', '.join(pickles)}), which is never opened here, as it can "
            "run code; convert it to safetensors with save_pretrained(safe_serialization=True)"
        )
    raise UserError(f"{folder} has no weights: neither model.safetensors nor model.safetensors.index.json")


def tensors(folder: Path) -> Mapping[str, TensorInfo]:
    """Every tensor that the weights' headers name. Raises UserError for a truncated or broken file."""
    return {info.name: info for file in weight_files(folder) for info in header(file)}


def number_type(stored: Mapping[str, TensorInfo]) -> str:
    """The number type of most of the weights, as torch names it; "" where there are none."""
    sizes = Counter[str]()
    for info in stored.values():
        sizes[NUMBER_TYPES.get(info.dtype, info.dtype)] += info.size
    return sizes.most_common(1)[0][0] if sizes else ""


def digest(path: str | Path) -> str:
    """First 16 hex digits of sha256 over names, sizes and bytes of configuration, tokenizer and weights files."""
    folder = checkpoint_folder(path)
    described = [folder / name for name in DESCRIPTIONS if (folder / name).is_file()]
    described += side_files(folder)
    total = hashlib.sha256()
    for file in sorted((*described, *weight_files(folder)), key=lambda file: file.name):
        total.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                total.update(block)
    return total.hexdigest()[:16]


def side_files(folder: Path) -> list[Path]:
    """Files of ``folder`` that one of SIDE_FILES stands for."""
    return [inside(folder, file.name) for pattern in SIDE_FILES for file in sorted(folder.glob(pattern))]


def file_digest(file: Path) -> bytes:
    """sha256 of one file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def inside(folder: Path, name: str) -> Path:
    """``folder / name``, unless it leads out of the folder (a hub cache's own blobs are inside)."""
    file = folder / name
    root, target = folder.resolve(), file.resolve()
    allowed = [root]
    if root.parent.name == "snapshots":  # hub cache: snapshots/<revision>/file -> ../../blobs/<sha>
        allowed.append(root.parent.parent / "blobs")
    if not any(target.is_relative_to(place) for place in allowed):
        raise UserError(f"{file} leads out of the checkpoint, to {target}; copy the file into the folder")
    return file


def header(file: Path) -> list[TensorInfo]:
    """The tensors of one safetensors file. Raises UserError for a truncated or broken one, or a Git LFS pointer."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        if start == b"version ":
            raise UserError(f"{file} is a Git LFS pointer, not the weights; fetch them with: git lfs pull")
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > size - 8:
            raise UserError(f"{file} is truncated or no safetensors file: its header does not fit into {size} bytes")
        raw = stream.read(length)
    try:
        entries = json.loads(raw)
        infos = [_entry(file, name, entry, 8 + length) for name, entry in entries.items() if name != "__metadata__"]
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is no safetensors file: its header cannot be read ({error})") from error
    end = max((info.stop for info in infos), default=8 + length)
    if end != size:
        raise UserError(f"{file} is truncated or damaged: its header describes {end} bytes, the file has {size}")
    return infos


def _entry(file: Path, name: str, entry: Mapping[str, Any], offset: int) -> TensorInfo:
    start, stop = (offset + int(place) for place in entry["data_offsets"])
    info = TensorInfo(name, str(entry["dtype"]), tuple(map(int, entry["shape"])), file, start, stop)
    if info.dtype in ITEM_BYTES and info.stop - info.start != info.size * ITEM_BYTES[info.dtype]:
        raise ValueError(f"{name}: {info.stop - info.start} bytes for {info.dtype} {list(info.shape)}")
    return info
