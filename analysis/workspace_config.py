"""What ``workspace.toml`` may say."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from models.errors import UserError

CONFIG = "workspace.toml"
PATHS = ("episodes", "checkpoints", "annotations")
SETTINGS = ("bases", "device", "dtype", "memory_gb", "remote_cache_gb", "people", "reviews")
SAMPLE_DATA = Path(__file__).resolve().parents[1] / "sample_data"


def default_config(folder: Path) -> str:
    """The file of a new workspace: the shipped episodes and checkpoints."""
    sample = Path(os.path.relpath(SAMPLE_DATA, folder)).as_posix()
    return (
        "# Folders or files, also remote ones such as s3://bucket/folder; relative paths start at this folder.\n"
        f'episodes = ["{sample}/episodes"]\n'
        f'checkpoints = ["{sample}/checkpoints"]\n'
        '# annotations = ["embodied_features_bridge.json"]   # of ECoT, for episodes of BridgeData V2\n'
        '\n# device = "cuda"\n# dtype = "bfloat16"   # else float32 on the CPU, the checkpoint\'s own on a GPU\n'
        "# memory_gb = 16       # for checkpoints kept in memory; else half of what the device has\n"
        '# [bases]\n# a-checkpoints-folder = "the folder of the model that it builds on"\n'
    )


def parse_config(text: str, config: Path) -> dict[str, Any]:
    """The values of ``workspace.toml``. Raises UserError for what cannot be used."""
    try:
        stored: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{config} is not valid TOML: {error}") from None
    if unknown := stored.keys() - {*PATHS, *SETTINGS}:
        raise UserError(f"{config} has the unknown key {min(unknown)!r}; it knows {', '.join((*PATHS, *SETTINGS))}")
    for key in PATHS:
        entries = stored.setdefault(key, [])
        if not isinstance(entries, list) or not all(isinstance(entry, str) and entry for entry in entries):
            raise UserError(f"{key!r} in {config} is {entries!r}; expected a list of paths")
    if not isinstance(stored.get("reviews", ""), str):
        raise UserError(f"'reviews' in {config} is no text; expected a path, or postgresql+psycopg://user@host/name")
    bases = stored.setdefault("bases", {})
    if not isinstance(bases, dict) or not all(isinstance(entry, str) and entry for entry in bases.values()):
        raise UserError(f"'bases' in {config} is {bases!r}; expected a table of folder name = path of the base model")
    return stored


def inside(folder: Path, entry: str) -> Path:
    """An entry as an absolute path; ``..`` is folded by text alone, as the file's author sees it."""
    return Path(os.path.normpath(folder / Path(entry).expanduser()))
