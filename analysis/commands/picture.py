"""``python -m analysis picture`` and ``film``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from analysis.capture_run import capture_episode
from analysis.commands.options import (
    AsJson,
    EpisodeId,
    EpisodePath,
    Opening,
    Steps,
    open_episode,
    open_policy,
    parse_steps,
    print_values,
)
from analysis.pictures.chart_files import check_ending, write_chart
from analysis.pictures.files import write_film, write_picture
from analysis.pictures.runs import NamedRun, camera_names, figure_at, figures
from analysis.pictures.step_charts import FRAME, STEP_CHARTS, chart_at
from analysis.pictures.view import View
from analysis.records import capture_key
from analysis.running import Running
from analysis.types import Episode
from analysis.workspace import Workspace
from models.errors import UserError
from models.types import Capture, CheckpointSpec, Part

Out = Annotated[Path, typer.Argument(help="file to write", metavar="OUT")]
Records = Annotated[
    list[str] | None, typer.Option("--record", help="address of a record in the workspace; two are compared")
]
Checkpoints = Annotated[
    list[Path] | None, typer.Option("--checkpoint", help="folder of a checkpoint, run where there is no record yet")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="how it is drawn, as in a link: reduce=mean, query=action.x, map=magma"),
]
Link = Annotated[str, typer.Option(help="a link into the player, whose view is taken")]
Kept = Annotated[Path, typer.Option("--workspace", help="folder that keeps the records")]
Width = Annotated[int, typer.Option(min=64, max=4000, help="pixels of a frame, unless it has more")]


def picture(
    episode: EpisodePath,
    out: Out,
    id: EpisodeId = None,
    step: Annotated[int, typer.Option(min=0)] = 0,
    record: Records = None,
    checkpoint: Checkpoints = None,
    what: Annotated[
        str,
        typer.Option(help="frame (with its maps), tokens, heads, actions (of the episode) or odds (of the bins)"),
    ] = FRAME,
    set_: Settings = None,
    link: Link = "",
    workspace: Kept = Path("workspace"),
    width: Width = 512,
    as_json: AsJson = False,
) -> None:
    """Write a view of one step as .png, .svg, .csv or .npz, with a caption that says how to make it again."""
    opened = open_episode(episode, id)
    if step >= opened.meta.length:
        raise UserError(f"there is no step {step}; episode {opened.meta.id!r} has steps 0 to {opened.meta.length - 1}")
    check_ending(out)
    if what not in (FRAME, *STEP_CHARTS):
        raise UserError(f"there is no view {what[:40]!r}; there are {', '.join((FRAME, *STEP_CHARTS))}")
    view = _view(link, set_ or [])
    runs = _runs(Workspace.open(workspace), opened, record or [], checkpoint or [], range(step, step + 1), view)
    if what == FRAME:
        found = figure_at(opened, step, runs, view)
        write_picture(found, out, width)
        caption = found.caption
    else:
        chart = chart_at(what, opened, step, runs, view)
        write_chart(chart, out)
        caption = chart.provenance.caption
    print_values({"path": str(out), "caption": list(caption)}, as_json, short=str(out))


def film(
    episode: EpisodePath,
    out: Out,
    id: EpisodeId = None,
    steps: Steps = None,
    fps: Annotated[
        float | None, typer.Option(min=0.1, max=120, help="steps a second; the episode's if left out")
    ] = None,
    record: Records = None,
    checkpoint: Checkpoints = None,
    set_: Settings = None,
    link: Link = "",
    workspace: Kept = Path("workspace"),
    width: Width = 512,
    as_json: AsJson = False,
) -> None:
    """Write a view of many steps as .mp4 or .gif; colours have one scale."""
    opened = open_episode(episode, id)
    wanted = parse_steps(steps, opened.meta.length)
    view = _view(link, set_ or [])
    runs = _runs(Workspace.open(workspace), opened, record or [], checkpoint or [], wanted, view)
    with tqdm(total=len(wanted), unit="step", desc=out.name, file=sys.stderr) as bar:
        count = write_film(
            figures(opened, wanted, runs, view),
            out,
            fps or opened.meta.fps,
            width,
            lambda done: bar.update(done - bar.n),
        )
    print_values({"path": str(out), "steps": count}, as_json, short=str(out))


def _view(link: str, pairs: list[str]) -> View:
    given = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"--set {pair} sets nothing; write name=value")
        given[name.strip()] = value.strip()
    return View.of({**View.parameters_of(link), **given}, strict=tuple(given))


def _runs(
    workspace: Workspace, episode: Episode, records: list[str], checkpoints: list[Path], steps: range, view: View
) -> list[NamedRun]:
    specs = (
        {spec.digest: spec for spec in workspace.checkpoints() if isinstance(spec, CheckpointSpec)} if records else {}
    )
    runs = [_recorded(workspace, episode, address, specs) for address in records]
    return runs + [_captured(workspace, episode, path, steps, view) for path in checkpoints]


def _recorded(workspace: Workspace, episode: Episode, address: str, specs: dict[str, CheckpointSpec]) -> NamedRun:
    """A record under the name of its checkpoint, where the workspace has that, and with what was tested of its maps."""
    from analysis.evidence.tested import badge_words

    run = workspace.records.at(address)
    spec = specs.get(run.key.checkpoint)
    if spec is None:
        return NamedRun(run, "")
    tested = badge_words(spec, episode, run, workspace.records)
    return NamedRun(run, spec.name, camera_names(spec, episode.meta, run), tested)


def _captured(workspace: Workspace, episode: Episode, path: Path, steps: range, view: View) -> NamedRun:
    """A run of the checkpoint that has the steps; what is not there is predicted and kept."""
    policy = open_policy(Opening(path, None, None, None, Running()))
    capture = Capture(queries=tuple(Part), prefix=True) if view.reduce == "rollout" else Capture()
    run = workspace.records.run(capture_key(policy.info.digest, episode.meta.digest, capture))
    with tqdm(total=len(steps), unit="step", desc=policy.info.name, file=sys.stderr) as bar:
        capture_episode(policy, episode, run, steps=steps, progress=lambda done, _: bar.update(done - bar.n))
    return NamedRun(run, policy.info.name, camera_names(policy.info, episode.meta, run))
