"""What a page asks of a checkpoint on an episode, and the record on disk that answers it."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.cameras import CameraPlan, default_cameras, plan_cameras
from analysis.records import Run, cameras_of, capture_key
from app.library import Library
from models.types import Capture, CheckpointSpec, Part

ALL_ROWS = Capture(queries=tuple(Part), prefix=True)  # what rollout needs


@dataclass(frozen=True)
class Asked:
    """Which checkpoint on which episode, how its actions are un-normalised, and what is kept of the run."""

    dataset: str
    episode: str
    checkpoint: str  # digest
    action_stats: str | None = None  # data set whose statistics are used; None: the only one of the checkpoint
    all_rows: bool = False  # also the rows of the prompt's own tokens; else a run without them will do
    family: str | None = None  # None: as the files say
    cameras: tuple[str, ...] | None = None  # of the episode, in the policy's order; None: as they fit by name

    @property
    def capture(self) -> Capture:
        """What a run that is started for this keeps."""
        return ALL_ROWS if self.all_rows else Capture()


@dataclass(frozen=True)
class Record:
    """Where the predictions of what is asked lie, or will lie."""

    run: Run
    length: int  # steps of the episode
    spec: CheckpointSpec
    cameras: CameraPlan


def find_record(library: Library, asked: Asked) -> Record:
    """The stored run with the most steps for what is asked, else the one that a start would fill.

    Of runs with as many steps, one with all rows is preferred, then one with those of the vision towers. Raises
    UserError for a checkpoint or an episode that is not in the workspace, or that cannot be read as is asked.
    """
    meta, workspace = library.episode(asked.dataset, asked.episode).meta, library.workspace
    recognised = workspace.checkpoint(asked.checkpoint)
    spec = recognised if asked.family is None else workspace.checkpoint(asked.checkpoint, asked.family)
    cameras = plan_cameras(spec.cameras, meta.cameras, asked.cameras, spec.every_camera)
    usual = default_cameras(spec.cameras, meta.cameras, asked.cameras, spec.every_camera)
    own = workspace.records.run(
        capture_key(
            spec.digest,
            meta.digest,
            asked.capture,
            action_stats=asked.action_stats,
            family=None if spec.family == recognised.family else spec.family,
            dtype=workspace.running.recorded_number_type(spec),
            cameras=None if usual else [*cameras.chosen],
        )
    )
    by_name = plan_cameras(spec.cameras, meta.cameras, every=spec.every_camera).chosen
    stored = [
        run
        for run in workspace.records.runs(meta.digest, spec.digest)
        if _serves(run, own, spec, recognised.family)
        and (_has_all_rows(run) or not asked.all_rows)
        and (cameras_of(run.key) or by_name) == cameras.chosen
    ]
    best = max([own, *stored], key=lambda run: (len(run.steps_done()), _has_all_rows(run), _has_vision(run)))
    return Record(best, meta.length, spec, cameras)


def _serves(run: Run, own: Run, spec: CheckpointSpec, recognised: str) -> bool:
    """Whether a run is made as ``own`` would be; naming the only action statistics or the usual family changes nothing.

    ``recognised``: the family that the checkpoint's files suggest.
    """
    only = spec.action_stats[0] if len(spec.action_stats) == 1 else None
    settings, wanted = run.key.settings, own.key.settings
    return (
        run.key.method == "predict"
        and (settings.get("action_stats") or only) == (wanted.get("action_stats") or only)
        and (settings.get("family") or recognised) == (wanted.get("family") or recognised)
        and settings.get("dtype") == wanted.get("dtype")
    )


def _has_all_rows(run: Run) -> bool:
    settings = capture_key("", "", ALL_ROWS).settings
    return all(run.key.settings.get(name, 0) == settings[name] for name in ("layers", "queries", "prefix"))


def _has_vision(run: Run) -> bool:
    return run.key.settings.get("vision") is True
