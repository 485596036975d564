"""Episodes as files of our own HDF5 format, one each: docs/episode-hdf5.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from analysis.episodes.hdf5_meta import OWN_ATTRIBUTES
from analysis.episodes.hdf5_writer import CameraTruth, Series, write_episode
from analysis.episodes.lerobot_kept import FROM
from analysis.export.frames import Moment, check_numbers, check_texts, encoded_frames, moments, named
from analysis.types import Episode, SceneObject
from models.errors import UserError

MAX_ATTRIBUTE = 60_000  # bytes; HDF5 keeps no attribute above 64 KiB
MAX_NAME = 120  # characters of a file's name
Labels = tuple[tuple[str, int], ...]  # name, and which of several things of that name


class Hdf5Folder:
    """Writes ``<id>.hdf5`` for each episode."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._taken: set[str] = set()

    def add(self, episode: Episode) -> None:
        """Raises UserError, and leaves nothing, if the episode cannot be read or does not fit the format."""
        check_numbers(episode)
        check_texts(episode)
        meta = episode.meta
        frames, encodings = {}, {}
        for camera in meta.cameras:
            key = _key(camera)
            if key in frames:
                raise UserError(f"episode {meta.id!r} has two cameras {key!r} once '/' is written as '_'; rename one")
            frames[key], encodings[key], _ = encoded_frames(episode, camera)
        steps = moments(episode)
        truth, positions = _truth(steps, meta.cameras)
        attributes = {
            (f"source {key}" if key in OWN_ATTRIBUTES else key): text
            for key, text in (dict(meta.extra) | ({FROM: meta.digest} if meta.digest else {})).items()
        }
        _check_texts(meta.id, attributes | {"instruction": meta.instruction, "task": meta.task})
        said = [text for one in episode.rationales for text in (one.author, *one.parts, *one.parts.values())]
        if any("\0" in text for text in (*said, *(step.phase for step in steps))):
            raise UserError(f"a rationale or phase of episode {meta.id!r} has a NUL character, which HDF5 cannot keep")
        count = episode.actions.shape[1]
        states = None
        if episode.states is not None:
            width = episode.states.shape[1]
            states = Series(episode.states, named(meta.state_names, width, "state"), _units(meta.state_units, width))
        write_episode(
            self.root / self._name(meta.id),
            id=meta.id,
            instruction=meta.instruction,
            fps=meta.fps,
            actions=Series(
                episode.actions, named(meta.action_names, count, "action"), _units(meta.action_units, count)
            ),
            images=frames,
            states=states,
            success=meta.success,
            task=meta.task,
            robot=meta.robot,
            phases=[step.phase for step in steps] if any(step.phase for step in steps) else None,
            truth=truth,
            positions=positions,
            rationales=episode.rationales,
            attributes=attributes,
            encoding=encodings,
        )

    def close(self) -> None:
        """Nothing is left to write: each file was whole when it was added."""

    def _name(self, id: str) -> str:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", id).strip("._")[:MAX_NAME] or "episode"
        name, number = stem, 2
        while name.lower() in self._taken:
            name, number = f"{stem}-{number}", number + 1
        self._taken.add(name.lower())
        return f"{name}.hdf5"


def _key(camera: str) -> str:
    """In HDF5 slashes and dots lead to other groups."""
    return camera.replace("/", "_").strip(".") or "camera"


def _units(units: tuple[str, ...], count: int) -> tuple[str, ...]:
    return units if len(units) == count else ("",) * count


def _check_texts(id: str, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        if len(text.encode()) > MAX_ATTRIBUTE or "\0" in text:
            raise UserError(
                f"the text {name!r} of episode {id!r} has {len(text.encode()):,} bytes; HDF5 keeps up to "
                f"{MAX_ATTRIBUTE:,}, and no NUL"
            )


def _truth(steps: list[Moment], cameras: tuple[str, ...]) -> tuple[dict[str, CameraTruth], np.ndarray | None]:
    """Label images, boxes and positions; positions stand once for all cameras, so these then share their labels."""
    labels = {camera: _labels(steps, (camera,)) for camera in cameras}
    placed = any(thing.position is not None for step in steps for seen in step.objects.values() for thing in seen)
    shared = _labels(steps, cameras)
    positions = None
    if placed:
        labels = {camera: shared for camera in cameras if labels[camera]}
        positions = np.full((len(steps), len(shared), 3), np.nan, np.float32)
        for index, step in enumerate(steps):
            for camera in labels:
                for label, thing in _numbered(step.objects.get(camera, ())):
                    if thing.position is not None:
                        positions[index, shared.index(label)] = thing.position
    truth = {_key(camera): _seen(steps, camera, labels[camera]) for camera in labels if labels[camera]}
    return truth, positions


def _seen(steps: list[Moment], camera: str, labels: Labels) -> CameraTruth:
    boxes = np.full((len(steps), len(labels), 4), np.nan, np.float32)
    masks: list[np.ndarray | None] = [None] * len(steps)
    for index, step in enumerate(steps):
        for label, thing in _numbered(step.objects.get(camera, ())):
            if thing.box is not None:
                boxes[index, labels.index(label)] = thing.box
            if thing.mask is not None:
                mask = masks[index]
                if mask is None:
                    masks[index] = mask = np.zeros(thing.mask.shape, np.uint8)
                mask[thing.mask] = labels.index(label) + 1
    whole = next((mask for mask in masks if mask is not None), None)
    if whole is not None and len(labels) > 255:
        raise UserError(f"camera {camera!r} sees {len(labels)} things; a label image tells 255 apart")
    return CameraTruth(
        ("background", *(name for name, _ in labels)),
        None if whole is None else [np.zeros_like(whole) if mask is None else mask for mask in masks],
        boxes,
    )


def _labels(steps: list[Moment], cameras: tuple[str, ...]) -> Labels:
    """Every thing that is seen at any step, in the order of its first appearance."""
    found: dict[tuple[str, int], None] = {}
    for step in steps:
        for camera in cameras:
            found |= dict.fromkeys(label for label, _ in _numbered(step.objects.get(camera, ())))
    return tuple(found)


def _numbered(seen: tuple[SceneObject, ...]) -> list[tuple[tuple[str, int], SceneObject]]:
    count: dict[str, int] = {}
    out = []
    for thing in seen:
        count[thing.name] = count.get(thing.name, 0) + 1
        out.append(((thing.name, count[thing.name]), thing))
    return out
