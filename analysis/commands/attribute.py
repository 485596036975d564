"""``python -m analysis attribute``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from tqdm import tqdm

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.attribution_run import attribute_episode, attribution_key, read_step
from analysis.attribution.chart import attribution_chart
from analysis.attribution.registry import METHODS, method_class
from analysis.attribution.settings import Choice, choices, with_settings
from analysis.attribution.target import SCALARS, Scalar, Target
from analysis.cameras import default_cameras
from analysis.commands.options import (
    ActionStats,
    AsJson,
    Base,
    Cameras,
    Device,
    Dtype,
    EpisodeId,
    Family,
    Opening,
    Steps,
    cameras_of,
    check_steps,
    for_episodes,
    open_episode,
    open_policy,
    parse_steps,
    print_values,
)
from analysis.pictures.chart_files import check_ending, write_chart
from analysis.pictures.files import FILMS, write_film, write_picture
from analysis.pictures.runs import NamedRun, camera_names, figure_at, figures
from analysis.pictures.view import View
from analysis.records import Run, Setting
from analysis.running import Running
from analysis.types import Episode
from analysis.workspace import Workspace
from models.errors import UserError
from models.types import CheckpointSpec


def attribute(
    checkpoint: Annotated[Path | None, typer.Argument(help="folder of a checkpoint", metavar="CHECKPOINT")] = None,
    episode: Annotated[
        Path | None, typer.Argument(help="episode file, or folder of episodes with --id", metavar="EPISODE")
    ] = None,
    id: EpisodeId = None,
    method: Annotated[str, typer.Option(help="which method; see --list")] = "iss",
    target: Annotated[
        str, typer.Option(help="an action dimension (x, x@2), token:4, token:4-6, or action for the whole action")
    ] = "action",
    scalar: Annotated[
        str | None, typer.Option(help="log-probability or action; default: action, of tokens log-probability")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="a setting of the method, as name=value; once for each")
    ] = None,
    steps: Steps = None,
    workspace: Annotated[Path, typer.Option(help="folder that keeps the records")] = Path("workspace"),
    out: Annotated[
        Path | None,
        typer.Option(
            help="also write the maps to this file, with a caption: .csv, .npz, .png or .svg of one step, .mp4, .gif"
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="list the methods and their settings")] = False,
    action_stats: ActionStats = None,
    family: Family = None,
    base: Base = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    camera: Cameras = None,
    as_json: AsJson = False,
) -> None:
    """Say which patches and words made a policy do what it does; keeps a record and resumes: docs/attribution.md."""
    if list_:
        _print_list(as_json)
        return
    if checkpoint is None or episode is None:
        raise UserError("attribute needs a CHECKPOINT and an EPISODE; --list lists the methods")
    if out is not None:
        check_ending(out, FILMS)
    chosen = with_settings(method_class(method), _given(set_ or []))
    wanted = Target.parse(target, _scalar(scalar))
    opened = open_episode(episode, id, workspace)
    which = parse_steps(steps, opened.meta.length)
    if out is not None:
        check_steps(out, which)
    opening = for_episodes(Opening(checkpoint, action_stats, family, base, Running(device, dtype)), opened)
    policy = open_policy(opening)
    cameras, info = cameras_of(policy, opened, camera), policy.info
    usual = default_cameras(info.cameras, opened.meta.cameras, cameras.chosen, info.every_camera)
    key = attribution_key(
        info.digest,
        opened.meta.digest,
        chosen,
        wanted,
        action_stats=opening.action_stats,
        family=family,
        dtype=opening.running.recorded_number_type(info),
        cameras=None if usual else [*cameras.chosen],
    )
    records = Workspace.open(workspace).records
    run = records.run(key)
    with tqdm(total=100, unit="%", desc=chosen.title, file=sys.stderr, bar_format="{l_bar}{bar}| {elapsed}") as bar:

        def progress(done: int, total: int) -> None:
            bar.update(100 * done // max(total, 1) - bar.n)

        did = attribute_episode(policy, opened, run, steps=which, progress=progress)
    maps = {step: read_step(run, step) for step in which}
    if out is not None:
        from analysis.evidence.tested import badge_words

        _write(out, opened, maps, info, run, badge_words(info, opened, run, records))
    result = {"record": run.address, "path": str(run.path), "computed": len(did), "complete": run.complete}
    told = [_told(step, found) for step, found in maps.items()]
    if as_json:
        print_values(result | {"checkpoint": info.digest, "episode": opened.meta.digest, "maps": told}, as_json)
    else:
        typer.echo("\n".join([f"record {run.address}", *(_line(each) for each in told)]))


def _scalar(text: str | None) -> Scalar | None:
    for scalar in SCALARS:
        if text == scalar:
            return scalar
    if text is not None:
        raise UserError(f"the explained number is {text!r}; it can be {' or '.join(SCALARS)}")
    return None


def _given(pairs: list[str]) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"--set {pair} sets nothing; write name=value")
        found[name.strip()] = value.strip()
    return found


def _told(step: int, found: AttributionMap) -> dict[str, Any]:
    """Everything but the layout, with what scores highest."""
    order = np.argsort(-np.abs(found.scores), kind="stable")[:5]
    return {
        "step": step,
        "method": found.method,
        "settings": dict(found.settings),
        "target": found.target.text,
        "scalar": found.target.scalar,
        "signed": found.signed,
        "highest": [{"position": int(k), "token": found.layout.tokens[k], "score": found.scores[k]} for k in order],
        "scores": found.scores.tolist(),
        "standard_error": None if found.standard_error is None else found.standard_error.tolist(),
        "convergence_delta": found.convergence_delta,
        "missing_share": found.missing_share,
        "doubts": list(found.doubts),
        "forwards": found.forwards,
        "notes": dict(found.notes),
    }


def _line(told: dict[str, Any]) -> str:
    best = ", ".join(f"{each['token']} {each['score']:+.3g}" for each in told["highest"])
    return "; ".join([f"step {told['step']}: {best}", *told["doubts"]])


def _write(
    path: Path, episode: Episode, maps: dict[int, AttributionMap], spec: CheckpointSpec, run: Run, tested: str
) -> None:
    """Numbers of all steps, a picture of the only one, or a film of them."""
    if path.suffix.lower() in (".csv", ".npz"):
        write_chart(attribution_chart(maps, spec, episode.meta, run, tested), path)
        return
    named = NamedRun(run, spec.name, camera_names(spec, episode.meta, run), tested)
    if path.suffix.lower() in FILMS:
        write_film(figures(episode, list(maps), [named], View()), path, episode.meta.fps)
    else:
        write_picture(figure_at(episode, next(iter(maps)), [named], View()), path)


def _print_list(as_json: bool) -> None:
    found = [
        {
            "name": name,
            "title": method_class(name).title,
            "signed": method_class(name).signed,
            "settings": {choice.name: _described(choice) for choice in choices(method_class(name))},
        }
        for name in METHODS
    ]
    if as_json:
        print_values({"methods": found}, as_json)
        return
    for each in found:
        typer.echo(f"{each['name']}: {each['title']}" + (" (signed)" if each["signed"] else ""))
        for name, text in each["settings"].items():
            typer.echo(f"  --set {name}=...  {text}")


def _described(choice: Choice) -> str:
    default = "empty" if choice.default is None else choice.default
    options = f": {', '.join(choice.options)}" if choice.options else ""
    return f"{choice.help}{options} (default {default})"
