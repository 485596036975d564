"""Checkpoints that several tests read; a test that changes one copies it first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_vlm import WRITERS


@pytest.fixture(scope="session")
def tiny_vlms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One vision-language checkpoint of every kind, by its name in tests.tiny_vlm.WRITERS."""
    place = tmp_path_factory.mktemp("vlm")
    return {case: write(place / case) for case, write in WRITERS.items()}
