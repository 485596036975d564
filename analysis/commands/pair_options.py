"""What the commands about two checkpoints ask for and do alike."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

from analysis.commands.options import Opening, for_episodes, open_policy, opened_as, source_at
from analysis.evidence.probe import QUICK
from analysis.records import Setting
from analysis.types import Episode
from analysis.workspace import Workspace
from models.errors import UserError
from models.policy import Policy
from models.registry import function

if TYPE_CHECKING:
    from analysis.evidence.measurements import Subject
    from analysis.evidence.pair import Pair
    from analysis.metrics.significance import Correction

CORRECTIONS: Mapping[str, Correction] = {name: name for name in ("holm", "benjamini-hochberg", "none")}

Checkpoint = Annotated[Path, typer.Argument(help="folder of a checkpoint")]
Episodes = Annotated[list[Path], typer.Argument(help="episode files, or folders whose episodes are all taken")]
Store = Annotated[Path, typer.Option(help="folder that keeps what was measured")]
StepCount = Annotated[int, typer.Option(help="steps of each episode, evenly spread", min=1)]
Measure = Annotated[
    list[str] | None,
    typer.Option(
        help="action, attention, instruction, rationale, routes, lens, significance (ISS), faithfulness; once for each"
    ),
]
Correct = Annotated[str, typer.Option(help="for the number of metrics: holm, benjamini-hochberg or none")]
Draw = Annotated[
    float | None, typer.Option("--draw", help="temperature at which both draw their tokens, with different seeds")
]
DrawSeed = Annotated[int, typer.Option(help="of the first's draws; the second draws with the next one", min=0)]
Layers = Annotated[bool, typer.Option(help="also compare the two layer by layer at equal input")]

FirstStats = Annotated[str | None, typer.Option(help="data set whose statistics scale the first's actions")]
SecondStats = Annotated[str | None, typer.Option(help="the same for the second")]
FirstFamily = Annotated[str | None, typer.Option(help="model family of the first, where its files cannot tell")]
SecondFamily = Annotated[str | None, typer.Option(help="the same for the second")]
FirstBase = Annotated[Path | None, typer.Option(help="folder of the model that the first builds on")]
SecondBase = Annotated[Path | None, typer.Option(help="the same for the second")]
FirstCameras = Annotated[
    list[str] | None,
    typer.Option("--first-camera", help="camera of the episodes that the first sees; once for each that it reads"),
]
SecondCameras = Annotated[list[str] | None, typer.Option("--second-camera", help="the same for the second")]


@dataclass(frozen=True)
class Side:
    """One of the two, as it was asked for."""

    opening: Opening
    cameras: Sequence[str] | None = None  # of the episodes, in the policy's order; None: as they fit by name


@dataclass(frozen=True)
class Asked:
    """What is measured of both, and how."""

    episodes: Sequence[Path]
    workspace: Path
    steps: int  # of each episode
    measure: Sequence[str] | None = None  # names of probes; None: the quick ones
    correction: str = "holm"
    layers: bool = True
    draw: float | None = None  # temperature
    draw_seed: int = 0


def measured_pair(
    first: Side, second: Side, asked: Asked
) -> tuple[Pair, tuple[Policy, Policy], tuple[list[Subject], list[Subject]]]:
    """Opens what is named and measures what the workspace's records do not hold; progress goes to stderr.

    The policies, and the episodes as each sees them, come with the result. Raises UserError for a correction, a
    measure, a camera or statistics that are not there.
    """
    from analysis.evidence.episodes import episodes_at
    from analysis.evidence.pair import measure_pair
    from analysis.evidence.probe import probe

    if asked.correction not in CORRECTIONS:
        raise UserError(f"there is no correction {asked.correction!r}; there are {', '.join(CORRECTIONS)}")
    probes = [probe(name) for name in dict.fromkeys(asked.measure or QUICK)]
    opened = episodes_at(asked.episodes, partial(source_at, workspace=asked.workspace))
    (one, own, said), (two, other, told) = (
        _opened(side, opened, asked, number) for number, side in enumerate((first, second))
    )
    records = Workspace.open(asked.workspace).records
    with tqdm(unit="step", file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        correction = CORRECTIONS[asked.correction]
        pair = measure_pair((one, two), (own, other), probes, records, asked.steps, progress, correction, asked.layers)
    as_opened = {f"first {name}": text for name, text in said.items()}
    as_opened |= {f"second {name}": text for name, text in told.items()}
    return replace(pair, settings=pair.settings | as_opened), (one, two), (own, other)


def _opened(
    side: Side, episodes: Sequence[Episode], asked: Asked, number: int
) -> tuple[Policy, list[Subject], dict[str, str]]:
    """The policy, the episodes as it sees them, and how it was opened where not as usual, as a caption says it."""
    from analysis.evidence.drawn import read_drawn
    from analysis.evidence.episodes import subject

    opening = for_episodes(side.opening, *episodes)
    policy = open_policy(opening)
    settings: dict[str, Setting] = opened_as(opening, policy)
    if asked.draw is not None:
        seed = asked.draw_seed + number
        policy = function("models.sampled:Sampled")(policy, asked.draw, seed)
        settings |= {"temperature": asked.draw, "seed": seed}
    subjects = [
        subject(
            policy.info,
            episode,
            cameras=side.cameras or None,
            drawn=read_drawn(asked.workspace, episode.meta.digest),
            opened_as=settings,
        )
        for episode in episodes
    ]
    told = {name.replace("_", " "): str(value) for name, value in settings.items() if value is not None}
    return policy, subjects, told | ({"cameras": ", ".join(side.cameras)} if side.cameras else {})
