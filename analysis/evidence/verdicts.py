"""The questions that are answered from measurements, each a pure function of them. Rules in docs/verdicts.md."""

from __future__ import annotations

import numpy as np

from analysis.evidence.measurements import Measurements
from analysis.evidence.probes.rationale import CHANGES_OF_MEANING
from analysis.evidence.verdict import ALPHA, Number, Sample, Verdict, Word, mean_over, not_given, said, too_few

NEGLIGIBLE = 0.02  # of a change, in bits of Jensen-Shannon divergence or of the action range: counts as none
MEANING, FORM, SAME = ("other object", "negated"), ("blank", "shuffled"), ("paraphrase",)
ALONE = ("swap", "opposite")  # of which one edit of the meaning is made; told, and decide nothing
LESS = ("drop", "none")  # words taken from the rationale

INSTRUCTION_RULE = (
    "used: edits of the meaning (other object, negated) move the action more than a paraphrase does (interval of the "
    f"difference above 0, sign-flip p < {ALPHA}) and by more than {NEGLIGIBLE}. Its form only: blanking or shuffling "
    f"moves it by more than {NEGLIGIBLE} (interval), edits of the meaning not more than a paraphrase. Not used: the "
    f"intervals of all edits lie below {NEGLIGIBLE}. Else cannot tell."
)
RATIONALE_RULE = (
    "used: edits of the meaning (things exchanged and directions turned, another step's rationale) move the action "
    f"more than as many random words do (interval of the difference above 0, sign-flip p < {ALPHA}) and by more than "
    f"{NEGLIGIBLE}. Decorative: the intervals of all edits lie below {NEGLIGIBLE}, all words left out among them, or "
    "the rationale is written after the action. Its words only: random words, or words left out, move it by more than "
    f"{NEGLIGIBLE} (interval), meaning not more than random words. Else cannot tell."
)
GROUNDING_RULE = (
    "above chance: the interval of (share inside the named things - their share of the area) lies above 0 and the "
    f"sign-flip p < {ALPHA}; below chance: under 0; else cannot tell."
)


def instruction_used(measured: Measurements) -> Verdict:
    """Is the instruction used?"""
    sample, question = Sample.of(measured), "Is the instruction used?"
    if (why := missing(measured, "instruction", "instruction blank")) is not None:
        return not_given(question, why, INSTRUCTION_RULE, sample)
    every = {name: sample.values(f"instruction {name}") for name in (*MEANING, *FORM, *SAME)}
    meaning = sample.mean_of([f"instruction {name}" for name in MEANING])
    numbers = tuple(sample.number(name, values, measured.unit) for name, values in every.items())
    # Where no paraphrase was measured there is no telling a change of meaning from a change of words.
    effect = sample.number("edits of the meaning - paraphrase", meaning - every["paraphrase"], measured.unit)
    if sample.too_few(meaning):
        return too_few(question, effect, INSTRUCTION_RULE, numbers, sample)
    changed = sample.number("edits of the meaning", meaning, measured.unit)
    p = sample.test(meaning - every["paraphrase"])
    if _clear(effect, p) and changed.estimate.value > NEGLIGIBLE:
        word, says = Word.YES, "used"
    elif all(_negligible(number) for number in (changed, *numbers)):
        word, says = Word.NO, "not used"
    elif any(_moves(number) for number in numbers if number.label in FORM):
        word, says = Word.PARTLY, "its form only"
    else:
        word, says = Word.UNCLEAR, "cannot tell"
    because = f"Edits of the meaning move the action by {said(changed)}; more than a paraphrase by {said(effect)}."
    return _verdict(question, word, says, because, INSTRUCTION_RULE, effect, p, numbers, sample)


def reasoning_used(measured: Measurements) -> Verdict:
    """Is the rationale used, or decorative?"""
    sample, question = Sample.of(measured), "Is the rationale used?"
    if (why := missing(measured, "rationale", "rationale first")) is not None:
        return not_given(question, why, RATIONALE_RULE, sample)
    first = sample.values("rationale first")
    if not np.isnan(first).all() and (np.nan_to_num(first) == 0).all():
        number = sample.number("rationale before the action", first, "share of steps")
        why = f"It is written after the action at all {len(measured.steps)} measured steps and cannot change it."
        return _verdict(question, Word.NO, "decorative", why, RATIONALE_RULE, number, float("nan"), (), sample)
    edits = {name: sample.values(f"rationale {name}") for name in (*CHANGES_OF_MEANING, *ALONE, *LESS, "random")}
    numbers = tuple(sample.number(name, values, measured.unit) for name, values in edits.items())
    # Each edit against its own control, and only where both were measured.
    pairs = [(edits[name], sample.values(f"rationale random for {name}")) for name in CHANGES_OF_MEANING]
    differences = mean_over([edited - control for edited, control in pairs])
    effect = sample.number("edits of the meaning - random words", differences, measured.unit)
    if sample.too_few(differences) and sample.too_few(edits["none"]):
        return too_few(question, effect, RATIONALE_RULE, numbers, sample)
    meaning = sample.number("edits of the meaning", mean_over([edited for edited, _ in pairs]), measured.unit)
    noise, left_out = (next(number for number in numbers if number.label == name) for name in ("random", "none"))
    p = sample.test(differences)
    if _clear(effect, p) and meaning.estimate.value > NEGLIGIBLE:
        word, says = Word.YES, "used"
    elif left_out.estimate.n and all(_negligible(number) for number in (meaning, *numbers)):
        word, says = Word.NO, "decorative"
    elif any(_moves(number) for number in numbers if number.label in (*LESS, "random")):
        word, says = Word.PARTLY, "its words only"
    else:
        word, says = Word.UNCLEAR, "cannot tell"
    because = (
        f"Edits of the meaning move the action by {said(meaning)}, as many random words by {said(noise)}, "
        f"all words left out by {said(left_out)}."
    )
    return _verdict(question, word, says, because, RATIONALE_RULE, effect, p, numbers, sample)


def grounded(measured: Measurements, kind: str) -> Verdict:
    """Does the ``kind`` of map ("attention", "significance") rest on what the instruction names?"""
    sample = Sample.of(measured)
    title = {"attention": "Does attention rest", "significance": "Do causal effects (ISS) rest"}[kind]
    question = f"{title} on the named things?"
    if (why := missing(measured, kind, f"{kind} in object")) is not None:
        return not_given(question, why, GROUNDING_RULE, sample)
    values = sample.values(f"{kind} in object")
    effect = sample.number("share inside - share of the area", values, "")
    numbers = tuple(
        sample.number(label, sample.values(f"{kind} {name}"), "")
        for name, label in (
            ("in object ratio", "share inside / share of the area"),
            ("hit", "pointing game: hits - chance"),
            ("nmr", "NMR@10 %: mass of the top patches outside of named things and robot"),
            ("entropy", "entropy of the map, 0 to 1"),
        )
    )
    if np.isnan(values).all():
        why = "No named thing has a mask or a box at the measured steps; draw boxes, or use episodes that have some."
        if not np.isnan(sample.values("named area")).all():
            why = "The map is zero at all measured steps: hiding parts of the image did not move the action."
        return not_given(question, why, GROUNDING_RULE, sample)
    if sample.too_few(values):
        return too_few(question, effect, GROUNDING_RULE, numbers, sample)
    p = sample.test(values)
    clear = effect.estimate.excludes_zero and p < ALPHA
    if clear:
        word, says = (Word.YES, "above chance") if effect.estimate.value > 0 else (Word.NO, "below chance")
    else:
        word, says = Word.UNCLEAR, "cannot tell from chance"
    because = f"Share inside the named things minus their share of the area: {said(effect)}."
    return _verdict(question, word, says, because, GROUNDING_RULE, effect, p, numbers, sample)


def missing(measured: Measurements, probe: str, value: str) -> str | None:
    """Why a question cannot be answered: the policy cannot be asked, or was not."""
    if probe in measured.not_measured:
        return f"{measured.not_measured[probe]}."
    return None if value in measured.names() else f"It takes the measure “{probe}”, which was not measured."


def all_verdicts(measured: Measurements) -> tuple[Verdict, ...]:
    """Every question, in the order in which a page shows them."""
    return (
        instruction_used(measured),
        reasoning_used(measured),
        grounded(measured, "attention"),
        grounded(measured, "significance"),
    )


def _clear(effect: Number, p: float) -> bool:
    return effect.estimate.has_interval and effect.estimate.low > 0 and p < ALPHA


def _moves(number: Number) -> bool:
    """More than `NEGLIGIBLE` with its whole interval."""
    return number.estimate.has_interval and number.estimate.low > NEGLIGIBLE


def _negligible(number: Number) -> bool:
    """Below `NEGLIGIBLE` with its whole interval; what was not measured does not speak against it."""
    return number.estimate.n == 0 or (number.estimate.has_interval and number.estimate.high < NEGLIGIBLE)


def _verdict(
    question: str,
    word: Word,
    says: str,
    because: str,
    rule: str,
    effect: Number,
    p: float,
    numbers: tuple[Number, ...],
    sample: Sample,
) -> Verdict:
    steps = len(sample.measured.steps)
    return Verdict(question, word, says, because, rule, effect, p, numbers, sample.unit, steps)
