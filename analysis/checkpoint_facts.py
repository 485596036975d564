"""What was recognised in a checkpoint's files, in words: the same for the side bar and the command line. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.registry import FAMILIES
from models.types import ActionSpace, CheckpointSpec

STORED_BYTES: Mapping[str, int] = {
    "float64": 8,
    "float32": 4,
    "bfloat16": 2,
    "float16": 2,
    "int8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
}


@dataclass(frozen=True)
class Fact:
    label: str
    text: str


def checkpoint_facts(spec: CheckpointSpec) -> tuple[Fact, ...]:
    """Everything that the files told, in the order in which a person asks; what does not apply is left out."""
    facts = [
        ("Family", family_title(spec.family)),
        ("Size", size(spec)),
        ("Language model", _stack(spec.layers, spec.heads)),
        ("Action expert", _stack(spec.expert_layers, spec.expert_heads)),
        ("Vision tower", _stack(spec.vision_layers, spec.vision_heads)),
        ("Image", _image(spec)),
        ("Cameras", _cameras(spec)),
        ("Actions", _actions(spec)),
        ("Denoising steps", str(spec.denoising_steps) if spec.denoising_steps else ""),
        ("State", _listed(spec.state_names)),
        ("Rationale", "writes one" if spec.generates_rationale else "writes none"),
        ("Action statistics of", _listed(spec.action_stats)),
        *((name.replace("_", " ").capitalize(), text) for name, text in spec.notes.items()),
    ]
    return tuple(Fact(label, text) for label, text in facts if text)


def _cameras(spec: CheckpointSpec) -> str:
    return ", ".join(spec.cameras) or ("every one that there is" if spec.every_camera else "one, under any name")


def family_title(family: str) -> str:
    """What people call a family."""
    return FAMILIES[family].title or family if family in FAMILIES else family


def size(spec: CheckpointSpec) -> str:
    """Parameters, bytes as stored and number type."""
    stored = STORED_BYTES.get(spec.dtype)
    parts = [f"{counted(spec.parameters)} parameters", _bytes(spec.parameters * stored) if stored else "", spec.dtype]
    return ", ".join(part for part in parts if part)


def counted(number: int) -> str:
    if number < 10**6:
        return f"{number:,}"
    return f"{number / 1e6:.1f} M" if number < 10**9 else f"{number / 1e9:.2f} B"


def _bytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number < 10**9 else f"{number / 1e9:.1f} GB"


def _stack(layers: int, heads: int) -> str:
    return f"{layers} layers × {heads} heads" if layers else ""


def _image(spec: CheckpointSpec) -> str:
    rows, columns = spec.patch_grid
    height, width = spec.image_size
    patches = f"{rows} × {columns} patches" if rows else "patches depend on the image"
    return f"{patches}, the image seen at {width} × {height} px" if height else patches


def _actions(spec: CheckpointSpec) -> str:
    space = spec.action_space
    if space is None:
        return "none: it describes what it sees"
    return f"{_listed(space.names) or 'as many as the chosen statistics have'} ({_kind(space)})"


def _kind(space: ActionSpace) -> str:
    chunk = f"{space.chunk} steps at once" if space.chunk > 1 else "one step at a time"
    return f"{chunk}, {f'{space.bins} bins' if space.bins else 'continuous'}"


def _listed(names: tuple[str, ...], most: int = 16) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
