"""Texts of data sets and annotators come back as they were, from each database, or are refused with a sentence."""

from __future__ import annotations

import json

import pytest

from analysis.review import Judgement, PartJudgement, ProjectSettings, Source
from analysis.review.archive import archive_lines
from analysis.review.incoming import read_lines
from models.errors import UserError
from models.types import Rationale
from tests.analysis.review_world import Clock, open_store, say

TEXTS = {
    "html": "<script>alert('x')</script><img src=x onerror=alert(1)> &amp; \"'",
    "right to left": "\u202eאבג العربية \u202c\u200f",
    "emoji": "🤖👩‍🔬🏳️‍🌈 e\u0301",
    "NUL": "before\0after \x01\x1b[31m",
    "lone surrogates": "\ud800 and \udfff",
    "line ends": "one\r\ntwo\rthree\u2028four\n",
    "formula": "=1+1",
    "100 kB": "ä" * 100_000,
    "nothing": "",
    "SQL": "'; DROP TABLE reviews; -- %s :x {x}",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TEXTS)
def test_any_text_comes_back(review_address, kind):
    text = TEXTS[kind]
    store = open_store(review_address, Clock())
    source = Source(text, text, "d16e57", text, Rationale({text: text, "planning": text}, 0, 4, text), record="r")
    project = store.create_project(ProjectSettings("first", guidelines=text), [source], "lead")
    assert store.project(project.id).settings.guidelines == text
    (item,) = store.items(project.id)
    assert (item.source, list(item.source.rationale.parts)) == (source, [text, "planning"])
    said = Judgement((PartJudgement("planning", "wrong", ("other",), text + "!"),), "correct", text)
    assert store.save_draft(item.id, "ann", "review-of-ann", {"comment": text, text: [text]})
    assert store.draft(item.id, "ann").content == {"comment": text, text: [text]}
    say(store, item.id, "ann", said)
    (review,) = store.reviews(project.id)
    assert (review.judgement.comment, review.judgement.corrections) == (text, {"planning": text + "!"})
    assert review.judgement.parts[0].original == text
    lines = list(archive_lines(store, project.id))
    assert all(line.isascii() and "\n" not in line for line in lines)
    (row,) = (line.values for line in read_lines(lines) if line.kind == "review")
    assert row["judgement"]["comment"] == text


def test_a_sign_written_as_two_halves_is_refused(review_address):
    """JSON cannot tell it from the sign itself."""
    store = open_store(review_address, Clock())
    source = Source("data", "one", "d16e57", "lift", Rationale({"planning": "\ud83e\udd16"}, 0, 4, "teacher"))
    with pytest.raises(UserError, match="cannot be stored exactly"):
        store.create_project(ProjectSettings("first"), [source], "lead")
    assert store.projects() == ()


def test_names_of_people_are_compared_as_they_are_read(review_address):
    """An e with its accent as one sign or as two is the same name."""
    store = open_store(review_address, Clock())
    source = Source("data", "one", "d16e57", "lift", Rationale({"planning": "x"}, 0, 4, "teacher"))
    project = store.create_project(ProjectSettings("first", annotators=("Andr\u00e9",)), [source], "lead")
    (mine,) = store.next_items(project.id, " Andre\u0301 ")
    assert mine.annotator == "Andr\u00e9"
    assert json.dumps(mine.item.source.scores) == "{}"
