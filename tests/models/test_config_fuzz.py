"""JSON files with random fields deleted or replaced: a checkpoint opens, or one sentence says why it does not."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import models
from models.errors import UserError
from tests.contracts.policy_cases import CASES

CHANGES = 10  # of each checkpoint
VALUES: tuple[Any, ...] = (
    None, 0, -1, -5, 1, 3, 300, 7.5, float("nan"), True, False, "", "text", "1e-6",
    [], [None], [1, 2], [[1, 2], [3]], ["a"], {}, {"a": 1},
)  # fmt: skip
SKIPPED = ("tokenizer.json",)  # read by the tokenizers library alone
ONE_OF_A_KIND = (
    "rationale", "gemma 2", "OpenVLA", "ECoT", "OpenVLA-OFT", "spatial", "SmolVLA", "pi0 with statistics",
    "LeRobot pi0", "VLM, paligemma 2", "VLM, llava", "VLM, llava next", "VLM, smolvlm", "VLM, qwen2 vl",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", ONE_OF_A_KIND)
def test_a_changed_configuration_opens_or_is_refused(case: str, tmp_path: Path) -> None:
    family, write = CASES[case]
    folder = write(tmp_path / "it")
    files = sorted(file for file in tmp_path.rglob("*.json") if file.name not in SKIPPED)
    random_ = random.Random(case)
    for _ in range(CHANGES):
        file = random_.choice(files)
        before = file.read_text()
        content = json.loads(before)
        change = _change(content, random_)
        file.write_text(json.dumps(content))
        try:
            _open(folder, family)
        except UserError as error:
            assert "\n" not in str(error), f"{file.name}: {change}"
        except Exception as error:
            raise AssertionError(f"{file.name}: {change} raises {type(error).__name__}") from error
        finally:
            file.write_text(before)


def _open(folder: Path, family: str) -> None:
    spec = models.inspect(folder, known_digest="it")
    key = spec.action_stats[0] if len(spec.action_stats) > 1 else None
    models.load(folder, family=family, action_stats=key, known_digest="it")


def _change(content: Any, random_: random.Random) -> str:
    """Delete or replace one entry, in place; those near the top as often as the many further down."""
    places = list(_places(content))
    if not places:
        return "nothing"
    depth = random_.choice((1, 2, 3, 6))
    *way, last = random_.choice([place for place in places if len(place) <= depth] or places)
    node = content
    for step in way:
        node = node[step]
    if isinstance(node, dict) and random_.random() < 0.3:
        del node[last]
        return f"{[*way, last]} deleted"
    node[last] = random_.choice(VALUES)
    return f"{[*way, last]} is {node[last]!r}"


def _places(node: Any, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in entries:
        yield (*way, key)
        yield from _places(value, (*way, key))
