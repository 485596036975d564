"""Rationales that people accepted or corrected, as lines that training reads."""

from __future__ import annotations

import re
from pathlib import Path

from analysis.atomic_file import replaced
from analysis.rationales.rationale_file import KeptRationale, line_of
from analysis.review.final import Rule, finals
from analysis.workspace import Workspace
from models.errors import UserError


def write_reviewed(workspace: Workspace, project: str, rule: Rule) -> Path:
    """Writes ``exports/reviewed-PROJECT-RULE.jsonl``: a line for each rationale that is good by ``rule``.

    Where more than one review is needed, their number follows the rule's name. The same reviews always give the same
    bytes. Raises UserError where none is good.
    """
    store = workspace.reviews
    outcomes = finals(store.items(project), store.reviews(project), store.adjudications(project), rule)
    good = [one for one in outcomes if one.good]
    if not good:
        name = store.project(project).settings.name
        raise UserError(
            f"no rationale of the project {name!r} is accepted or corrected by the rule {rule.name!r} with at least "
            f"{rule.least} reviews"
        )
    lines = [
        KeptRationale(
            one.item.source.episode,
            one.item.source.episode_digest,
            one.rationale,
            {"reviewed": one.outcome, "rule": one.rule, "by": ", ".join(sorted(one.annotators)), "project": project},
            one.time.strftime("%Y-%m-%dT%H:%M:%SZ") if one.time is not None else "",
        )
        for one in good
    ]
    least = f"-{rule.least}" if rule.least > 1 else ""
    name = f"reviewed-{re.sub(r'[^A-Za-z0-9_-]', '_', project)}-{rule.name}{least}.jsonl"
    path = workspace.path / "exports" / name
    with replaced(path) as part:
        part.write_bytes(b"".join(line_of(line.as_json()) for line in lines))
    return path
