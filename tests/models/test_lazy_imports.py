"""The first page of the app must not wait for torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_checkpoints import write_action_token_paligemma

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_inspecting_and_comparing_import_no_torch(tmp_path: Path) -> None:
    one, other = (write_action_token_paligemma(tmp_path / name, rationale=False) for name in ("one", "other"))
    program = (
        "import sys, models, models.types, models.policy, models.fakes, models.images, models.weight_change as w;"
        f"models.inspect({str(one)!r}); w.weight_change({str(one)!r}, {str(other)!r});"
        "print([name for name in ('torch', 'transformers', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
