"""``python -m analysis capture``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from analysis.cameras import default_cameras
from analysis.capture_run import capture_episode
from analysis.commands.options import (
    ActionStats,
    AsJson,
    Base,
    Cameras,
    CheckpointPath,
    Device,
    Dtype,
    EpisodeId,
    EpisodePath,
    Family,
    Opening,
    Steps,
    cameras_of,
    for_episodes,
    layer_numbers,
    open_episode,
    open_policy,
    parse_steps,
    print_values,
)
from analysis.records import capture_key
from analysis.running import Running
from analysis.workspace import Workspace
from models.types import Capture, Part


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
    opened = open_episode(episode, id, workspace)
    wanted = parse_steps(steps, opened.meta.length)
    parts = tuple(Part) if prefix else Capture().queries
    asked = Capture(layers=layer_numbers(layers), queries=parts, prefix=prefix, vision=vision)
    records = Workspace.open(workspace).records
    opening = for_episodes(Opening(checkpoint, action_stats, family, base, Running(device, dtype)), opened)
    policy = open_policy(opening)
    cameras, info = cameras_of(policy, opened, camera), policy.info
    usual = default_cameras(info.cameras, opened.meta.cameras, cameras.chosen, info.every_camera)
    key = capture_key(
        policy.info.digest,
        opened.meta.digest,
        asked,
        action_stats=opening.action_stats,
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
    print_values(result | {"steps_done": len(run.steps_done())}, as_json, short=run.address)
