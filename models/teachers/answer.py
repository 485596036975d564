"""What a teacher's answer must be, and whether it can be believed."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from models.teachers.teacher import PARTS, BadAnswer, Clip

Words = Annotated[str, StringConstraints(strip_whitespace=True, max_length=4000)]
MOST_BRACES = 1000  # opening ones, from the end, at which an answer is looked for
LEAST_SHARE = 0.1  # of all words: English without articles has a sixth of function words, Swedish or Turkish hardly one
THINGS = Path(__file__).with_name("things.txt")  # what stands on tables, a name a line
_WORD = re.compile(r"[^\W\d_]+")
_FUNCTION_WORDS: Mapping[str, frozenset[str]] = {  # the commonest words, which hardly any other language has
    language: frozenset(words.split())
    for language, words in {
        "en": "the is and of to in it with on at from its has are this that by for not be an into then near",
        "de": "der die das und ist ein eine den dem nicht mit auf zu im von sich auch es an werden aus er hat dass",
        "fr": "le la les des et est une dans du que il au aux pas sur avec pour ce ne se sont qui sa vers",
        "es": "el los las y es una que en del por con para se su al lo como está pero más sobre hacia son",
        "it": "il lo gli di e è una che in del della per con si al nel sono da non sul dei alla verso",
        "pt": "o os as e é uma que em do da por com para se ao no na um não está são sobre dos das",
        "nl": "de het een en is van in op te met zijn voor niet aan dat er om naar bij ook door uit",
    }.items()
}


class FourAnswers(BaseModel):
    """One text for each of the four questions."""

    model_config = ConfigDict(extra="forbid")

    observation: Words
    situation: Words
    spatial: Words
    planning: Words


def parse(text: str) -> Mapping[str, str]:
    """The four parts of an answer. Raises BadAnswer where it is not the schema or a part is empty."""
    parts = _last_fitting(text)
    for part in PARTS:
        if not _WORD.search(parts[part]):
            raise BadAnswer(f"the part {part} is empty", text)
    return {part: parts[part] for part in PARTS}


def _last_fitting(text: str) -> dict[str, str]:
    """The last object in ``text`` that has the four parts: around it may be thoughts, a code fence, other braces."""
    reason = ""
    for begin in reversed([found.start() for found in re.finditer(r"\{", text)][-MOST_BRACES:]):
        try:
            said, _ = json.JSONDecoder().raw_decode(text, begin)
            return FourAnswers.model_validate(said).model_dump()
        except ValidationError as error:  # the outermost object tells most, and comes last
            first = error.errors()[0]
            where = ".".join(str(place) for place in first["loc"]) or "the answer"
            reason = f"the answer does not fit the schema: {where}: {first['msg']}"
        except (json.JSONDecodeError, RecursionError):
            pass
    raise BadAnswer(reason or "the answer holds no JSON object", text)


def check(parts: Mapping[str, str], clip: Clip, language: str, things: Collection[str]) -> None:
    """Raises BadAnswer for another language than the one asked for, or an object that is not in the scene.

    ``things``: names that are objects; one of them that is neither in view nor in the instruction was made up.
    """
    whole = " ".join(parts.values())
    if language != "any" and (spoken := other_language(whole, language)) is not None:
        raise BadAnswer(f"the answer is in another language: {spoken}", whole)
    if clip.objects is not None:
        invented = invented_things(whole, {*clip.objects, clip.instruction}, things)
        if invented:
            raise BadAnswer(f"the answer names what is not in the scene: {', '.join(invented)}", whole)


def other_language(text: str, wanted: str) -> str | None:
    """What tells that ``text`` is not in the language ``wanted`` (a key of LANGUAGES); None where nothing does."""
    letters = [letter for letter in text if letter.isalpha()]
    latin = sum("LATIN" in unicodedata.name(letter, "") for letter in letters)
    if letters and latin < 0.9 * len(letters):
        return "most letters are not Latin" if latin < 0.5 * len(letters) else "some letters are not Latin"
    words = [word.lower() for word in _WORD.findall(text)]
    hits = {name: sum(word in common for word in words) for name, common in _FUNCTION_WORDS.items()}
    likeliest = max(hits, key=lambda name: hits[name])
    if len(words) >= 5 and hits[likeliest] > 1.5 * hits[wanted] and hits[likeliest] >= 2:
        return f"it reads like {likeliest!r}, {wanted!r} was asked for"
    if len(words) >= 12 and hits[wanted] < LEAST_SHARE * len(words):
        return f"hardly a word is a common one of {wanted!r}, which was asked for"
    return None


def invented_things(text: str, known: Collection[str], things: Collection[str]) -> list[str]:
    """Names out of ``things`` that ``text`` says are there, of which not every word is among the words of ``known``."""
    familiar = {_singular(word) for name in known for word in _WORD.findall(name.lower())}
    said = f" {' '.join(_singular(word) for word in _WORD.findall(text.lower()))} "
    out = []
    for thing in sorted(things):
        words = [_singular(word) for word in _WORD.findall(thing.lower())]
        if words and not set(words) <= familiar and f" {' '.join(words)} " in _without_denials(said, words):
            out.append(thing)
    return out


def _without_denials(said: str, thing: list[str]) -> str:
    """``said`` less where it is said that ``thing`` is not there: "no cup or lemon", "the lemon is not in view"."""
    name, article = " ".join(map(re.escape, thing)), "(?: (?:a|an|the|any|other))?"
    others = rf"(?: \w+(?: \w+)? (?:or|nor){article})*"
    before = rf" (?:no|not|without|neither|nor|t){article}{others} {name}(?= )"  # t: of isn't and aren't
    after = rf" {name} (?:is|are) (?:absent|missing|not (?:in view|visible|there|present|here))(?= )"
    return re.sub(f"{before}|{after}", "", said)


def common_things() -> frozenset[str]:
    return frozenset(line.strip() for line in THINGS.read_text(encoding="utf-8").splitlines() if line.strip())


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
