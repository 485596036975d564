"""Values of episodes and their annotations. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from models.types import Observation, Rationale


@dataclass(frozen=True)
class EpisodeMeta:
    """What a list of episodes shows; cheap to read, no frame is decoded."""

    id: str
    source: str  # file or folder it came from
    instruction: str
    length: int  # steps
    fps: float  # frames a second
    cameras: tuple[str, ...]
    success: bool | None  # None: not recorded
    task: str = ""
    robot: str = ""
    action_names: tuple[str, ...] = ()
    action_units: tuple[str, ...] = ()
    state_names: tuple[str, ...] = ()
    state_units: tuple[str, ...] = ()
    has_rationale: bool = False
    digest: str = ""  # sha256 of the episode's bytes, first 16 hex digits
    annotated: str = ""  # digests of the annotations that were joined to it, as text; empty: none
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SceneObject:
    """Ground truth about one thing in view at one step."""

    name: str
    position: Float[np.ndarray, " 3"] | None = None  # metres, robot base frame
    box: tuple[float, float, float, float] | None = None  # left, top, right, bottom, pixels of the original frame
    mask: Bool[np.ndarray, "H W"] | None = None


@dataclass(frozen=True)
class Step:
    index: int
    time: float  # seconds from the start
    observation: Observation
    action: Float[np.ndarray, " D"]  # robot units
    phase: str = ""
    objects: Mapping[str, tuple[SceneObject, ...]] = field(default_factory=dict)  # per camera


@runtime_checkable
class Episode(Protocol):
    """One trajectory; frames are decoded on demand."""

    @property
    def meta(self) -> EpisodeMeta: ...

    @property
    def actions(self) -> Float[np.ndarray, "T D"]: ...

    @property
    def states(self) -> Float[np.ndarray, "T S"] | None: ...

    @property
    def rationales(self) -> tuple[Rationale, ...]: ...

    def step(self, index: int) -> Step: ...

    def frame(self, camera: str, index: int) -> UInt8[np.ndarray, "H W 3"]: ...

    def encoded_frame(self, camera: str, index: int) -> tuple[bytes, str]:
        """The frame as stored and its media type (image/jpeg, image/png); encoded as PNG if stored raw."""
        ...
