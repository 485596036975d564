"""The questions that are answered from measurements, each a pure function of them. Rules in docs/verdicts.md."""

from __future__ import annotations

import numpy as np

from analysis.evidence.measurements import Measurements
from analysis.evidence.verdict import ALPHA, Number, Sample, Verdict, Word, not_given, said, too_few

NEGLIGIBLE = 0.02  # of a change, in bits of Jensen-Shannon divergence or of the action range: counts as none
MEANING, FORM, SAME = ("other object", "negated"), ("blank", "shuffled"), ("paraphrase",)
SWAPS, DROPS = ("swap", "another step"), ("drop",)

INSTRUCTION_RULE = (
    "used: edits of the meaning (other object, negated) move the action more than a paraphrase does (interval of the "
    f"difference above 0, sign-flip p < {ALPHA}) and by more than {NEGLIGIBLE}. Its form only: blanking or shuffling "
    f"does, edits of the meaning do not. Not used: the intervals of all edits lie below {NEGLIGIBLE}. Else cannot tell."
)
RATIONALE_RULE = (
    "used: edits of the meaning (an entity swapped, another step's rationale) move the action more than as many random "
    f"words do (interval of the difference above 0, sign-flip p < {ALPHA}) and by more than {NEGLIGIBLE}. Decorative: "
    f"the intervals of all edits lie below {NEGLIGIBLE}, or the rationale is written after the action. Its words only: "
    "both move it, meaning not more than random words. Else cannot tell."
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
    meaning, form = (sample.mean_of([f"instruction {name}" for name in names]) for names in (MEANING, FORM))
    baseline = np.nan_to_num(every["paraphrase"], nan=0.0)
    numbers = tuple(sample.number(name, values, measured.unit) for name, values in every.items())
    effect = sample.number("edits of the meaning - paraphrase", meaning - baseline, measured.unit)
    if sample.too_few(meaning):
        return too_few(question, effect, INSTRUCTION_RULE, numbers, sample)
    changed = sample.number("edits of the meaning", meaning, measured.unit)
    formal = sample.number("blank and shuffled - paraphrase", form - baseline, measured.unit)
    p, formal_p = sample.test(meaning - baseline), sample.test(form - baseline)
    if _clear(effect, p) and changed.estimate.value > NEGLIGIBLE:
        word, says = Word.YES, "used"
    elif _negligible(changed) and _negligible(sample.number("", form, measured.unit)):
        word, says = Word.NO, "not used"
    elif _clear(formal, formal_p) and formal.estimate.value > NEGLIGIBLE:
        word, says = Word.PARTLY, "its form only"
    else:
        word, says = Word.UNCLEAR, "cannot tell"
    because = f"Edits of the meaning move the action by {said(changed)}; more than a paraphrase by {said(effect)}."
    return _verdict(question, word, says, because, INSTRUCTION_RULE, effect, p, (*numbers, formal), sample)


def reasoning_used(measured: Measurements) -> Verdict:
    """Is the rationale used, or decorative?"""
    sample, question = Sample.of(measured), "Is the rationale used?"
    if (why := missing(measured, "rationale", "rationale first")) is not None:
        return not_given(question, why, RATIONALE_RULE, sample)
    every = {name: sample.values(f"rationale {name}") for name in (*SWAPS, *DROPS, "random")}
    first = sample.values("rationale first")
    if not np.isnan(first).all() and (np.nan_to_num(first) == 0).all():
        number = sample.number("rationale before the action", first, "share of steps")
        why = f"It is written after the action at all {len(measured.steps)} measured steps and cannot change it."
        return _verdict(question, Word.NO, "decorative", why, RATIONALE_RULE, number, float("nan"), (), sample)
    meaning = sample.mean_of([f"rationale {name}" for name in SWAPS])
    random = sample.mean_of([f"rationale random for {name}" for name in SWAPS])
    numbers = tuple(sample.number(name, values, measured.unit) for name, values in every.items())
    effect = sample.number("edits of the meaning - random words", meaning - random, measured.unit)
    if sample.too_few(meaning - random):
        return too_few(question, effect, RATIONALE_RULE, numbers, sample)
    changed, noise = (
        sample.number("edits of the meaning", meaning, measured.unit),
        sample.number("random", random, measured.unit),
    )
    p = sample.test(meaning - random)
    if _clear(effect, p) and changed.estimate.value > NEGLIGIBLE:
        word, says = Word.YES, "used"
    elif _negligible(changed) and _negligible(noise):
        word, says = Word.NO, "decorative"
    elif min(changed.estimate.low, noise.estimate.low) > NEGLIGIBLE and not _clear(effect, p):
        word, says = Word.PARTLY, "its words only"
    else:
        word, says = Word.UNCLEAR, "cannot tell"
    because = f"Edits of the meaning move the action by {said(changed)}, as many random words by {said(noise)}."
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
