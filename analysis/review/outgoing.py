"""A project's outcome as files: lines of JSON, a table, or episodes with the rationales that were let pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from analysis.atomic_file import replaced
from analysis.export import FORMATS as EPISODE_FORMATS
from analysis.export import export_episodes
from analysis.review.archive import archive_lines, csv_text
from analysis.review.final import MAJORITY_RULE, Rule
from analysis.review.reviewed_source import project_finals, reviewed_source
from analysis.workspace import Workspace
from models.errors import UserError

FORMATS = ("jsonl", "csv", *EPISODE_FORMATS)
Progress = Callable[[int, int], None]  # done, of how many


@dataclass(frozen=True)
class Written:
    """What an export wrote."""

    path: Path
    format: str
    count: int  # lines, rows or episodes
    outcomes: dict[str, int]  # accept, correct, reject, undecided -> items
    skipped: tuple[str, ...]  # episodes that were left out, with the reason


def export_project(
    workspace: Workspace,
    project: str,
    out: Path,
    format: str,
    rule: Rule = MAJORITY_RULE,
    *,
    datasets: Iterable[str] = (),
    notes: bool = True,
    video: bool = False,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Written:
    """``jsonl``: a file with everything; ``csv``: one with the reviews that count; ``hdf5`` and ``lerobot``: a folder
    with what may be trained on.

    ``notes``: episodes also say how each rationale was reviewed. The file or folder appears when it is whole. Raises
    UserError for a format, project or place that cannot be.
    """
    if format not in FORMATS:
        raise UserError(f"there is no format {format!r} to export reviews to; the formats are {', '.join(FORMATS)}")
    found = project_finals(workspace, project, rule)
    outcomes = {name: sum(one.outcome == name for one in found) for name in sorted({one.outcome for one in found})}
    if format in EPISODE_FORMATS:
        source = reviewed_source(workspace, project, rule, datasets, notes)
        told = export_episodes(source, out, format, skip_broken=skip_broken, video=video, progress=progress)
        return Written(told.path, format, told.episodes, outcomes, tuple(one.reason for one in told.skipped))
    store = workspace.reviews
    if format == "jsonl":
        texts = [f"{line}\n" for line in archive_lines(store, project, rule)]
    else:
        texts = csv_text(store.project(project), found, store.reviews(project)).splitlines(keepends=True)
    _write(out.expanduser().absolute(), "".join(texts))
    return Written(out, format, len(texts), outcomes, ())


def _write(path: Path, text: str) -> None:
    if path.exists():
        raise UserError(f"{path} is there already; name a new file")
    try:
        with replaced(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
            stream.write(text)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}; free space or name another") from None
