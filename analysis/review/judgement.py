"""What an annotator says about one rationale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from models.errors import UserError

VERDICTS = ("correct", "partly", "wrong", "cannot tell")  # of a part
ERROR_KINDS = ("wrong object", "wrong place", "wrong state", "invented object", "wrong order", "unsafe", "other")
ACCEPT, CORRECT, REJECT, UNSURE = OVERALL = ("accept", "correct", "reject", "unsure")  # of the whole rationale
MAX_TEXT = 1_000_000  # characters of a correction or comment


@dataclass(frozen=True)
class PartLabels:
    """What can be said about a part: one of ``verdicts``, any of ``errors``."""

    verdicts: tuple[str, ...] = VERDICTS
    errors: tuple[str, ...] = ERROR_KINDS


@dataclass(frozen=True)
class LabelScheme:
    """The labels of a project: the same for each part, but for those named in ``parts``."""

    default: PartLabels = PartLabels()
    parts: Mapping[str, PartLabels] = field(default_factory=dict, hash=False)

    def of(self, part: str) -> PartLabels:
        return self.parts.get(part, self.default)


@dataclass(frozen=True)
class PartJudgement:
    part: str
    verdict: str
    errors: tuple[str, ...] = ()
    correction: str | None = None  # what the part should say; None: nothing to correct
    original: str = ""  # what it said; the store fills it in from the rationale, whatever was sent


@dataclass(frozen=True)
class Judgement:
    """Parts that are not judged are left out; overall ``correct`` means: good once corrected."""

    parts: tuple[PartJudgement, ...]
    overall: str
    comment: str = ""

    def part(self, name: str) -> PartJudgement | None:
        return next((one for one in self.parts if one.part == name), None)

    @property
    def corrections(self) -> dict[str, str]:
        """Part name -> corrected text."""
        return {one.part: one.correction for one in self.parts if one.correction is not None}


def checked(judgement: Judgement, said: Mapping[str, str], labels: LabelScheme) -> Judgement:
    """As `fitting`. Raises UserError for a correction without a word as well: nothing could be learned from it."""
    found = fitting(judgement, said, labels)
    if empty := next((part for part, text in found.corrections.items() if not text.strip()), None):
        raise UserError(f"the correction of part {empty!r} is empty; write what it should say, or undo the correction")
    return found


def fitting(judgement: Judgement, said: Mapping[str, str], labels: LabelScheme) -> Judgement:
    """The judgement as it is stored: parts in the rationale's order, with what they said.

    ``said``: the rationale's parts. A correction that changes nothing counts as none. Raises UserError if a part or
    label is not known, or if the overall verdict does not fit the corrections.
    """
    if judgement.overall not in OVERALL:
        raise UserError(f"the overall verdict is {judgement.overall!r}; expected one of {', '.join(OVERALL)}")
    given = {one.part: one for one in judgement.parts}
    if len(given) != len(judgement.parts):
        raise UserError("a part is judged twice in one review; judge each part once")
    if unknown := given.keys() - said.keys():
        raise UserError(f"the rationale has no part {min(unknown)!r}; it has {', '.join(said)}")
    parts = tuple(_checked_part(given[name], text, labels.of(name)) for name, text in said.items() if name in given)
    corrected = any(one.correction is not None for one in parts)
    if judgement.overall == CORRECT and not corrected:
        raise UserError("the overall verdict is 'correct', but no part was corrected; correct one, or accept or reject")
    if judgement.overall == ACCEPT and corrected:
        raise UserError("the overall verdict is 'accept', but a part was corrected; say 'correct', or undo the change")
    _check_length("the comment", judgement.comment)
    return replace(judgement, parts=parts)


def _checked_part(one: PartJudgement, original: str, labels: PartLabels) -> PartJudgement:
    if one.verdict not in labels.verdicts:
        raise UserError(f"part {one.part!r} is called {one.verdict!r}; expected one of {', '.join(labels.verdicts)}")
    if unknown := set(one.errors) - set(labels.errors):
        known = ", ".join(labels.errors) or "none in this project"
        raise UserError(f"part {one.part!r} has the unknown kind of error {min(unknown)!r}; known are {known}")
    if one.correction is not None:
        _check_length(f"the correction of part {one.part!r}", one.correction)
    errors = tuple(kind for kind in labels.errors if kind in one.errors)
    correction = None if one.correction == original else one.correction
    return replace(one, errors=errors, correction=correction, original=original)


def _check_length(what: str, text: str) -> None:
    if len(text) > MAX_TEXT:
        raise UserError(f"{what} has {len(text):,} characters; a review keeps up to {MAX_TEXT:,} each")


def judgement_to_json(judgement: Judgement) -> dict[str, Any]:
    parts = [
        {
            "part": one.part,
            "verdict": one.verdict,
            "errors": list(one.errors),
            "correction": one.correction,
            "original": one.original,
        }
        for one in judgement.parts
    ]
    return {"parts": parts, "overall": judgement.overall, "comment": judgement.comment}


def judgement_from_json(stored: Mapping[str, Any]) -> Judgement:
    """The inverse. Raises UserError, naming the field, for anything else."""
    parts = _field(stored, "parts", list, default=[])
    if not all(isinstance(one, dict) for one in parts):
        raise UserError(f"'parts' of a review is {parts!r:.80}; expected a list of objects")
    return Judgement(
        tuple(_part_from_json(one) for one in parts),
        _field(stored, "overall", str),
        _field(stored, "comment", str, default=""),
    )


def _part_from_json(stored: Mapping[str, Any]) -> PartJudgement:
    errors = _field(stored, "errors", list, default=[])
    if not all(isinstance(kind, str) for kind in errors):
        raise UserError(f"'errors' of a review is {errors!r:.80}; expected a list of texts")
    correction = stored.get("correction")
    if not (correction is None or isinstance(correction, str)):
        raise UserError(f"'correction' of a review is {correction!r:.80}; expected a text or null")
    texts = _field(stored, "part", str), _field(stored, "verdict", str)
    return PartJudgement(*texts, tuple(errors), correction, _field(stored, "original", str, default=""))


def _field(stored: Mapping[str, Any], key: str, kind: type, default: Any = None) -> Any:
    value = stored.get(key, default)
    if not isinstance(value, kind):
        raise UserError(f"{key!r} of a review is {value!r:.80}; expected {'a text' if kind is str else 'a list'}")
    return value
