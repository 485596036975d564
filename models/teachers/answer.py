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
    found = re.search(r"\{.*\}", text, re.DOTALL)  # some endpoints wrap it in words or a code fence
    try:
        parts = FourAnswers.model_validate(json.loads(found[0] if found else text)).model_dump()
    except json.JSONDecodeError as error:
        raise BadAnswer(f"the answer is no JSON ({error.msg})", text) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(place) for place in first["loc"]) or "the answer"
        raise BadAnswer(f"the answer does not fit the schema: {where}: {first['msg']}", text) from None
    for part in PARTS:
        if not _WORD.search(parts[part]):
            raise BadAnswer(f"the part {part} is empty", text)
    return {part: parts[part] for part in PARTS}


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
    return None


def invented_things(text: str, known: Collection[str], things: Collection[str]) -> list[str]:
    """Names out of ``things`` in ``text`` of which no word is among the words of ``known``."""
    familiar = {_singular(word) for name in known for word in _WORD.findall(name.lower())}
    said = f" {' '.join(_singular(word) for word in _WORD.findall(text.lower()))} "
    out = []
    for thing in sorted(things):
        words = [_singular(word) for word in _WORD.findall(thing.lower())]
        if words and not set(words) <= familiar and f" {' '.join(words)} " in said:
            out.append(thing)
    return out


def common_things() -> frozenset[str]:
    return frozenset(line.strip() for line in THINGS.read_text(encoding="utf-8").splitlines() if line.strip())


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
