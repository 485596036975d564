"""Downloads of the player's view: a picture of the step on screen, its data, or a film of the episode."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from analysis.evidence.tested import badge_words
from analysis.pictures.chart_files import CHARTS
from analysis.pictures.files import FILMS, PICTURES, write_film
from analysis.pictures.runs import NamedRun, figure_at, figures
from analysis.pictures.step_charts import FRAME, chart_at
from analysis.pictures.view import View
from app.attribution import map_run, method_of, target_of
from app.library import Library
from app.run_records import Asked
from app.runs import queue_of
from app.selection import camera_names
from models.errors import UserError

LONGEST_FILM = 500  # steps
MEDIA = {
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".csv": "text/csv; charset=utf-8",
    ".npz": "application/octet-stream",
    ".mp4": "video/mp4",
    ".gif": "image/gif",
}


def download(library: Library, given: Mapping[str, str], step: int) -> tuple[bytes, str, str]:
    """Content, media type and file name of what a request asks for. Raises UserError for what cannot be made.

    ``given``: data set, episode, one or two checkpoints as in the side bar's parameters, ``format``, the view, and of
    it ``what``: the frame with its maps, or one of `analysis.pictures.step_charts.STEP_CHARTS`. With ``method`` it is a
    map of an attribution method, of ``target`` (of the second checkpoint ``other_target``).
    """
    ending = f".{given.get('format', '')}"
    if ending not in MEDIA:
        raise UserError(f"{ending[1:40]!r} is no format; there are {', '.join(name[1:] for name in MEDIA)}")
    dataset, id = given.get("dataset", ""), given.get("episode", "")
    episode, view = library.episode(dataset, id), View.of(given)
    if step >= episode.meta.length:
        raise UserError(f"there is no step {step}; the episode has steps 0 to {episode.meta.length - 1}")
    runs = [_run(library, dataset, id, given, prefix) for prefix in ("checkpoint", "other") if given.get(prefix)]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", id).strip("-.")[:80] or "episode"
    what = given.get("what", FRAME)
    if what != FRAME and ending in CHARTS:
        chart = library.read(dataset, id, lambda opened: chart_at(what, opened, step, runs, view))
        return CHARTS[ending](chart), MEDIA[ending], f"{name}-step{step}-{what}{ending}"
    if ending in PICTURES:
        figure = library.read(dataset, id, lambda opened: figure_at(opened, step, runs, view))
        return PICTURES[ending](figure, 512), MEDIA[ending], f"{name}-step{step}{ending}"
    assert ending in FILMS
    steps = _film_steps(runs, episode.meta.length)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"film{ending}"
        write_film(figures(episode, steps, runs, view), path, episode.meta.fps, 384)
        return path.read_bytes(), MEDIA[ending], f"{name}{ending}"


def _film_steps(runs: list[NamedRun], length: int) -> list[int]:
    """From the first to the last step that was run; all of an episode that no policy was run on."""
    done = sorted(set().union(*(one.run.steps_done() for one in runs)) & set(range(length))) if runs else []
    steps = list(range(done[0], done[-1] + 1) if done else range(length))
    if len(steps) > LONGEST_FILM:
        raise UserError(
            f"the film would have {len(steps)} steps; up to {LONGEST_FILM} are made here, longer ones by: "
            "python -m analysis film"
        )
    return steps


def _run(library: Library, dataset: str, id: str, given: Mapping[str, str], which: str) -> NamedRun:
    part = "" if which == "checkpoint" else "other_"
    stats = given.get("action_stats" if which == "checkpoint" else "other_stats") or None
    asked = Asked(
        dataset,
        id,
        given[which],
        stats,
        given.get("rows") == "all",
        given.get(f"{part}family") or None,
        camera_names(given.get(f"{part}cameras") or None),
    )
    record = queue_of(library).record(asked)
    run = record.run
    if given.get("method") and given.get("what") != "actions":  # these are of the policy, whatever explains them
        pairs = dict(pair.partition("=")[::2] for pair in given.get("settings", "").split(";") if "=" in pair)
        told = {"method": given["method"], "settings": pairs, "target": given.get(f"{part}target"), **_scalar(given)}
        run = map_run(library, asked, record, method_of(told), target_of(told))
    tested = badge_words(record.spec, library.episode(dataset, id), run, library.workspace.records)
    return NamedRun(run, record.spec.name, record.cameras.episode_names, tested)


def _scalar(given: Mapping[str, str]) -> dict[str, str]:
    return {"scalar": given["scalar"]} if given.get("scalar") else {}
