"""A project as lines of JSON: all that was ever written of it, and what came out; docs/reviews.md lists the lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from analysis.review.final import MAJORITY_RULE, Final, Rule, finals
from analysis.review.item import Adjudication, Gold, Item, Review, Source
from analysis.review.judgement import judgement_to_json
from analysis.review.project import Project, settings_to_json
from analysis.review.store import ReviewStore

FORMAT, VERSION = "vla-lens-reviews", 1
COLUMNS = (
    "project", "dataset", "episode", "start", "stop", "rationale_author", "rationale_digest", "part", "original",
    "final", "outcome", "rule", "agreement", "annotator", "overall", "verdict", "errors", "correction", "comment",
    "seconds", "time", "review", "tool",
)  # fmt: skip


def archive_lines(store: ReviewStore, project: str, rule: Rule = MAJORITY_RULE) -> Iterator[str]:
    """Lines of JSON without line ends, ASCII: a project, its versions, items, all reviews, decisions, then outcomes."""
    found, items = store.project(project), store.items(project)
    digests = {item.id: item.digest for item in items}
    yield _line("project", _project(found))
    for change in store.project_history(project):
        yield _line(
            "version", asdict(change) | {"settings": settings_to_json(change.settings), "time": _time(change.time)}
        )
    for item in items:
        yield _line("item", _item(item))
    for review in store.review_history(project):
        yield _line("review", _review(review))
    for kind, decisions in (
        ("adjudication", store.adjudication_history(project)),
        ("gold", store.gold_history(project)),
    ):
        for decision in decisions:
            yield _line(kind, _decision(decision) | {"digest": digests[decision.item]})
    for final in finals(items, store.reviews(project), store.adjudications(project), rule):
        yield _line("final", final_to_json(final))


def source_to_json(source: Source) -> dict[str, Any]:
    """A rationale as a line of JSON, as `read_rationale` takes it."""
    said = source.rationale
    return {
        "dataset": source.dataset,
        "episode": source.episode,
        "episode_digest": source.episode_digest,
        "instruction": source.instruction,
        "start": said.start,
        "stop": said.stop,
        "author": said.author,
        "parts": dict(said.parts),
        "scores": dict(source.scores),
        "record": source.record,
    }


def final_to_json(final: Final) -> dict[str, Any]:
    """The outcome of an item, with the rationale as it is to be used."""
    source = source_to_json(final.item.source) | {"parts": dict(final.rationale.parts)}
    return source | {
        "digest": final.item.digest,
        "outcome": final.outcome,
        "rule": final.rule,
        "annotators": list(final.annotators),
        "reviews": list(final.reviews),
        "agreement": final.agreement,
        "adjudicated_by": final.adjudicated_by,
        "time": None if final.time is None else _time(final.time),
        "originals": dict(final.originals),
    }


def csv_text(project: Project, outcomes: Sequence[Final], reviews: Sequence[Review]) -> str:
    """A row for each part that a review judged, and one with an empty part for a review that judged none.

    A text that a spreadsheet would take for a formula gets a ``'`` in front: JSON lines are exact, this is for reading.
    """
    of_item = {final.item.id: final for final in outcomes}
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for review in reviews:
        for row in _rows(project, of_item[review.item], review):
            writer.writerow({name: _harmless(value) for name, value in row.items()})
    return out.getvalue()


def _rows(project: Project, final: Final, review: Review) -> Iterator[dict[str, Any]]:
    source, said = final.item.source, review.judgement
    assert said is not None
    shared = {
        "project": project.settings.name,
        "dataset": source.dataset,
        "episode": source.episode,
        "start": source.rationale.start,
        "stop": source.rationale.stop,
        "rationale_author": source.rationale.author,
        "rationale_digest": final.item.digest,
        "outcome": final.outcome,
        "rule": final.rule,
        "agreement": final.agreement,
        "annotator": review.annotator,
        "overall": said.overall,
        "comment": said.comment,
        "seconds": review.seconds,
        "time": _time(review.time),
        "review": review.id,
        "tool": review.tool,
    }
    if not said.parts:
        yield shared
    for one in said.parts:
        yield shared | {
            "part": one.part,
            "original": one.original,
            "final": final.rationale.parts.get(one.part, ""),
            "verdict": one.verdict,
            "errors": "; ".join(one.errors),
            "correction": one.correction,
        }


def _harmless(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _line(kind: str, values: Mapping[str, Any]) -> str:
    return json.dumps({"kind": kind, **values}, allow_nan=False)


def _project(project: Project) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "id": project.id,
        "settings": settings_to_json(project.settings),
        "selection": asdict(project.selection),
        "author": project.created_by,
        "time": _time(project.created),
    }


def _item(item: Item) -> dict[str, Any]:
    return source_to_json(item.source) | {"number": item.number, "overlap": item.overlap, "digest": item.digest}


def _review(review: Review) -> dict[str, Any]:
    return {
        "id": review.id,
        "digest": review.digest,
        "annotator": review.annotator,
        "judgement": None if review.judgement is None else judgement_to_json(review.judgement),
        "time": _time(review.time),
        "tool": review.tool,
        "supersedes": review.supersedes,
        "undoes": review.undoes,
        "seconds": review.seconds,
        "origin": review.origin,
    }


def _decision(decision: Adjudication | Gold) -> dict[str, Any]:
    said = decision.judgement
    return {
        "version": decision.version,
        "judgement": None if said is None else judgement_to_json(said),
        "author": decision.author,
        "time": _time(decision.time),
        "tool": decision.tool,
    }


def _time(moment: datetime) -> str:
    return moment.isoformat()
