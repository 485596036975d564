"""Which of an episode's cameras a policy sees under which name. Pure; app, command line and capture all ask here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from models.errors import UserError
from models.types import Observation


@dataclass(frozen=True)
class CameraPlan:
    """What is fed to a policy."""

    pairs: tuple[tuple[str, str], ...]  # the policy's name, the episode's camera; in the policy's order
    note: str = ""  # what a person should know: cameras matched by their order alone, or not at all

    @property
    def chosen(self) -> tuple[str, ...]:
        """The episode's cameras in the policy's order: what `plan_cameras` takes, and what a record's key holds."""
        return tuple(camera for _, camera in self.pairs)

    @property
    def episode_names(self) -> Mapping[str, str]:
        """The policy's name of a camera -> the episode's."""
        return dict(self.pairs)

    def seen(self, observation: Observation) -> Observation:
        """The observation with the images that the policy reads, under its own names."""
        return replace(observation, images={name: observation.images[camera] for name, camera in self.pairs})


def plan_cameras(
    wanted: Sequence[str], offered: Sequence[str], chosen: Sequence[str] | None = None, every: bool = False
) -> CameraPlan:
    """Matches a policy's cameras ``wanted`` (empty: one under any name) with an episode's cameras ``offered``.

    A policy with one camera gets the first that the episode has, or the one of its name. For several, equal names are
    matched first, then equal last parts ("observation.images.top" and "top"), then what is left in order, with a note.
    ``chosen`` overrides this: the episode's cameras in the policy's order. With ``every``, a policy without names gets
    all that there are, or all that were chosen.
    Raises UserError where ``chosen`` has a camera that the episode lacks, or too many or few.
    """
    if chosen is not None:
        return _as_chosen(wanted or (chosen if every else ()), offered, chosen)
    if not wanted:
        return CameraPlan(tuple((camera, camera) for camera in (offered if every else offered[:1])))
    found = _by_name(wanted, offered)
    if len(wanted) == 1:
        return CameraPlan(tuple((wanted[0], found.get(wanted[0], camera)) for camera in offered[:1]))
    free = [camera for camera in offered if camera not in found.values()]
    ordered = dict(zip([name for name in wanted if name not in found], free, strict=False))
    found |= ordered
    pairs = tuple((name, found[name]) for name in wanted if name in found)
    return CameraPlan(pairs, _note(ordered, [name for name in wanted if name not in found]))


def default_cameras(
    wanted: Sequence[str], offered: Sequence[str], chosen: Sequence[str] | None, every: bool = False
) -> bool:
    """Whether ``chosen`` is what `plan_cameras` would do by itself: such a choice is not part of a record's key."""
    return chosen is None or tuple(chosen) == plan_cameras(wanted, offered, every=every).chosen


def _as_chosen(wanted: Sequence[str], offered: Sequence[str], chosen: Sequence[str]) -> CameraPlan:
    if missing := [camera for camera in chosen if camera not in offered]:
        raise UserError(f"the episode has no camera {missing[0]!r}; its cameras are {', '.join(offered) or 'none'}")
    names = wanted or chosen[:1]
    if len(chosen) != len(names):
        reads = f"{len(wanted)} cameras ({', '.join(wanted)})" if wanted else "one camera"
        raise UserError(f"the policy reads {reads}; {len(chosen)} were chosen ({', '.join(chosen)}): name one for each")
    return CameraPlan(tuple(zip(names, chosen, strict=True)))


def _by_name(wanted: Sequence[str], offered: Sequence[str]) -> dict[str, str]:
    found = {name: name for name in wanted if name in offered}
    for name in wanted:
        rest = [camera for camera in offered if camera not in found.values() and _last(camera) == _last(name)]
        rivals = [other for other in wanted if other not in found and _last(other) == _last(name)]
        if name not in found and len(rest) == len(rivals) == 1:
            found[name] = rest[0]
    return found


def _last(name: str) -> str:
    return name.replace("/", ".").rsplit(".", 1)[-1]


def _note(ordered: Mapping[str, str], missing: Sequence[str]) -> str:
    notes = []
    if ordered:
        said = ", ".join(f"{name} sees {camera}" for name, camera in ordered.items())
        notes.append(f"Names of cameras differ, so they were matched in order: {said}.")
    if missing:
        notes.append(f"The episode has no camera left for {', '.join(missing)}.")
    return " ".join(notes)
