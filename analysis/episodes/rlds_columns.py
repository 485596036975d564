"""Actions, states and other numbers of one record as tables with a name and a unit for each column."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from analysis.episodes.finite import not_finite
from analysis.episodes.rlds_example import MAX_FEATURE_BYTES, Range, Values, values
from analysis.episodes.rlds_features import FeatureSpec
from analysis.episodes.rlds_known import ACTION_PARTS, Known
from analysis.episodes.tfrecord import Malformed, Payload

MAX_COLUMNS = 1_000
PLAIN = re.compile("u?int(8|16|32|64)|float(16|32|64)|bool")  # types whose bytes are taken as they are
ACTIONS = ("steps/action", "steps/actions")  # a feature, or a dictionary of features below it
STATES = (  # the first group that a data set has, joined in this order; each a feature or a dictionary of features
    ("state",),
    ("proprio",),
    ("robot_state",),
    ("EEF_state", "gripper_state"),
    ("base_pose_tool_reached", "clip_function_input/base_pose_tool_reached", "gripper_closed"),  # Fractal, Kuka
    ("present/xyz", "present/axis_angle", "present/sensed_close"),  # BC-Z
    ("ee_states", "gripper_states", "joint_states"),  # Viola
    ("cartesian_position", "gripper_position"),
    ("robot_obs",),
    ("end_effector_cartesian_pos",),
    ("effector_translation",),
    ("eef_pose",),
    ("joint_pos",),
    ("joint_state",),
    ("joint_position",),
    ("qpos",),
)


@dataclass(frozen=True)
class Record:
    """One example: where its features lie, and what is known about them."""

    payload: Payload
    ranges: Mapping[str, Range]
    specs: Mapping[str, FeatureSpec] | None  # None: nothing but the record itself tells

    def spec(self, name: str, otherwise: str) -> FeatureSpec:
        """What is known about a feature; ``otherwise`` is the kind it is taken for without a specification."""
        if self.specs is None:
            return FeatureSpec(name, otherwise, shape=None)
        return self.specs.get(name, FeatureSpec(name, "other"))

    def values(self, name: str) -> Values:
        """What the feature ``name`` holds. Raises Malformed if it cannot be parsed."""
        return values(self.payload, self.ranges[name], name)

    def below(self, name: str) -> list[str]:
        """The feature ``name`` itself, or those of the dictionary of that name, in the order of their names."""
        return [name] if name in self.ranges else sorted(key for key in self.ranges if key.startswith(f"{name}/"))


@dataclass(frozen=True)
class Table:
    """Numbers over time."""

    values: Float32[np.ndarray, "T C"]  # units: those of ``units``
    names: tuple[str, ...]
    units: tuple[str, ...]


def read_actions(record: Record, steps: int, known: Known) -> Table:
    """The recorded actions. Raises Malformed if there are none, or if one is no finite number."""
    for name in ACTIONS:
        parts = sorted(record.below(name), key=_part_order)
        if found := [part for part in parts if record.spec(part, "number").kind == "number"]:
            table = _joined(record, found, steps, "action", (known.action, known.action_units), name)
            if said := not_finite(table.values, table.names, "actions"):
                raise Malformed(f"it has {said}")
            return table
    raise Malformed("it has no numbers under steps/action")


def read_states(record: Record, steps: int, known: Known) -> Table | None:
    """Proprioception, finite or not, or None where the data set has none under a known name."""
    for group in STATES:
        names = [f"steps/observation/{name}" for name in group]
        found = [part for name in names for part in record.below(name) if record.spec(part, "number").kind == "number"]
        if found:
            prefix = names[0] if len(group) == 1 else "steps/observation"
            return _joined(record, found, steps, "state", (known.state, known.state_units), prefix)
    return None


def numbers(record: Record, name: str, steps: int) -> Float32[np.ndarray, "T C"]:
    """One feature, a row for each step. Raises Malformed if type or size is another than specified."""
    spec = record.spec(name, "number")
    found = record.values(name)
    if isinstance(found, list):
        found = _unpacked(found, spec)
    elif spec.dtype.startswith(("float", "bfloat")) and found.dtype == np.int64 and found.size:
        raise Malformed(f"its feature {name!r} holds integers; features.json says {spec.dtype}")
    width = math.prod(spec.shape) if spec.shape is not None else len(found) // max(steps, 1)
    if width > MAX_COLUMNS:
        raise Malformed(f"its feature {name!r} has {width:,} columns; at most {MAX_COLUMNS:,} are read")
    if len(found) != steps * width:
        raise Malformed(f"lengths disagree: {name!r} has {len(found):,} numbers, expected {width} for {steps} steps")
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is then named
        return found.astype(np.float32).reshape(steps, width)


def _joined(
    record: Record, parts: list[str], steps: int, what: str, known: tuple[tuple[str, ...], tuple[str, ...]], prefix: str
) -> Table:
    columns = {part: numbers(record, part, steps) for part in parts}
    table = np.concatenate(list(columns.values()), axis=1)
    if not 0 < table.shape[1] <= MAX_COLUMNS:
        raise Malformed(f"its {what}s have {table.shape[1]:,} columns; expected 1 to {MAX_COLUMNS:,}")
    if len(parts) == 1 and len(known[0]) == table.shape[1]:
        names, units = known
    elif parts == [prefix]:
        names, units = tuple(f"{what} {k}" for k in range(table.shape[1])), ("",) * table.shape[1]
    else:
        said = [_part_names(part[len(prefix) + 1 :], columns[part].shape[1]) for part in parts]
        names, units = tuple(n for part in said for n in part[0]), tuple(u for part in said for u in part[1])
    return Table(table, names, units)


def _part_names(part: str, width: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names, units = ACTION_PARTS.get(part, ((), ()))
    if names and len(names) == width:
        return names, units
    return ((part,) if width == 1 else tuple(f"{part} {k}" for k in range(width))), ("",) * width


def _part_order(name: str) -> tuple[int, str]:
    part = name.rsplit("/", 1)[-1]
    return (list(ACTION_PARTS).index(part) if part in ACTION_PARTS else len(ACTION_PARTS)), name


def _unpacked(rows: list[bytes], spec: FeatureSpec) -> np.ndarray:
    """Numbers that are stored as bytes, one entry a step."""
    if spec.encoding not in ("bytes", "zlib") or not PLAIN.fullmatch(spec.dtype):
        raise Malformed(f"its feature {spec.name!r} holds text; expected numbers")
    try:
        if spec.encoding == "zlib":
            rows = [_inflated(row, MAX_FEATURE_BYTES // len(rows)) for row in rows]
        return np.frombuffer(b"".join(rows), np.dtype(spec.dtype).newbyteorder("<"))
    except (ValueError, TypeError, zlib.error) as error:
        raise Malformed(f"its feature {spec.name!r} does not unpack to {spec.dtype}: {error}") from None


def _inflated(row: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj()
    out = stream.decompress(row, limit)
    if stream.unconsumed_tail:
        raise ValueError(f"more than {limit:,} bytes")
    return out
