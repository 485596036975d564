"""Frames of an episode as stored, and ground truth in the shape of tables."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from analysis.episodes.encoded_image import header
from analysis.types import Episode, SceneObject
from models.errors import UserError


@dataclass(frozen=True)
class Moment:
    """What is known about a step beside frames and numbers."""

    phase: str
    objects: Mapping[str, tuple[SceneObject, ...]]  # per camera


def moments(episode: Episode) -> list[Moment]:
    """One for each step; empty if no step has a phase or objects. Frames are let go at once."""
    found = []
    for index in range(episode.meta.length):
        step = episode.step(index)
        found.append(Moment(step.phase, step.objects))
    return found if any(one.phase or one.objects for one in found) else []


def encoded_frames(episode: Episode, camera: str) -> tuple[list[bytes], str, tuple[int, int]]:
    """All frames of one camera as stored, their encoding ("jpeg" or "png"), and height and width in pixels.

    Where one camera has both encodings, all become PNG, which loses nothing. Raises UserError for a frame that cannot
    be read or is of another size than the first.
    """
    frames, sizes, encodings = [], [], []
    for index in range(episode.meta.length):
        data, _ = episode.encoded_frame(camera, index)
        found = header(data)
        if found is None:
            raise UserError(f"frame {index} of camera {camera!r} in {episode.meta.id!r} is no JPEG or PNG image")
        frames.append(data)
        encodings.append(found[0])
        sizes.append((found[2], found[1]))
        if sizes[-1] != sizes[0]:
            raise UserError(
                f"frame {index} of camera {camera!r} in {episode.meta.id!r} has {sizes[-1][0]} x {sizes[-1][1]} pixels "
                f"and the first has {sizes[0][0]} x {sizes[0][1]}; all frames of a camera must have one size"
            )
    if len(set(encodings)) > 1:
        return [_png(data, kind) for data, kind in zip(frames, encodings, strict=True)], "png", sizes[0]
    return frames, encodings[0], sizes[0]


def check_numbers(episode: Episode) -> None:
    """Raises UserError for an episode without steps or cameras, or with values that are no finite number."""
    meta = episode.meta
    if meta.length < 1 or not meta.cameras:
        raise UserError(
            f"episode {meta.id!r} has {meta.length} steps and {len(meta.cameras)} cameras; at least one each"
        )
    for what, values in (("actions", episode.actions), ("states", episode.states)):
        if values is None:
            continue
        if len(values) != meta.length:
            raise UserError(f"episode {meta.id!r} has {len(values)} {what} and {meta.length} steps; expected one each")
        if bad := int(np.count_nonzero(~np.isfinite(values))):
            raise UserError(f"episode {meta.id!r} has {bad} {what} that are no finite number; it cannot be exported")


def check_texts(episode: Episode) -> None:
    """Raises UserError for half a sign (a lone surrogate) in a text, which files of episodes cannot keep."""
    meta = episode.meta
    said = [text for one in episode.rationales for text in (one.author, *one.parts, *one.parts.values())]
    for text in (meta.id, meta.instruction, meta.task, *said):
        if half := next((sign for sign in text if "\ud800" <= sign <= "\udfff"), None):
            raise UserError(
                f"a text of episode {meta.id!r} has half a sign, {half!a}, which cannot be written: {text!a:.80}"
            )


def named(names: tuple[str, ...], count: int, short: str) -> tuple[str, ...]:
    """The names of dimensions, numbered where there is not one for each."""
    return names if len(names) == count else tuple(f"{short}_{index}" for index in range(count))


def _png(data: bytes, kind: str) -> bytes:
    if kind == "png":
        return data
    out = io.BytesIO()
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
        picture.convert("RGB").save(out, "PNG")
    return out.getvalue()
