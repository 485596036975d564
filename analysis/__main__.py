"""The command line: ``python -m analysis info|predict|capture|export``. torch is imported only where a model runs."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from analysis import describe
from analysis.cameras import CameraPlan, default_cameras, plan_cameras
from analysis.capture_run import capture_episode
from analysis.checkpoint_list import looks_like_checkpoint
from analysis.episodes import BrokenEpisode, EpisodeSource, open_source
from analysis.export import export_episodes
from analysis.records import capture_key
from analysis.running import Running
from analysis.types import Episode, EpisodeMeta
from analysis.workspace import CONFIG, Workspace
from models.errors import UserError
from models.policy import Policy
from models.types import Capture, Part

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)

CheckpointPath = Annotated[Path, typer.Argument(help="folder of a checkpoint", metavar="CHECKPOINT")]
EpisodePath = Annotated[Path, typer.Argument(help="episode file, or folder of episodes with --id", metavar="EPISODE")]
EpisodeId = Annotated[str | None, typer.Option("--id", help="which episode of a folder")]
Steps = Annotated[str | None, typer.Option(help="such as 4 or 0:10 or 0:20:2; all steps if left out")]
ActionStats = Annotated[str | None, typer.Option(help="data set whose statistics scale the actions")]
Family = Annotated[str | None, typer.Option(help="model family, where the files cannot tell")]
Base = Annotated[Path | None, typer.Option(help="folder of the model that the checkpoint builds on")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16; default: float32 on cpu, else its own")]
Cameras = Annotated[
    list[str] | None,
    typer.Option("--camera", help="camera of the episode that the policy sees; once for each that it reads"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="episodes, checkpoint or workspace")],
    family: Family = None,
    base: Base = None,
    as_json: AsJson = False,
) -> None:
    """Say what an episode file or folder, a checkpoint or a workspace holds, and what is wrong with it."""
    if not (path / CONFIG).is_file() and looks_like_checkpoint(path):
        import models

        spec, families = models.inspect(path, family=family, base=base), models.alternatives(path, base)
        _print(describe.checkpoint(spec, families), as_json, short=describe.checkpoint_text(spec, families))
    else:
        _print(_described(path), as_json)


@app.command()
def predict(
    checkpoint: CheckpointPath,
    episode: EpisodePath,
    id: EpisodeId = None,
    steps: Steps = None,
    action_stats: ActionStats = None,
    family: Family = None,
    base: Base = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    camera: Cameras = None,
    as_json: AsJson = False,
) -> None:
    """Run a checkpoint on recorded steps and print its actions beside the recorded ones, and what it says."""
    opened = _episode(episode, id)
    wanted = parse_steps(steps, opened.meta.length)
    policy = _policy(Opening(checkpoint, action_stats, family, base, Running(device, dtype)))
    cameras = _cameras(policy, opened, camera)
    said = (describe.prediction(policy.predict(cameras.seen(opened.step(s).observation)), s, opened) for s in wanted)
    if as_json:
        head = {"checkpoint": policy.info.digest, "episode": opened.meta.digest}
        _print(head | {"steps": list(said)}, as_json)
    else:
        for prediction in said:
            _print(prediction, as_json)


@app.command()
def capture(
    checkpoint: CheckpointPath,
    episode: EpisodePath,
    id: EpisodeId = None,
    workspace: Annotated[Path, typer.Option(help="folder that keeps the records")] = Path("workspace"),
    steps: Steps = None,
    layers: Annotated[str | None, typer.Option(help="layers to keep, such as 0,3,5; all if left out")] = None,
    prefix: Annotated[bool, typer.Option(help="also keep the rows of prompt and markers, for rollout")] = False,
    vision: Annotated[bool, typer.Option(help="also keep the vision tower's attention")] = False,
    action_stats: ActionStats = None,
    family: Family = None,
    base: Base = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    camera: Cameras = None,
    as_json: AsJson = False,
) -> None:
    """Predict with attention, keep it as a record, and print the record's address. Resumes where it was interrupted."""
    opened = _episode(episode, id)
    wanted = parse_steps(steps, opened.meta.length)
    parts = tuple(Part) if prefix else Capture().queries
    asked = Capture(layers=_numbers(layers), queries=parts, prefix=prefix, vision=vision)
    records = Workspace.open(workspace).records
    opening = Opening(checkpoint, action_stats, family, base, Running(device, dtype))
    policy = _policy(opening)
    cameras, info = _cameras(policy, opened, camera), policy.info
    usual = default_cameras(info.cameras, opened.meta.cameras, cameras.chosen, info.every_camera)
    key = capture_key(
        policy.info.digest,
        opened.meta.digest,
        asked,
        action_stats=action_stats,
        family=family,
        dtype=opening.running.recorded_number_type(policy.info),
        cameras=None if usual else [*cameras.chosen],
    )
    run = records.run(key)
    with tqdm(total=len(wanted), unit="step", desc=opened.meta.id, file=sys.stderr) as bar:

        def progress(done: int, _: int) -> None:
            bar.update(done - bar.n)

        did = capture_episode(policy, opened, run, steps=wanted, progress=progress)
    result = {"record": run.address, "path": str(run.path), "captured": len(did), "complete": run.complete}
    _print(result | {"steps_done": len(run.steps_done())}, as_json, short=run.address)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="file or folder of episodes in any format", metavar="SOURCE")],
    out: Annotated[Path, typer.Argument(help="new folder", metavar="OUT")],
    format: Annotated[str, typer.Option(help="hdf5 (ours) or lerobot (version 3)")],
    id: Annotated[list[str] | None, typer.Option("--id", help="an episode; once for each; all if left out")] = None,
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="leave out what cannot be read")] = False,
    video: Annotated[bool, typer.Option("--video", help="LeRobot: frames as mp4, which loses a little")] = False,
    as_json: AsJson = False,
) -> None:
    """Write episodes with their rationales to a new folder that training elsewhere reads: docs/export.md."""
    with tqdm(unit="episode", desc=f"to {format}", file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        told = export_episodes(
            open_source(source), out, format, ids=id or None, skip_broken=skip_broken, video=video, progress=progress
        )
    for one in told.skipped:
        typer.echo(f"skipped: {one.path}: {one.reason}", err=True)
    result = {"path": str(told.path), "format": told.format, "episodes": told.episodes, "steps": told.steps}
    _print(result | {"skipped": [vars(one) for one in told.skipped]}, as_json, short=str(told.path))


def parse_steps(text: str | None, length: int) -> range:
    """``4`` or ``0:10`` or ``0:20:2`` as steps of an episode of ``length``. Raises UserError for anything else."""
    if text is None:
        return range(length)
    try:
        numbers = [int(part) if part else None for part in text.split(":")]
        if len(numbers) == 1 and numbers[0] is not None:
            chosen = range(numbers[0], numbers[0] + 1)
        else:
            chosen = range(*slice(*numbers).indices(length)) if 2 <= len(numbers) <= 3 else range(0)
    except ValueError:
        chosen = range(0)
    if not chosen or chosen[0] not in range(length) or chosen[-1] not in range(length):
        raise UserError(
            f"{text!r} names no steps of this episode; it has steps 0 to {length - 1}, as in 4 or 0:10 or 0:20:2"
        )
    return chosen


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"{text!r} is no list of layers; write them as in 0,3,5") from None


def _described(path: Path) -> dict[str, Any]:
    if (path / CONFIG).is_file():
        return describe.workspace(Workspace.open(path))
    source = open_source(path)
    if path.is_file():
        _only(source, path)
    return describe.episodes(source, str(path))


def _episode(path: Path, id: str | None) -> Episode:
    source = open_source(path)
    return source.open(_only(source, path) if id is None else id)


def _only(source: EpisodeSource, path: Path) -> str:
    """The id of the one episode of a source. Raises UserError if it is broken, or if there are several."""
    entries = list(source.scan())
    if len(entries) != 1:
        ids = [entry.id for entry in entries if isinstance(entry, EpisodeMeta)]
        example = f", such as --id {ids[0]}" if ids else ""
        raise UserError(f"{path} holds {len(entries)} episodes; say which one with --id{example}")
    if isinstance(entries[0], BrokenEpisode):
        raise UserError(entries[0].reason)
    return entries[0].id


@dataclass(frozen=True)
class Opening:
    """How a checkpoint is opened."""

    checkpoint: Path
    action_stats: str | None
    family: str | None
    base: Path | None
    running: Running


def _policy(opening: Opening) -> Policy:
    # before torch is imported: idle OpenMP threads otherwise spin and slow a busy machine down
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    import models

    spec = models.inspect(opening.checkpoint, opening.family, base=opening.base)
    return models.load(
        opening.checkpoint,
        action_stats=opening.action_stats,
        family=opening.family,
        device=opening.running.device,
        dtype=opening.running.number_type(spec),
        base=opening.base,
        known_digest=spec.digest,
    )


def _cameras(policy: Policy, episode: Episode, chosen: list[str] | None) -> CameraPlan:
    plan = plan_cameras(policy.info.cameras, episode.meta.cameras, chosen or None, policy.info.every_camera)
    if plan.note:
        typer.echo(f"note: {plan.note}", err=True)
    return plan


def _print(values: dict[str, Any], as_json: bool, short: str | None = None) -> None:
    if as_json:
        typer.echo(json.dumps(values, ensure_ascii=False))
    else:
        typer.echo(short if short is not None else describe.as_text(values))


def main() -> None:
    """Runs the command; a `UserError` becomes one sentence on stderr and exit code 2."""
    try:
        app()
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
