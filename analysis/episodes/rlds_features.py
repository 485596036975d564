"""What ``features.json`` says about a data set: the flattened name, kind, shape and type of each feature."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.episodes.file_bytes import beginning, read_bytes
from analysis.episodes.links import stays_inside
from models.errors import UserError

MAX_BYTES = 20 << 20
MAX_DEPTH = 20
MAX_SIDE = 1_000_000  # entries along one axis

Shape = tuple[int, ...]


@dataclass(frozen=True)
class FeatureSpec:
    """One leaf of the specification; ``name`` is the one that records use, such as steps/observation/image_0."""

    name: str
    kind: str  # "image", "text", "number", or "other" for what is not read
    dtype: str = ""
    shape: Shape | None = ()  # of one step, or of the episode outside of steps; None: not known beforehand
    history: int = 1  # of an image: how many stand at each step, the newest last
    encoding: str = ""  # of a number: "bytes" or "zlib" where it is stored as such


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON object of plausible size. Raises UserError for anything else."""
    if path.is_symlink() and not stays_inside(path, path.parent):
        raise UserError(f"{path.name} is a link that leads out of its folder; put the file itself there")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path.name} has {path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read")
        content = json.loads(read_bytes(path).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        said = "it is a Git LFS pointer" if _is_pointer(path) else str(error)
        raise UserError(f"{path.name} cannot be read as JSON: {said}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path.name} holds a {type(content).__name__}; expected an object")
    return content


def read_features(folder: Path) -> Mapping[str, FeatureSpec]:
    """The features of the data set in ``folder``, by name.

    Raises UserError if ``features.json`` is missing, is no JSON or describes no steps.
    """
    path = folder / "features.json"
    if not path.is_file():
        raise UserError("features.json is missing")
    try:
        found = {spec.name: spec for spec in _leaves(read_json(path), "", 0)}
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise UserError(f"features.json does not follow the feature specification of TFDS: {error}") from None
    if not any(name.startswith("steps/") for name in found):
        raise UserError("features.json describes no steps")
    return found


def _leaves(node: Mapping[str, Any], name: str, depth: int) -> Iterator[FeatureSpec]:
    if depth > MAX_DEPTH:
        raise ValueError(f"{name!r} is nested more than {MAX_DEPTH} deep")
    kind = str(node.get("pythonClassName", "")).rsplit(".", 1)[-1]
    if "featuresDict" in node:
        for key, inner in node["featuresDict"].get("features", {}).items():
            yield from _leaves(inner, f"{name}/{key}".lstrip("/"), depth + 1)
    elif "sequence" in node:
        inside = _leaves(node["sequence"]["feature"], name, depth + 1)
        if name == "steps":  # a Dataset, or in early data sets a Sequence
            yield from inside
        else:  # a sequence in a step is stored flat where its length is fixed, and ragged otherwise
            length = int(node["sequence"].get("length", -1))
            yield from (_repeated(spec, length) for spec in inside)
    else:
        yield _leaf(node, name, kind)


def _repeated(spec: FeatureSpec, length: int) -> FeatureSpec:
    if spec.kind == "image" and length > 0:
        return replace(spec, history=spec.history * length)
    if spec.kind != "number" or length < 0 or spec.shape is None:
        return FeatureSpec(spec.name, "other")
    return FeatureSpec(spec.name, "number", spec.dtype, (length, *spec.shape))


def _leaf(node: Mapping[str, Any], name: str, kind: str) -> FeatureSpec:
    if "image" in node:
        return FeatureSpec(name, "image", node["image"].get("dtype", "uint8"), _shape(node["image"]))
    if "text" in node or kind == "Text":
        return FeatureSpec(name, "text")
    if "classLabel" in node or kind == "ClassLabel":
        return FeatureSpec(name, "number", "int64")
    if "tensor" not in node:
        return FeatureSpec(name, "other")
    tensor = node["tensor"]
    dtype = str(tensor.get("dtype", ""))
    if dtype in ("string", "object", "str"):
        return FeatureSpec(name, "text")
    shape = _shape(tensor)
    encoding = str(tensor.get("encoding", "none")).lower().replace("none", "")
    return FeatureSpec(name, "other" if shape is None else "number", dtype, shape, encoding=encoding)


def _shape(tensor: Mapping[str, Any]) -> Shape | None:
    """Sizes of the axes; None if one of them is not fixed, as it then differs from record to record."""
    sizes = tuple(int(side) for side in tensor.get("shape", {}).get("dimensions", ()))
    if any(side > MAX_SIDE for side in sizes):
        raise ValueError(f"the shape {list(sizes)} has an axis of more than {MAX_SIDE:,}")
    return None if any(side < 0 for side in sizes) else sizes


def _is_pointer(path: Path) -> bool:
    try:
        return beginning(path, 20).startswith(b"version https://git")
    except OSError:
        return False
