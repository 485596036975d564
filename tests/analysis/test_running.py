"""Device, number type and memory that a workspace's configuration asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.running import Running, machine_memory
from analysis.workspace import Workspace
from models.errors import UserError
from models.fakes import SPEC

HALF = replace(SPEC, dtype="bfloat16", parameters=1000)


@pytest.mark.parametrize(
    ("running", "spec", "used", "recorded", "size"),
    [
        (Running(), HALF, "float32", None, 4000),
        (Running(dtype="bfloat16"), HALF, "bfloat16", "bfloat16", 2000),
        (Running(device="cuda"), HALF, "bfloat16", "bfloat16", 2000),
        (Running(device="cuda:1"), replace(HALF, dtype="float64"), "float32", None, 4000),
        (Running(device="cuda", dtype="float32"), HALF, "float32", None, 4000),
    ],
)
def test_number_type(running, spec, used, recorded, size):
    assert (running.number_type(spec), running.recorded_number_type(spec)) == (used, recorded)
    assert running.memory_of(spec) == size


def test_a_workspace_says_it(tmp_path):
    (tmp_path / "workspace.toml").write_text(
        'device = "cuda"\ndtype = "float16"\nmemory_gb = 12\n[bases]\nlora = "models/base"\n'
    )
    opened = Workspace.open(tmp_path)
    assert opened.running == Running("cuda", "float16", 12)
    assert opened.bases == {"lora": tmp_path / "models" / "base"}
    assert opened.base_of(replace(SPEC, path=str(tmp_path / "x" / "lora"))) == tmp_path / "models" / "base"
    assert opened.base_of(SPEC) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('device = "gpu"', "device is 'gpu'; it can be cpu, cuda, mps"),
        ('dtype = "float8"', "dtype is 'float8'; it can be float32"),
        ('memory_gb = "much"', "memory_gb in .* is 'much'; expected a number"),
        ("memory_gb = 0", "memory_gb is 0; expected a number above zero"),
        ("bases = 3", "expected a table of folder name"),
        ("[bases]\na = 3", "expected a table of folder name"),
    ],
)
def test_what_cannot_be(tmp_path, text, sentence):
    (tmp_path / "workspace.toml").write_text(text)
    with pytest.raises(UserError, match=sentence):
        Workspace.open(tmp_path)


def test_there_is_memory():
    assert 10**8 < machine_memory() < 10**14
