"""``python -m analysis faithfulness``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from analysis.commands.options import (
    ActionStats,
    AsJson,
    Base,
    Cameras,
    Device,
    Dtype,
    Family,
    Opening,
    for_episodes,
    open_policy,
    opened_as,
    print_values,
    source_at,
)
from analysis.running import Running
from analysis.workspace import Workspace

USUAL = ("attention:reduce=mean",)


def faithfulness(
    checkpoint: Annotated[Path, typer.Argument(help="folder of a checkpoint")],
    episodes: Annotated[list[Path], typer.Argument(help="episode files, or folders whose episodes are all taken")],
    map: Annotated[
        list[str] | None,
        typer.Option(
            help="attention:reduce=head;layer=3;head=2 (or mean, max, topk, rollout) or METHOD:name=value;name=value, "
            "METHOD as `attribute --list` has them; once for each"
        ),
    ] = None,
    query: Annotated[
        str, typer.Option(help="what the maps are about: action, action.x, rationale, rationale.planning, word.3")
    ] = "action",
    scalar: Annotated[str | None, typer.Option(help="of attributions: log-probability or action")] = None,
    steps: Annotated[int, typer.Option(help="steps of each episode, evenly spread", min=1)] = 4,
    workspace: Annotated[Path, typer.Option(help="folder that keeps what was measured")] = Path("workspace"),
    action_stats: ActionStats = None,
    family: Family = None,
    base: Base = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    camera: Cameras = None,
    as_json: AsJson = False,
) -> None:
    """Test whether maps are true: passed, failed or not tested, with n, as the player's badge (docs/verdicts.md).

    Resumes where it was interrupted. Several maps share what they have in common, and their rank agreement is shown.
    """
    from analysis.evidence import describe
    from analysis.evidence.asked_map import AskedMap
    from analysis.evidence.episodes import episodes_at, subject
    from analysis.evidence.judged_maps import judge_maps

    maps = [AskedMap.parse(text, query, scalar) for text in map or USUAL]
    opened = episodes_at(episodes, partial(source_at, workspace=workspace))
    opening = for_episodes(Opening(checkpoint, action_stats, family, base, Running(device, dtype)), *opened)
    policy = open_policy(opening)
    settings = opened_as(opening, policy)
    own = [subject(policy.info, each, cameras=camera or None, opened_as=settings) for each in opened]
    records = Workspace.open(workspace).records
    with tqdm(unit="step", file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = judge_maps(policy, own, maps, records, steps, progress)
    print_values(describe.maps_values(policy.info, found), as_json, short=describe.maps_text(policy.info, found))
