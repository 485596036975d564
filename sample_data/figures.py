"""The measured figures of the sample policies, with n and 95 % intervals.

``python -m sample_data.figures`` prints them; ``--collect`` first reads them from ``build/evaluation``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from analysis.metrics.intervals import wilson
from analysis.metrics.significance import fisher_exact

HERE = Path(__file__).parent
FILE = HERE / "figures.json"
TITLES = {
    "expert": "scripted expert (privileged)",
    "still": "does nothing",
    "random": "random actions",
    "phase": "phase only (told the phase, sees nothing)",
    "base": "**base**",
    "tuned": "**reasoning-tuned**",
    "control": "action-only control (same steps as tuned)",
}
COMPARED = (("base", "still"), ("base", "random"), ("base", "phase"), ("tuned", "phase"), ("tuned", "base"))


def collect(folder: Path) -> dict[str, dict]:
    """Sums over all workers' lines: counts as [successes, trials]."""
    figures: dict[str, dict] = {}
    for name in TITLES:
        lines = [json.loads(line) for path in sorted(folder.glob(f"{name}-*.jsonl")) for line in path.open()]
        kept = {what: _results(lines, what) for what in ("closed", "pair", "open")}
        if any(kept.values()):
            figures[name] = {**_closed(kept["closed"]), **_pairs(kept["pair"]), **_open(kept["open"])}
    return figures


def _results(lines: list[dict], what: str) -> list[dict]:
    seen = {line["seed"]: line["result"] for line in lines if line["what"] == what and line["result"] is not None}
    return [seen[seed] for seed in sorted(seen)]


def _closed(results: list[dict]) -> dict:
    counts = {key: [sum(r[key] for r in results), len(results)] for key in ("success", "lifted", "wrong")}
    tasks = {r["task"] for r in results}
    by_task = {t: [r["success"] for r in results if r["task"] == t] for t in sorted(tasks)}
    return counts | {"by_task": {task: [sum(wins), len(wins)] for task, wins in by_task.items()}}


def _pairs(results: list[dict]) -> dict:
    return {"follows": [sum(r["follows"] for r in results), len(results)]}


def _open(results: list[dict]) -> dict:
    if not results:
        return {}
    errors = np.concatenate([np.array(r["error"]) for r in results])
    said = [score for r in results for score in r["rationale"]]
    grip = [right for r in results for right in r["grip_right"]]
    rationale = {key: [sum(s[key] for s in said), len(said)] for key in said[0]} if said else {}
    return {
        "frames": len(errors),
        "xyz_mm": (1e3 * errors[:, :3].mean(0)).round(1).tolist(),
        "yaw_rad": round(float(errors[:, 5].mean()), 3),
        "gripper": [int(sum(grip)), len(grip)],
        "rationale": rationale,
    }


def share(count: list[int]) -> str:
    """ "37/40 (0.80-0.97)"."""
    successes, trials = count
    if not trials:
        return "-"
    low, high = wilson(successes, trials)
    return f"{successes}/{trials} ({low:.2f}-{high:.2f})"


def table(figures: dict[str, dict]) -> str:
    """Markdown."""
    lines = [
        "| policy | success | lifted the right thing | lifted another | first action follows the moved thing | "
        "open-loop error x/y/z, mm | gripper right |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in figures.items():
        error = "/".join(f"{value:.1f}" for value in row["xyz_mm"]) if "xyz_mm" in row else "-"
        cells = [share(row[key]) for key in ("success", "lifted", "wrong", "follows")]
        grip = share(row["gripper"]) if "gripper" in row else "-"
        lines.append(f"| {TITLES[name]} | {' | '.join(cells)} | {error} | {grip} |")
    lines += ["", "| success by task | " + " | ".join(figures) + " |", "|---" * (len(figures) + 1) + "|"]
    for task in next(iter(figures.values()))["by_task"]:
        lines.append(
            f"| {task} | " + " | ".join(share(row["by_task"].get(task, [0, 0])) for row in figures.values()) + " |"
        )
    lines += ["", "| success | against | Fisher's exact p, two-sided |", "|---|---|---|"]
    for one, other in COMPARED:
        if one in figures and other in figures:
            p = fisher_exact(tuple(figures[one]["success"]), tuple(figures[other]["success"]))
            lines.append(f"| {TITLES[one]} | {TITLES[other]} | {p:.2g} |")
    for name, row in figures.items():
        if row.get("rationale"):
            lines += ["", f"| rationale of {TITLES[name]}, free-running | right |", "|---|---|"]
            lines += [f"| {key.replace('_', ' ')} | {share(count)} |" for key, count in row["rationale"].items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collect", action="store_true", help="read build/evaluation first and remember the sums")
    parser.add_argument("--folder", type=Path, default=HERE.parent / "build" / "evaluation")
    options = parser.parse_args()
    if options.collect:
        FILE.write_text(json.dumps(collect(options.folder), indent=1) + "\n")
    print(table(json.loads(FILE.read_text())))


if __name__ == "__main__":
    main()
