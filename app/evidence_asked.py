"""What the evidence page asks for: which episodes, steps and measurements; and the work that measures them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from analysis.catalogue import Filter
from analysis.evidence.asked_map import MEAN, AskedMap
from analysis.evidence.comparison import compare
from analysis.evidence.drawn import NOTHING_DRAWN, DrawnBoxes, read_drawn, write_drawn
from analysis.evidence.episodes import ListedEpisode, subject
from analysis.evidence.exhibits import Exhibit, exhibits
from analysis.evidence.layers import LayerComparison, compare_layers
from analysis.evidence.measurements import Measurements, Subject, measure, missing, stored
from analysis.evidence.probe import Probe, probe
from analysis.evidence.probes.faithfulness import FaithfulnessProbe
from analysis.records import Setting
from analysis.types import Episode, EpisodeMeta
from app.library import Library
from app.selection import camera_names
from app.shared_policies import PolicyChoice
from models.policy import Policy
from models.types import CheckpointSpec


@dataclass(frozen=True)
class Model:
    """A checkpoint as the side bar has it."""

    spec: CheckpointSpec
    action_stats: str | None = None
    family: str | None = None
    cameras: str | None = None  # as the URL writes them

    @property
    def settings(self) -> dict[str, str]:
        """How it is opened where not as usual, as a caption says it."""
        told = {"action statistics": self.action_stats, "family": self.family, "cameras": self.cameras}
        return {name: value for name, value in told.items() if value}

    @property
    def choice(self) -> PolicyChoice:
        return PolicyChoice(self.spec.digest, action_stats=self.action_stats, family=self.family)


@dataclass(frozen=True)
class Asked:
    """Settings of the page."""

    dataset: str
    episodes: tuple[EpisodeMeta, ...]
    steps: int  # of each episode
    measures: tuple[str, ...]  # names of probes
    drawn: Mapping[str, DrawnBoxes] = field(default_factory=dict)  # by the episode's id, where something was drawn
    map: AskedMap = MEAN  # that is tested for faithfulness

    def probes(self, spec: CheckpointSpec) -> list[Probe]:
        made, map = [probe(name) for name in self.measures], self.map.fitted(spec)
        return [replace(each, map=map) if isinstance(each, FaithfulnessProbe) else each for each in made]

    @property
    def settings(self) -> dict[str, str]:
        """What was asked, as a caption says it."""
        said = {"steps of each episode": str(self.steps), "measured": ", ".join(self.measures)}
        said |= {"boxes drawn on": ", ".join(sorted(self.drawn))} if self.drawn else {}
        return said | (
            {"map that was tested": f"{self.map.text}, about {self.map.query}"}
            if "faithfulness" in self.measures
            else {}
        )

    def key(self, *models: Model) -> tuple[object, ...]:
        """Of the task that measures this."""
        digests = tuple(meta.digest or meta.id for meta in self.episodes)
        drawn = tuple(sorted(self.drawn.items(), key=lambda each: each[0]))
        return (
            "evidence",
            self.dataset,
            digests,
            self.steps,
            self.measures,
            self.map,
            drawn,
            *(m.choice for m in models),
            *(m.cameras for m in models),
        )


@dataclass(frozen=True)
class LookedAt:
    """What only the two policies themselves can say of a comparison."""

    layers: LayerComparison
    steps: tuple[Exhibit, ...]  # those that differ most, with frames and maps


def episode_count(library: Library, dataset: str) -> int:
    """Episodes of a data set that can be used, as its index knows them."""
    return library.workspace.index.query(Filter(datasets=(dataset,), broken=False), size=1).total


def spread_episodes(library: Library, dataset: str, count: int, total: int) -> tuple[EpisodeMeta, ...]:
    """``count`` of ``total`` usable episodes of a data set, evenly spread in the order in which it lists them."""
    found = []
    for index in range(count):
        page = library.workspace.index.query(
            Filter(datasets=(dataset,), broken=False), page=index * total // count, size=1
        )
        found += [each.entry for each in page.entries if isinstance(each.entry, EpisodeMeta)]
    return tuple(found)


def drawn_on(library: Library, dataset: str, meta: EpisodeMeta) -> DrawnBoxes:
    """What was drawn on an episode. Raises UserError for a damaged file."""
    return read_drawn(library.workspace.path, _digest(library, dataset, meta))


def draw_on(library: Library, dataset: str, meta: EpisodeMeta, drawn: DrawnBoxes) -> None:
    """Keeps what was drawn, for everybody who uses the workspace."""
    write_drawn(library.workspace.path, _digest(library, dataset, meta), drawn)


def _digest(library: Library, dataset: str, meta: EpisodeMeta) -> str:
    return meta.digest or library.episode(dataset, meta.id).meta.digest


def subjects(library: Library, asked: Asked, model: Model) -> list[Subject]:
    """The episodes as a model sees them; opened when measured. Raises UserError for cameras that an episode lacks."""
    only = len(model.spec.action_stats) == 1
    opened_as: dict[str, Setting] = {
        "action_stats": None if only else model.action_stats,
        "family": model.family,
        "dtype": library.workspace.running.recorded_number_type(model.spec),
    }
    return [
        subject(
            model.spec,
            _listed(library, asked.dataset, meta),
            dataset=asked.dataset,
            cameras=camera_names(model.cameras),
            drawn=asked.drawn.get(meta.id, NOTHING_DRAWN),
            opened_as=opened_as,
        )
        for meta in asked.episodes
    ]


def known(library: Library, asked: Asked, model: Model) -> Measurements:
    """What the records hold."""
    own = subjects(library, asked, model)
    return stored(model.spec, own, asked.probes(model.spec), library.workspace.records, asked.steps)


def to_do(library: Library, asked: Asked, model: Model) -> int:
    """Steps that something is still to be measured at."""
    own, records = subjects(library, asked, model), library.workspace.records
    return sum(1 for _ in missing(own, asked.probes(model.spec), model.spec.digest, records, asked.steps))


def measuring(library: Library, asked: Asked, models: tuple[Model, ...]) -> Callable[..., Any]:
    """Work for `app.tasks`: measures every model, then compares two layer by layer and where they differ most."""

    def work(
        policies: tuple[Policy, ...], progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> LookedAt | None:
        records, own = library.workspace.records, [subjects(library, asked, model) for model in models]
        parts = len(policies) + (len(policies) == 2)

        def part(number: int) -> Callable[[int, int], None]:
            return lambda done, total: progress(number * total + done, parts * total)

        measured = [
            measure(policy, each, asked.probes(policy.info), records, asked.steps, part(number))
            for number, (policy, each) in enumerate(zip(policies, own, strict=True))
        ]
        if len(policies) < 2:
            return None
        pair = (policies[0], policies[1])
        seen = (own[0], own[1])
        layers = compare_layers(*pair, seen, records, asked.steps, part(2))
        return LookedAt(layers, exhibits(pair, seen, compare(measured[0], measured[1])))

    return work


def _listed(library: Library, dataset: str, meta: EpisodeMeta) -> Episode:
    def opened() -> Episode:
        return library.episode(dataset, meta.id)

    return ListedEpisode(meta if meta.digest else opened().meta, opened)
