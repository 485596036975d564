"""Changes of an instruction or a rationale, what is random in them drawn from a seed. Pure.

Interventions make them on request, and verdicts compare what they do.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from analysis.things import named
from models.types import Rationale

SYNONYMS = (  # the first that fits is used, both ways: what is asked for stays the same
    ("pick up", "grasp"),
    ("put", "place"),
    ("move", "put"),
    ("set", "place"),
    ("lay", "place"),
    ("grab", "take"),
    ("lift", "raise"),
    ("close", "shut"),
    ("push", "shove"),
    ("stack", "put"),
)
OPPOSITES = (  # words of direction and state that a rationale steers by, both ways
    ("left", "right"),
    ("up", "down"),
    ("upward", "downward"),
    ("forward", "back"),
    ("backward", "forward"),
    ("above", "below"),
    ("over", "under"),
    ("top", "bottom"),
    ("front", "behind"),
    ("near", "far"),
    ("inside", "outside"),
    ("open", "close"),
    ("opened", "closed"),
    ("opening", "closing"),
    ("raise", "lower"),
    ("lift", "lower"),
    ("grasp", "release"),
    ("pick", "drop"),
    ("push", "pull"),
    ("clockwise", "counterclockwise"),
)
WORD = re.compile(r"[^\W_]+", re.UNICODE)
SENTENCE = re.compile(r"(?<=[.;!?])\s+")  # what stands between two


def shuffled(text: str, seed: int) -> str | None:
    """The words in another order; None where there is no other."""
    words = text.split()
    if len(set(words)) < 2:
        return None
    draw = random.Random(seed)
    while (mixed := draw.sample(words, len(words))) == words:
        pass
    return " ".join(mixed)


def negated(text: str) -> str | None:
    return f"do not {text[0].lower()}{text[1:]}" if text else None


def paraphrased(text: str) -> str | None:
    """The same wish in other words: a verb by its synonym, else "please" before it."""
    for one, other in SYNONYMS:
        for old, new in ((one, other), (other, one)):
            changed = re.sub(rf"^{old}\b", new, text, count=1, flags=re.IGNORECASE)
            if changed != text:
                return re.sub(r"\bonto\b", "on", changed)
    return f"please {text}" if text else None


def other_object(text: str, names: Sequence[str], others: Sequence[str]) -> str | None:
    """The first of ``names`` in the text replaced by one of ``others`` that is not in it; None where there is none."""
    first = sorted((name for name in names if named(name, text)), key=lambda name: _place(name, text))
    free = [name for name in others if not named(name, text)]
    return replaced_name(text, first[0], free[0]) if first and free else None


def replaced_name(text: str, name: str, other: str) -> str:
    """Every place where ``name`` stands, in any case and plural, says ``other`` instead."""
    pattern = r"[\W_]+".join(re.escape(word) for word in WORD.findall(name))
    return re.sub(rf"\b{pattern}(s?)\b", lambda found: other + found[1], text, flags=re.IGNORECASE)


def swapped(rationale: Rationale, one: str, other: str) -> Rationale:
    """``one`` and ``other`` in each other's place in every part."""
    mark = "\0"
    parts = {
        part: replaced_name(replaced_name(text, one, mark), other, one).replace(mark, other)
        for part, text in rationale.parts.items()
    }
    return replace(rationale, parts=parts)


def opposite(rationale: Rationale) -> Rationale:
    """Every word of direction or state by its opposite (`OPPOSITES`), in every part; the same where there is none."""
    other = {word: instead for pair in reversed(OPPOSITES) for word, instead in (pair, pair[::-1])}
    pattern = re.compile(rf"\b({'|'.join(other)})\b", re.IGNORECASE)
    parts = {part: pattern.sub(lambda found: other[found[1].lower()], text) for part, text in rationale.parts.items()}
    return replace(rationale, parts=parts)


def without_words(rationale: Rationale) -> Rationale:
    """Every part without any word."""
    return replace(rationale, parts=dict.fromkeys(rationale.parts, ""))


def without_part(rationale: Rationale, part: str) -> Rationale:
    """Without one of its parts."""
    return replace(rationale, parts={name: text for name, text in rationale.parts.items() if name != part})


def shuffled_words(rationale: Rationale, seed: int) -> Rationale:
    """The words of every part in another order, inside the part; the same where no part has another."""
    return replace(rationale, parts={name: shuffled(text, seed) or text for name, text in rationale.parts.items()})


def shuffled_sentences(rationale: Rationale, seed: int) -> Rationale:
    """All sentences in another order, across parts, of which each keeps its number; the same where there is none."""
    cut = {name: [each for each in SENTENCE.split(text) if each] for name, text in rationale.parts.items()}
    every = [sentence for sentences in cut.values() for sentence in sentences]
    draw, mixed = random.Random(seed), list(every)
    while len(set(every)) > 1 and mixed == every:
        draw.shuffle(mixed)
    rest = iter(mixed)
    return replace(rationale, parts={name: " ".join(next(rest) for _ in own) for name, own in cut.items()})


def changed_words(one: Rationale, other: Rationale) -> int:
    """Words that differ, place by place, and those that one has more."""
    count = 0
    for part in {*one.parts, *other.parts}:
        left, right = one.parts.get(part, "").split(), other.parts.get(part, "").split()
        count += sum(a != b for a, b in zip(left, right, strict=False)) + abs(len(left) - len(right))
    return count


def with_random_words(rationale: Rationale, count: int, pool: Sequence[str], seed: int) -> Rationale:
    """``count`` of its words, at random places, replaced by random other words of ``pool``."""
    draw = random.Random(seed)
    words = {part: text.split() for part, text in rationale.parts.items()}
    places = [(part, index) for part, own in words.items() for index in range(len(own)) if WORD.search(own[index])]
    for part, index in draw.sample(places, min(count, len(places))):
        others = [word for word in pool if word != words[part][index]]
        words[part][index] = draw.choice(others) if others else words[part][index]
    parts = {part: " ".join(own) for part, own in words.items()}
    return replace(rationale, parts=parts)


def words_in(*rationales: Rationale) -> tuple[str, ...]:
    """The different words of several rationales, sorted, without punctuation."""
    return tuple(sorted({word for each in rationales for word in each.text.split() if WORD.fullmatch(word)}))


def _place(name: str, text: str) -> int:
    pattern = r"[\W_]+".join(re.escape(word) for word in WORD.findall(name))
    found = re.search(rf"\b{pattern}", text, flags=re.IGNORECASE)
    return found.start() if found else len(text)
