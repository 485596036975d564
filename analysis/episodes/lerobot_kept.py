"""What LeRobot has no place for, kept beside a data set that this program wrote: see docs/export.md.

Each row of the list of episodes has a column of JSON (id, units, task ...). Phases, objects and the exact rationales
are in one small parquet file an episode (`lerobot_kept_steps`). Other readers of LeRobot leave both unread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from analysis.episodes.lerobot_paths import clean
from analysis.types import EpisodeMeta
from models.errors import UserError

COLUMN = "vla_lens/episode"
FROM = "exported from"  # attribute that names the digest of the episode before the export
MAX_JSON = 16 << 20  # characters


@dataclass(frozen=True)
class Kept:
    """An episode's description as it was before the export."""

    id: str
    task: str
    robot: str
    digest: str  # of the episode that was exported
    action_units: tuple[str, ...]
    state_units: tuple[str, ...]
    extra: Mapping[str, str]
    steps: bool  # whether there is a file for its steps

    def as_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    def restored(self, meta: EpisodeMeta) -> EpisodeMeta:
        """The description of the written episode with what LeRobot could not say. Units only if they still fit."""
        units = {
            "action_units": (self.action_units, meta.action_names),
            "state_units": (self.state_units, meta.state_names),
        }
        fitting: dict[str, Any] = {name: given for name, (given, names) in units.items() if len(given) == len(names)}
        extra = dict(self.extra) | ({FROM: self.digest} if self.digest else {})
        return replace(meta, task=self.task, robot=self.robot, extra=extra, **fitting)


def read_kept(text: Any, where: str) -> Kept | None:
    """The JSON of one row; None where there is none. Raises UserError, beginning with ``where``, if it is malformed."""
    if text is None:
        return None
    wrong = UserError(f"{where} has a {COLUMN!r} that is not understood; export the episode again, or drop the column")
    try:
        stored = json.loads(text) if isinstance(text, str) and len(text) <= MAX_JSON else None
    except (ValueError, RecursionError):
        raise wrong from None
    if not isinstance(stored, dict) or not isinstance(stored.get("steps"), bool) or not stored.get("id"):
        raise wrong
    texts = [stored.get(key) for key in ("id", "task", "robot", "digest")]
    units = [stored.get(key) for key in ("action_units", "state_units")]
    extra = stored.get("extra")
    if not (strings(texts) and all(map(strings, units)) and isinstance(extra, dict) and strings([*extra.values()])):
        raise wrong
    id, task, robot, digest = (clean(str(text)) for text in texts)
    return Kept(
        id=id,
        task=task,
        robot=robot,
        digest=digest,
        action_units=tuple(map(clean, units[0] or ())),
        state_units=tuple(map(clean, units[1] or ())),
        extra={clean(key): clean(value) for key, value in extra.items()},
        steps=stored["steps"],
    )


def strings(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
