"""Records: what a policy did on an episode, found again by what was asked and never computed twice.

    records/<address>/key.json           what was asked
    records/<address>/steps/000012.h5    one prediction; a file that exists is complete
    records/<address>/manifest.json      written last, when every step of the episode is there

The address is the sha256 of the key, so the app, the command line, a notebook and a batch job meet in one folder.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis import __version__
from analysis.atomic_file import PART_SUFFIX, written_once
from analysis.prediction_file import StepFile, read_prediction, reading, write_prediction
from models.errors import UserError
from models.types import Capture, Part, Prediction

Setting = str | int | float | bool | None | list["Setting"] | dict[str, "Setting"]
ATTENTION_DTYPES = ("float16", "float32")
ABANDONED_SECONDS = 3600  # a temporary file this old belongs to a writer that died


@dataclass(frozen=True)
class RunKey:
    """What was asked: the same key means the same predictions."""

    checkpoint: str  # digest
    episode: str  # digest
    method: str = "predict"
    settings: Mapping[str, Setting] = field(default_factory=dict)  # whatever else changes the result; JSON values
    attention_dtype: str = "float16"  # precision in which attention weights are stored

    def __post_init__(self) -> None:
        if self.attention_dtype not in ATTENTION_DTYPES:
            raise UserError(
                f"attention cannot be stored as {self.attention_dtype!r}; use {' or '.join(ATTENTION_DTYPES)}"
            )

    @property
    def address(self) -> str:
        """First 32 hex digits of the sha256 of the key as JSON with sorted keys and without spaces."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:32]

    def canonical(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)


def capture_key(
    checkpoint: str, episode: str, capture: Capture, *, attention_dtype: str = "float16", **settings: Setting
) -> RunKey:
    """The key of a capture run. ``settings``: what else was said to the policy, such as ``action_stats``.

    ``cameras`` (see `analysis.cameras`), ``family`` and ``dtype`` stand in it only where they are not the default.
    """
    asked: dict[str, Setting] = {
        "layers": None if capture.layers is None else list[Setting](capture.layers),
        "queries": list[Setting](sorted(part.value for part in capture.queries)),
        "prefix": capture.prefix,
        "vision": capture.vision,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    return RunKey(checkpoint, episode, settings=asked | given, attention_dtype=attention_dtype)


def capture_of(key: RunKey) -> Capture:
    """What `capture_key` was told to keep. Raises ValueError for the key of another method."""
    if key.method != "predict":
        raise ValueError(f"a record of method {key.method!r} keeps no attention")
    layers, queries = key.settings["layers"], key.settings["queries"]
    if not isinstance(queries, list) or not (layers is None or isinstance(layers, list)):
        raise ValueError(f"the settings {key.settings} are not those of a capture")
    return Capture(
        layers=None if layers is None else tuple(int(str(layer)) for layer in layers),
        queries=tuple(Part(str(part)) for part in queries),
        prefix=bool(key.settings["prefix"]),
        vision=bool(key.settings["vision"]),
    )


def cameras_of(key: RunKey) -> tuple[str, ...] | None:
    """The episode's cameras that were chosen for the policy; None: those that `analysis.cameras` finds by itself."""
    cameras = key.settings.get("cameras")
    return tuple(str(camera) for camera in cameras) if isinstance(cameras, list) else None


@dataclass(frozen=True)
class Run:
    """One folder of records. Any number of readers and writers may share it."""

    path: Path
    key: RunKey

    @property
    def address(self) -> str:
        return self.path.name

    @property
    def complete(self) -> bool:
        """Whether every step that the run was finished with is there."""
        return (self.path / "manifest.json").exists()

    def steps_done(self) -> frozenset[int]:
        """The steps that can be read now."""
        return frozenset(int(path.stem) for path in (self.path / "steps").glob("[0-9]*.h5"))

    def step_path(self, step: int) -> Path:
        return self.path / "steps" / f"{step:06d}.h5"

    def read(self, step: int, attention: bool = True) -> Prediction:
        """The prediction of ``step``; ``attention`` false leaves the weights on disk.

        Raises UserError if the step was not captured yet or its file is damaged.
        """
        return read_prediction(self.captured_path(step), attention)

    def open(self, step: int) -> AbstractContextManager[StepFile]:
        """The file of ``step``, to read parts of it; raises as `read` does."""
        return reading(self.captured_path(step))

    def write(self, step: int, prediction: Prediction) -> None:
        """Stores a prediction. Where the step is there already, from this writer or another, that one stays."""
        self.write_with(step, lambda part: write_prediction(part, prediction, self.key.attention_dtype))

    def write_with(self, step: int, write: Callable[[Path], None]) -> None:
        """Stores what ``write`` writes to a path, for runs of other methods than prediction; as `write` does."""
        self.write_key()
        path = self.step_path(step)
        if not path.exists():
            with written_once(path) as part:
                write(part)

    def finish(self, length: int) -> None:
        """Marks the run as complete. Raises ValueError if one of the steps 0 to ``length`` - 1 is missing."""
        if missing := sorted(set(range(length)) - self.steps_done()):
            raise ValueError(f"record {self.address} lacks step {missing[0]} and {len(missing) - 1} more")
        files = {path.name: _sha256(path) for path in map(self.step_path, range(length))}
        manifest = {"format": "vla-lens-record", "version": 1, "address": self.address, "key": asdict(self.key)}
        manifest |= {"steps": length, "sha256": files, "tool": f"vla-lens {__version__}"}
        manifest |= {"finished": datetime.now(UTC).isoformat(timespec="seconds")}
        _write_json(self.path / "manifest.json", manifest)

    def damaged_steps(self) -> tuple[int, ...]:
        """Steps whose file is not what the manifest says. Raises UserError if the run is not complete."""
        if not self.complete:
            raise UserError(f"record {self.address} is not complete; only complete records can be verified")
        files = json.loads((self.path / "manifest.json").read_bytes())["sha256"]
        return tuple(
            int(Path(name).stem) for name, digest in files.items() if _sha256(self.path / "steps" / name) != digest
        )

    def captured_path(self, step: int) -> Path:
        """The file of ``step``. Raises UserError if it was not captured yet."""
        path = self.step_path(step)
        if not path.exists():
            raise UserError(f"step {step} is not in record {self.address}; {len(self.steps_done())} other steps are")
        return path

    def write_key(self) -> None:
        """Says what this record is of; done by `write`, and by whoever keeps other files a step."""
        if not (self.path / "key.json").exists():
            _write_json(self.path / "key.json", asdict(self.key))


@dataclass(frozen=True)
class RecordStore:
    """All runs of a workspace."""

    path: Path

    def run(self, key: RunKey) -> Run:
        """The run of this key; its folder appears with the first step written."""
        run = Run(self.path / key.address, key)
        _remove_abandoned(run.path / "steps")
        return run

    def runs(self, episode: str | None = None, checkpoint: str | None = None) -> tuple[Run, ...]:
        """Every run with at least one step begun, optionally of one episode or checkpoint digest; newest last."""
        found = sorted(self._all(), key=lambda run: (run.path / "key.json").stat().st_mtime_ns)
        return tuple(r for r in found if episode in (None, r.key.episode) and checkpoint in (None, r.key.checkpoint))

    def at(self, address: str) -> Run:
        """The run at an address, as a link or the command line names it. Raises UserError if there is none."""
        for run in self._all():
            if run.address == address:
                return run
        raise UserError(f"there is no record {address!r} in {self.path}")

    def _all(self) -> Iterator[Run]:
        for stored in self.path.glob("*/key.json"):
            try:
                key = RunKey(**json.loads(stored.read_bytes()))
            except (ValueError, TypeError, UserError):
                continue  # as below
            if key.address == stored.parent.name:  # a folder that was renamed or edited by hand is no record
                yield Run(stored.parent, key)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    with written_once(path) as part:
        part.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _remove_abandoned(folder: Path) -> None:
    for part in folder.glob(f".*{PART_SUFFIX}"):
        try:
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                part.unlink()
        except FileNotFoundError:
            continue  # its writer finished just now
