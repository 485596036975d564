"""The four questions as a prompt: a text file with placeholders that anybody can edit."""

from __future__ import annotations

import hashlib
import string
from dataclasses import dataclass
from pathlib import Path

from models.errors import UserError
from models.teachers.teacher import Clip

SHIPPED = Path(__file__).with_name("four_questions.md")
PLACEHOLDERS = ("instruction", "steps", "objects", "motion", "language")
LANGUAGES = {
    "en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese",
    "nl": "Dutch",
}  # fmt: skip


@dataclass(frozen=True)
class PromptTemplate:
    """Text with {instruction}, {steps}, {objects}, {motion} and {language}; double braces stand for single ones."""

    text: str

    @staticmethod
    def read(text: str = "") -> PromptTemplate:
        """``text``, or the shipped prompt. Raises UserError for a placeholder that is not known, or a lone brace."""
        template = PromptTemplate(text or SHIPPED.read_text(encoding="utf-8"))
        try:
            used = [name for _, name, _, _ in string.Formatter().parse(template.text) if name is not None]
        except ValueError as error:
            raise UserError(f"the prompt cannot be read ({error}); write a brace that is meant as such twice") from None
        if unknown := [name for name in used if name not in PLACEHOLDERS]:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise UserError(f"the prompt has the placeholder {{{unknown[0]}}}; it may have {known}")
        if "instruction" not in used:
            raise UserError("the prompt does not say {instruction}, so the teacher would not know the task")
        return template

    @property
    def hash(self) -> str:
        """First 12 hex digits of the text's sha256."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    def fill(self, clip: Clip, language: str) -> str:
        steps = f"{clip.start}" if clip.stop == clip.start + 1 else f"{clip.start} to {clip.stop - 1}"
        names = sorted(clip.objects) if clip.objects is not None else []
        seen = f"In view are: {', '.join(names)}. " if names else ""
        return self.text.format(
            instruction=clip.instruction,
            steps=steps,
            objects=seen,
            motion=_motion(clip),
            language=LANGUAGES.get(language, "English"),
        )


def _motion(clip: Clip) -> str:
    """How far it moves, in words and numbers, where the actions have names and it is known how to read them.

    Increments are added up; of targets the first is taken from the last, which one target alone does not allow.
    """
    if not clip.action_names or len(clip.action_names) != clip.actions.shape[1] or not len(clip.actions):
        return ""
    if not clip.actions_are or (clip.actions_are == "absolute" and len(clip.actions) < 2):
        return ""
    units = clip.action_units if len(clip.action_units) == len(clip.action_names) else ("",) * len(clip.action_names)
    moved = clip.actions.sum(axis=0) if clip.actions_are == "relative" else clip.actions[-1] - clip.actions[0]
    values = [
        f"{name} {(clip.actions[-1, i] if 'grip' in name.lower() else moved[i]):+.3g} {units[i]}".strip()
        for i, name in enumerate(clip.action_names)
        if clip.actions_are == "relative" or not units[i].endswith("/s")  # a speed is no target
    ]
    return f"Over these steps it moves by {', '.join(values)}."
