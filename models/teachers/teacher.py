"""The seam for teachers: what they are shown, what they answer, and the registry."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from models.errors import UserError
from models.types import Rationale

PARTS = ("observation", "situation", "spatial", "planning")  # the four questions of ReFineVLA
TEACHERS: Mapping[str, str] = MappingProxyType(  # name -> "module:class", imported when asked for
    {
        "endpoint": "models.teachers.endpoint:EndpointTeacher",
        "scripted": "sample_data.world.scripted_teacher:ScriptedTeacher",
    }
)


@dataclass(frozen=True)
class ClipFrame:
    """One picture of a clip."""

    camera: str
    step: int
    image: UInt8[np.ndarray, "H W 3"]


@dataclass(frozen=True)
class Clip:
    """Steps [start, stop) of an episode, as much of them as a teacher may know."""

    episode: str
    instruction: str
    start: int
    stop: int
    frames: tuple[ClipFrame, ...]  # in the order of time
    actions: Float[np.ndarray, "T D"]  # of these steps, robot units
    action_names: tuple[str, ...] = ()
    action_units: tuple[str, ...] = ()
    actions_are: str = ""  # "relative" (increments), "absolute" (targets), or empty: not known
    state: Float[np.ndarray, " S"] | None = None  # at ``start``
    state_names: tuple[str, ...] = ()
    state_units: tuple[str, ...] = ()
    task: str = ""
    phase: str = ""  # at ``start``, where recorded
    objects: Mapping[str, Float[np.ndarray, " 3"] | None] | None = None  # in view at ``start``, metres in the robot's
    # base frame where known; None: not known what is in view


class BadAnswer(Exception):
    """An answer that cannot be used. It is kept aside with this reason; the next clip goes on."""

    def __init__(self, reason: str, answer: str = "") -> None:
        super().__init__(reason)
        self.reason, self.answer = reason, answer


class Unanswered(BadAnswer):
    """No answer came, however often it was asked for; another time one may come."""


class Refused(BadAnswer):
    """This question is not taken, and would not be another time; others may be."""


@dataclass(frozen=True)
class DatedRationale(Rationale):
    """A rationale that may have been given long ago, and was kept since."""

    time: str = ""  # UTC, ISO 8601, when it was given


@dataclass(frozen=True)
class Spent:
    """What answers took so far, those out of the cache apart."""

    requests: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float | None = None  # in the currency of the prices; None: no price is known
    retries: int = 0
    untold: int = 0  # answers that did not say how many tokens they took: tokens and cost are at least that


@runtime_checkable
class Teacher(Protocol):
    """Explains clips. Several threads may call it at once."""

    @property
    def author(self) -> str:
        """Who the rationales are by, such as a model's name."""
        ...

    @property
    def origin(self) -> Mapping[str, str]:
        """What else tells how they came about: model, prompt hash ... The same teacher gives the same."""
        ...

    @property
    def spent(self) -> Spent: ...

    def explain(self, clip: Clip) -> Rationale:
        """The rationale of ``clip``, for its steps [start, stop).

        A DatedRationale where it was given earlier. Raises BadAnswer for an answer that cannot be used, UserError where
        asking further makes no sense.
        """
        ...


@dataclass(frozen=True)
class TeacherSettings:
    """What a user can say about a teacher; each reads what concerns it."""

    model: str = ""
    base_url: str = ""
    prompt: str = ""  # text of the prompt file; empty: the shipped one
    key_env: str = "OPENAI_API_KEY"  # name of the environment variable that holds the key
    requests_per_minute: float = 0.0  # 0: no limit
    tokens_per_minute: float = 0.0
    price_in: float | None = None  # per million tokens
    price_out: float | None = None
    image_side: int = 512  # pixels: longer frames are made smaller
    timeout: float = 120.0  # seconds in which nothing comes from the endpoint
    attempts: int = 6  # of one request
    temperature: float = 0.0
    max_tokens: int = 1024
    cache: str = ""  # folder; empty: none
    fresh: bool = False  # ask again, whatever the cache holds
    further: Mapping[str, Any] = field(default_factory=dict)


def make_teacher(name: str, settings: TeacherSettings) -> Teacher:
    """The teacher registered as ``name``, or the class "module:class" of an extension.

    Raises UserError for a name that is not known, or settings that the teacher cannot work with.
    """
    reference = TEACHERS.get(name, name)
    module, _, attribute = reference.partition(":")
    if not attribute:
        raise UserError(f"there is no teacher {name!r}; there are {', '.join(TEACHERS)}, or name one as module:class")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"the teacher {name!r} cannot be imported ({error})") from error
    teacher: Teacher = found(settings)
    return teacher
