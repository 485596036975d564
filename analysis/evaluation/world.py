"""The seam for simulated worlds in which a policy acts: a protocol, and a registry of names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from models.errors import UserError
from models.types import Observation

WORLDS: Mapping[str, str] = MappingProxyType(  # name -> "module:class", imported when asked for
    {"tabletop": "sample_data.closed_loop:TabletopWorld", "counter": "sample_data.closed_loop:CounterWorld"}
)


@dataclass(frozen=True)
class Standing:
    """How a rollout has gone so far."""

    success: bool  # now
    grasped: bool  # the right thing has been lifted, or moved as asked
    wrong: bool  # another thing has


@runtime_checkable
class World(Protocol):
    """One simulated scene at a time. Not thread-safe."""

    robot: str
    fps: float
    longest: int  # steps after which a rollout has failed
    action_names: tuple[str, ...]
    action_units: tuple[str, ...]
    state_names: tuple[str, ...]
    state_units: tuple[str, ...]

    def begin(self, seed: int) -> str:
        """Lay a new scene; the same seed gives the same. Returns the task."""
        ...

    def observation(self) -> Observation: ...

    def step(self, action: Float[np.ndarray, " D"]) -> Standing:
        """Carry out one action, in robot units, and tell how it goes."""
        ...


def open_world(name: str) -> World:
    """The world registered as ``name``, or the class "module:class" of an extension.

    Raises UserError for a name that is not known, or one that needs a package which is not installed.
    """
    module, _, attribute = WORLDS.get(name, name).partition(":")
    if not attribute:
        raise UserError(f"there is no world {name!r}; there are {', '.join(WORLDS)}, or name one as module:class")
    try:
        made = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"the world {name!r} cannot be opened ({error}); the sample worlds need requirements-samples.txt"
        ) from error
    world: World = made
    return world
