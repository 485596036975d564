"""Which families can open a checkpoint."""

from __future__ import annotations

import pytest

import models
from models import registry
from models.config_section import ConfigSection
from models.errors import UserError
from models.registry import Family


def config(**fields: str) -> ConfigSection:
    return ConfigSection("config.json:", fields)


@pytest.fixture(autouse=True)
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {
        "sums": Family(("abacus",), "sums", ""),
        "proofs": Family(("abacus", "slate"), "proofs", ""),
        "talking sums": Family((), "sums", ""),
        "arm": Family((), "arm", "", lerobot_types=("arm",)),
        "native arm": Family(("abacus_arm",), "native", "", lerobot_types=("arm", "hand")),
        "school": Family(("slate",), "school", "", names=("pupil",), states="lessons"),
        "marked": Family(("slate",), "marked", "", file="marks*.txt"),
    }
    monkeypatch.setattr(registry, "FAMILIES", made)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"model_type": "abacus"}, ("sums", "proofs", "talking sums")),
        ({"model_type": "slate"}, ("proofs", "school")),
        ({"type": "arm"}, ("arm", "native arm")),
        ({"type": "hand"}, ("native arm",)),
    ],
)
def test_alternatives(fields: dict[str, str], found: tuple[str, ...]) -> None:
    assert registry.alternatives(config(**fields)) == found
    assert registry.recognise(config(**fields)) == found[0]


def test_a_name_that_tells_puts_its_family_first() -> None:
    assert registry.alternatives(config(model_type="slate"), ("a pupil's slate",)) == ("school", "proofs")


def test_a_section_that_tells_puts_its_family_first() -> None:
    assert registry.alternatives(config(model_type="slate", lessons="many")) == ("school", "proofs")


def test_a_file_that_tells_leaves_no_other_family() -> None:
    found = registry.alternatives(config(model_type="slate"), ("a pupil's slate",), ("config.json", "marks-3.txt"))
    assert found == ("marked",)


def test_what_nobody_opens_has_none() -> None:
    with pytest.raises(UserError, match="'chalk'"):
        registry.alternatives(config(model_type="chalk"))


def test_of_a_folder(tiny_base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert models.alternatives(tiny_base)[0] == "paligemma"
