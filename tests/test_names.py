"""Every global name that code reads is defined: ruff and mypy leave that out, for shapes in annotations name axes."""

from __future__ import annotations

import builtins
import dis
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("app", "analysis", "models", "sample_data", "benchmarks", "tests", "docs")
GIVEN = {*dir(builtins), "__annotations__", "__file__", "__path__"}


def code_in(code: CodeType) -> Iterator[tuple[CodeType, bool]]:
    """A module's code and that of all functions and classes in it; whether it is the module's own."""
    todo = [(code, True)]
    while todo:
        found, own = todo.pop()
        yield found, own
        todo += [(constant, False) for constant in found.co_consts if isinstance(constant, CodeType)]


def undefined(source: str, name: str) -> set[str]:
    known, read = set(GIVEN), set()
    for code, own in code_in(compile(source, name, "exec", dont_inherit=True)):
        for step in dis.get_instructions(code):
            if step.opname == "STORE_GLOBAL" or (own and step.opname == "STORE_NAME"):
                known.add(step.argval)
            elif step.opname == "LOAD_GLOBAL" or (own and step.opname == "LOAD_NAME"):
                read.add(step.argval)
    return read - known


def test_an_undefined_name_is_found():
    assert undefined("import os\ndef f():\n    return os.sep + missing\n", "x") == {"missing"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_name_is_defined(folder):
    found = {str(path): undefined(path.read_text(), str(path)) for path in (ROOT / folder).rglob("*.py")}
    assert found
    assert {path: names for path, names in found.items() if names} == {}
