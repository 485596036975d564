"""The scripted teacher for recorded episodes of the sample world, behind the same protocol as every other teacher."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.errors import UserError
from models.teachers.teacher import Clip, Spent, TeacherSettings
from models.types import Rationale
from sample_data.world.expert import Phase
from sample_data.world.moment import STATE_NAMES, Moment
from sample_data.world.tasks import TASKS
from sample_data.world.teacher import AUTHOR, explain


class ScriptedTeacher:
    """Reads task, positions, state and phase of the clip's first step as recorded; looks at no picture."""

    def __init__(self, settings: TeacherSettings) -> None:
        del settings  # it has none

    @property
    def author(self) -> str:
        return AUTHOR

    @property
    def origin(self) -> Mapping[str, str]:
        return {"model": "sample_data.world.teacher", "prompt": "none", "teacher": "scripted"}

    @property
    def spent(self) -> Spent:
        return Spent()

    def explain(self, clip: Clip) -> Rationale:
        """Raises UserError for an episode that is not of the sample world."""
        known = {name: place for name, place in (clip.objects or {}).items() if place is not None}
        task = TASKS.get(clip.task)
        fits = clip.state is not None and clip.state_names == STATE_NAMES and clip.phase in tuple(Phase)
        if task is None or not fits or not {task.thing, task.receptacle} <= set(known):
            raise UserError(
                f"the scripted teacher knows episodes of the sample table alone, with state, phase and positions; "
                f"{clip.episode!r} is of the task {clip.task or 'unknown'!r}"
            )
        assert clip.state is not None
        positions = {name: np.asarray(place, float) for name, place in known.items()}
        state = clip.state.astype(float)
        moment = Moment(clip.task, positions, {}, state[:3], state[3:6], float(state[6]))
        said = explain(moment, clip.start, Phase(clip.phase))
        return Rationale(said.parts, clip.start, clip.stop, AUTHOR)
