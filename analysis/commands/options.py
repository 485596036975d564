"""What several commands ask for and do alike: options, opening what they name, printing."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from analysis import describe
from analysis.cameras import CameraPlan, plan_cameras
from analysis.dataset_description import KEY
from analysis.episodes import BrokenEpisode, OpenedSource, open_source
from analysis.running import Running
from analysis.types import Episode, EpisodeMeta
from analysis.workspace import Workspace
from analysis.workspace_config import CONFIG
from models.errors import UserError
from models.policy import Policy

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
InWorkspace = Annotated[
    Path, typer.Option("--workspace", help="what it says about its data sets counts: annotations, descriptions")
]
OutFile = Annotated[
    Path | None,
    typer.Option("--out", help="also write what is found to this file: .png, .svg, .csv or .npz, with its caption"),
]
WORKSPACE = Path("workspace")
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


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


def check_steps(out: Path, steps: range) -> None:
    """A picture shows one step. Raises UserError for more."""
    if out.suffix.lower() in (".png", ".svg") and len(steps) > 1:
        raise UserError(
            f"{out.name} is a picture of one step and {len(steps)} were named; choose one with --steps, or write "
            "a .csv or .npz"
        )


def layer_numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"{text!r} is no list of layers; write them as in 0,3,5") from None


def source_at(path: Path, workspace: Path) -> OpenedSource:
    """The episodes at ``path``, with annotations and corrections where they belong to a data set of the workspace.

    A workspace that is not there is not made.
    """
    return Workspace.open(workspace).source_at(path) if (workspace / CONFIG).is_file() else open_source(path)


def open_episode(path: Path, id: str | None, workspace: Path = WORKSPACE) -> Episode:
    """Where the episode belongs to a data set of ``workspace``: as it is known there."""
    source = source_at(path, workspace)
    return source.open(only_id(source, path) if id is None else id)


def only_id(source: OpenedSource, path: Path) -> str:
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


def for_episodes(opening: Opening, *episodes: Episode) -> Opening:
    """With the action statistics that the description of their data set names, where none are given and they are a
    choice; as it is where episodes of several data sets name different ones."""
    named = {episode.meta.extra.get(KEY) for episode in episodes}
    key = named.pop() if len(named) == 1 else None
    if opening.action_stats is not None or key is None:
        return opening
    import models

    spec = models.inspect(opening.checkpoint, opening.family, known_digest="not asked for", base=opening.base)
    fits = len(spec.action_stats) > 1 and key in spec.action_stats
    return replace(opening, action_stats=key) if fits else opening


def open_policy(opening: Opening) -> Policy:
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


def opened_as(opening: Opening, policy: Policy) -> dict[str, Setting]:
    """How a policy was opened, where not as usual, as `analysis.evidence.measurements.Subject` keeps it."""
    only = len(policy.info.action_stats) == 1  # naming the only statistics changes nothing
    number_type = opening.running.recorded_number_type(policy.info)
    return {
        "action_stats": None if only else opening.action_stats,
        "family": opening.family,
        "dtype": number_type,
    }


def cameras_of(policy: Policy, episode: Episode, chosen: list[str] | None) -> CameraPlan:
    plan = plan_cameras(policy.info.cameras, episode.meta.cameras, chosen or None, policy.info.every_camera)
    if plan.note:
        typer.echo(f"note: {plan.note}", err=True)
    return plan


def print_values(values: dict[str, Any], as_json: bool, short: str | None = None) -> None:
    if as_json:
        typer.echo(json.dumps(values))
    else:
        typer.echo(short if short is not None else describe.as_text(values))
