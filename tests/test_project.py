"""What the set-up promises: pinned versions, types that are checked, a start without torch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from analysis.episodes.hdf5_writer import Series
from models.types import AttentionRecord, Part, Span, TokenLayout

ROOT = Path(__file__).parents[1]
REQUIREMENTS = sorted(ROOT.glob("requirements*.txt"))


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_pinned(path):
    pinned = {name.split("==")[0].lower() for name in lines(ROOT / "constraints.txt")}
    for line in lines(path):
        name, _, version = line.partition("==")
        assert name.lower() in pinned, f"{name} stands in {path.name} and not in constraints.txt"
        assert not version or line in lines(ROOT / "constraints.txt"), f"{line} is pinned otherwise in constraints.txt"


def test_pins_can_be_installed_by_anybody():
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", line) for line in lines(ROOT / "constraints.txt"))
    assert "torchvision==0.0.0" in lines(ROOT / "constraints.txt")
    # without torch's version in the same command pip may take one with gigabytes of CUDA packages
    assert "torch==2.13.0" in lines(ROOT / "requirements.txt")


@pytest.mark.slow  # make check leaves these checks out
def test_shapes_and_types_are_checked_in_this_run():
    layout = TokenLayout(("a",), (Span(Part.PROMPT, "prompt", 0, 1),))
    with pytest.raises(jaxtyping.TypeCheckError):
        AttentionRecord(np.zeros((2, 2)), (0, 1), (0,), (0,), layout)
    with pytest.raises(jaxtyping.TypeCheckError):
        Series(np.zeros(3), ("x",), ("m",))


@pytest.mark.parametrize(
    "module",
    [
        "models",
        "analysis.workspace",
        "analysis.attention",
        "analysis.compare",
        "analysis.capture_run",
        "analysis.__main__",
    ],
)
def test_importing_takes_no_torch(module):
    script = f"import sys, {module}; print([m for m in ('torch', 'transformers', 'streamlit') if m in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_continuous_integration_runs_the_whole_test(tmp_path):
    (tmp_path / "make").write_text("#!/bin/sh\necho make $@ in $(basename $(pwd))\n")
    (tmp_path / "make").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([ROOT / ".ci/run"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"make test in {ROOT.name}\n"
