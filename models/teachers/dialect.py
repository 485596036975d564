"""Which of the optional parameters of a question an endpoint takes, learned from what it refuses."""

from __future__ import annotations

from typing import Any

from models.teachers.answer import FourAnswers
from models.teachers.teacher import TeacherSettings

SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "four_answers", "strict": True, "schema": FourAnswers.model_json_schema()},
}
NAMED = {  # parameter -> words by which a refusal means it
    "response_format": ("response_format", "json_schema", "schema"),
    "max_tokens": ("max_tokens",),
    "temperature": ("temperature",),
}


class Dialect:
    """Begins with what most endpoints take. Several threads may learn at once: nothing is ever unlearned."""

    def __init__(self, settings: TeacherSettings) -> None:
        self._limit, self._temperature = settings.max_tokens, settings.temperature
        self._refused: frozenset[str] = frozenset()

    def parameters(self) -> dict[str, Any]:
        """What the next question says besides model and messages."""
        known = {"response_format": SCHEMA, "max_tokens": self._limit, "temperature": self._temperature}
        taken = {name: value for name, value in known.items() if name not in self._refused}
        if "max_tokens" in self._refused:  # reasoning models of OpenAI know the limit by another name alone
            taken["max_completion_tokens"] = self._limit
        return taken

    def learned(self, said: str, sent: dict[str, Any]) -> bool:
        """Whether ``said``, a refusal of a question with ``sent``, names a parameter that can be left out."""
        named = {name for name, words in NAMED.items() if name in sent and any(word in said.lower() for word in words)}
        self._refused |= named
        return bool(named)
