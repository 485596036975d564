"""One RLDS record as an episode: instruction, cameras, actions, states and what else its metadata say."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from analysis.dataset_description import ACTIONS_ARE
from analysis.episodes.encoded_image import decode, header
from analysis.episodes.finite import without_states
from analysis.episodes.rlds_columns import Record, Table, read_actions, read_states
from analysis.episodes.rlds_example import MAX_FEATURE_BYTES, Range, feature_ranges, first_item, items
from analysis.episodes.rlds_features import FeatureSpec
from analysis.episodes.rlds_known import DATA_SETS, DEFAULT_FPS, Known
from analysis.episodes.tfrecord import Malformed, Payload
from analysis.types import EpisodeMeta
from models.errors import UserError

MAX_STEPS = 1_000_000
MAX_INSTRUCTION_BYTES = 100_000
MAX_EXTRA_CHARACTERS = 1_000
BLACK = 8  # the brightest value of a frame that counts as black: JPEG does not keep a zero
BLACK_PIXELS_PER_BYTE, BLACK_BYTES = 16, 1_000  # a black frame takes less than this; larger ones are not looked at
FLAGS = ("is_first", "is_last", "is_terminal", "reward", "discount")  # one number a step, by RLDS's definition
SUCCESSES = ("success", "is_success", "episode_success", "episode_is_successful")  # of the episode
INSTRUCTIONS = (
    "steps/language_instruction",
    "steps/observation/natural_language_instruction",
    "steps/natural_language_instruction",
    "steps/observation/language_instruction",
    "steps/observation/instruction",
    "steps/instruction",
    "steps/task/language_instruction",
    "steps/language_instruction_2",
    "steps/language_instruction_3",
    "episode_metadata/language_instruction",
    "episode_metadata/natural_language_instruction",
    "episode_metadata/instruction",
    "episode_metadata/task",
    "language_instruction",
    "natural_language_instruction",
)


@dataclass(frozen=True)
class Place:
    """Which record of which data set: what an episode's description takes from outside of the record."""

    id: str
    source: str  # the shard's path
    data_set: str  # name, such as bridge_dataset
    extra: Mapping[str, str]


@dataclass(frozen=True)
class Camera:
    """A camera's feature."""

    frames: Range  # where they lie in the payload
    history: int  # frames at each step, the newest last


@dataclass(frozen=True)
class Recording:
    """What a record tells without a frame being decoded."""

    meta: EpisodeMeta
    instructions: tuple[str, ...]  # one a step where they differ; else none
    actions: Table
    states: Table | None
    cameras: Mapping[str, Camera]


def read_record(payload: Payload, specs: Mapping[str, FeatureSpec] | None, place: Place) -> Recording:
    """Describes the episode, stepping over its frames. Raises Malformed for the first thing that is wrong."""
    record = Record(payload, feature_ranges(payload), specs)
    known = DATA_SETS.get(place.data_set, Known(0))
    seen, unseen = _cameras(record)
    steps = _steps(record, seen)
    actions = read_actions(record, steps, known)
    states = read_states(record, steps, known)
    lost = without_states(states.values, states.names) if states else {}
    states = None if lost else states
    instruction, several, said = _instruction(record, steps)
    extra = dict(place.extra) | _metadata(record) | unseen | lost
    extra |= {} if known.fps else {"fps": f"not recorded; {DEFAULT_FPS:g} frames a second are assumed"}
    shown = "each is shown at its steps" if said else "the first is shown"
    extra |= {"instructions": f"{several} in this episode; {shown}"} if several > 1 else {}
    # axes are named where they are known (`rlds_known`), and all of those are increments
    extra |= {ACTIONS_ARE: "relative"} if {"x", "y"} <= set(actions.names) else {}
    meta = EpisodeMeta(
        id=place.id,
        source=place.source,
        instruction=instruction,
        length=steps,
        fps=float(known.fps or DEFAULT_FPS),
        cameras=tuple(seen),
        success=_success(record),
        robot=known.robot,
        action_names=actions.names,
        action_units=actions.units,
        state_names=states.names if states else (),
        state_units=states.units if states else (),
        digest=_digest(payload, actions, instruction, extra.get("file_path", "")),
        extra=extra,
    )
    return Recording(meta, said, actions, states, seen)


def frame_ranges(payload: Payload, recording: Recording) -> dict[str, Int64[np.ndarray, "T 2"]]:
    """Where each frame of each camera lies in the file. Raises Malformed if a camera has more or fewer than steps."""
    out = {}
    for name, camera in recording.cameras.items():
        found, expected = items(payload, camera.frames), recording.meta.length * camera.history
        if len(found) != expected:
            raise Malformed(f"lengths disagree: camera {name!r} has {len(found):,} frames, expected {expected}")
        out[name] = np.array(found[camera.history - 1 :: camera.history], np.int64) + payload.offset
    return out


def _steps(record: Record, cameras: Mapping[str, Camera]) -> int:
    """How many steps there are, by the flags that every step has, else by the frames of one camera."""
    for flag in FLAGS:
        if f"steps/{flag}" in record.ranges:
            steps = len(record.values(f"steps/{flag}"))
            break
    else:
        first = next(iter(cameras.values()))
        steps = len(items(record.payload, first.frames)) // first.history
    if steps == 0:
        raise Malformed("it has zero steps; an episode needs at least one")
    if steps > MAX_STEPS:
        raise Malformed(f"it has {steps:,} steps; at most {MAX_STEPS:,} are read")
    return steps


def _cameras(record: Record) -> tuple[dict[str, Camera], dict[str, str]]:
    """Cameras with something in their frames, and remarks on the others. The flags has_image_* are not trusted."""
    names = {name for name in record.ranges if name.startswith("steps/") and record.spec(name, "image").kind == "image"}
    in_colour = {name for name in names if _in_colour(record.spec(name, "image"))}
    if not in_colour:  # a data set may have grey pictures only
        in_colour = {name for name in names if _grey(name, record.spec(name, "image"))}
    groups: dict[str, dict[str, Camera]] = {"seen": {}, "black_cameras": {}, "unreadable_cameras": {}}
    for name in sorted(in_colour, key=lambda name: ("wrist" in name or "hand" in name, name)):
        camera = name.removeprefix("steps/").removeprefix("observation/").replace("/", ".")
        group = _look(record, name)
        if group != "unreadable_cameras" or record.specs is not None:
            groups[group][camera] = Camera(record.ranges[name], record.spec(name, "image").history)
    seen = groups.pop("seen") or groups.pop("black_cameras")
    if not seen:
        raise Malformed("it has no camera; expected JPEG or PNG frames under steps/observation")
    return seen, {group: ", ".join(cameras) for group, cameras in groups.items() if cameras}


def _in_colour(spec: FeatureSpec) -> bool:
    """Depth maps and label images are no frames."""
    return spec.dtype in ("", "uint8") and (not spec.shape or spec.shape[-1] in (3, 4))


def _grey(name: str, spec: FeatureSpec) -> bool:
    other = ("depth", "segmentation", "mask", "label")
    return spec.dtype in ("", "uint8") and bool(spec.shape) and not any(word in name for word in other)


def _look(record: Record, name: str) -> str:
    """In which group a camera belongs, by its first frame's header; only a suspiciously small frame is decoded."""
    feature = record.ranges[name]
    first = first_item(record.payload, feature)
    if first is None or not 0 < first[1] - first[0] <= MAX_FEATURE_BYTES:
        return "unreadable_cameras"
    data = record.payload.read(*first)
    found = header(data)
    if found is None:
        return "unreadable_cameras"
    limit = BLACK_BYTES + found[1] * found[2] // BLACK_PIXELS_PER_BYTE
    if len(data) > limit or found[1] * found[2] > MAX_FEATURE_BYTES or _varied(record.payload, feature):
        return "seen"
    try:
        return "black_cameras" if decode(data, name).max() <= BLACK else "seen"
    except UserError:
        return "seen"  # its header is right; reading this frame says what is wrong with the rest


def _varied(payload: Payload, feature: Range) -> bool:
    """Whether frames differ in size: what stands for a camera that was not there is one picture, again and again."""
    return len({stop - start for start, stop in items(payload, feature)}) > 1


def _instruction(record: Record, steps: int) -> tuple[str, int, tuple[str, ...]]:
    """The first instruction that is not empty, how many different ones its feature holds, and those of the steps.

    There are none of the steps where all are the same, or where there is not one a step. A step without one has that
    of the step before.
    """
    for name in INSTRUCTIONS:
        if name not in record.ranges:
            continue
        found = record.values(name)
        if isinstance(found, list):
            texts = [text.decode("utf-8", "replace").strip() for text in found]
        else:  # Language-Table: character codes, filled up with zeros to a fixed length
            width = (record.spec(name, "number").shape or (512,))[0] or 1
            rows = [found[start : start + width] for start in range(0, max(len(found), 1), width)]
            texts = ["".join(chr(code) for code in row if 0 < code < 0xD800).strip() for row in rows]
        if said := list(dict.fromkeys(text for text in texts if text)):
            if len(said[0].encode()) > MAX_INSTRUCTION_BYTES:
                raise Malformed(f"its instruction has more than {MAX_INSTRUCTION_BYTES:,} bytes; no more are read")
            return said[0], len(said), _filled(texts) if len(said) > 1 and len(texts) == steps else ()
    return "", 0, ()


def _filled(texts: Sequence[str]) -> tuple[str, ...]:
    out, last = [], next(text for text in texts if text)
    for text in texts:
        last = text or last
        out.append(last)
    return tuple(out)


def _metadata(record: Record) -> dict[str, str]:
    """What stands under episode_metadata, and beside the steps, with one value an episode: path, number ..."""
    out = {}
    for name in sorted(record.ranges):
        start, stop = record.ranges[name]
        if name.startswith("steps/") or name in INSTRUCTIONS or stop - start > MAX_INSTRUCTION_BYTES:
            continue
        found = record.values(name)
        if len(found) == 1:
            said = found[0].decode("utf-8", "replace") if isinstance(found, list) else str(found[0].item())
            out[name.removeprefix("episode_metadata/")] = said[:MAX_EXTRA_CHARACTERS]
    return out


def _success(record: Record) -> bool | None:
    """As the metadata say, else True if the reward is 0 until it ends in 1; zeros alone tell nothing."""
    named = [place + name for name in SUCCESSES for place in ("episode_metadata/", "")]
    for name in [*named, "steps/observation/episode_success"]:  # the last is BC-Z's, the same at every step
        if name not in record.ranges or isinstance(found := record.values(name), list):
            continue
        if len(said := np.unique(found)) == 1 and said[0] in (0, 1):
            return bool(said[0])
    if "steps/reward" in record.ranges:
        reward = record.values("steps/reward")
        if not isinstance(reward, list) and len(reward) and reward[-1] == 1 and not reward[:-1].any():
            return True
    return None


def _digest(payload: Payload, actions: Table, *texts: str) -> str:
    """From the checksum of all bytes that is stored with them, and from what was read: no frame has to be."""
    digest = hashlib.sha256(struct.pack("<QI", payload.length, payload.stored_crc()))
    digest.update(actions.values.tobytes())
    for text in texts:
        digest.update(text.encode("utf-8", "replace") + b"\0")
    return digest.hexdigest()[:16]
