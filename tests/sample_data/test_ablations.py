"""The ablation table in the docs is the one that the command prints, and the runs differ in one factor each."""

import json
from dataclasses import asdict
from pathlib import Path

from sample_data.ablations import DEFAULT, FILE, ROWS, table

DOCS = Path(__file__).parents[2] / "docs"


def test_the_docs_show_what_the_command_prints() -> None:
    assert table(json.loads(FILE.read_text())) in (DOCS / "ablations.md").read_text()


def test_each_run_changes_one_factor() -> None:
    for name, settings in ROWS.items():
        changed = {key for key, value in asdict(settings).items() if value != asdict(DEFAULT)[key]}
        assert len(changed) == (0 if name == "default" else 1), name
    assert {settings.reasoning_weight for settings in ROWS.values()} == {0, 0.1, 0.3, 1}
    assert {settings.frozen_layers for settings in ROWS.values()} == {0, 2, 3, 4}
