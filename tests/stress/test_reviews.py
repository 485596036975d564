"""The stress of reviews, small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.postgres import NoPostgres, Postgres
from tests.stress.reviews import SMALL, kills, many_reviews, scarce_items


@pytest.mark.slow
@pytest.mark.parametrize("run", [many_reviews, scarce_items])
def test_annotators_at_the_same_time(run, review_address, tmp_path: Path):
    assert "no item over its overlap" in run(review_address, tmp_path, SMALL)


@pytest.mark.slow
def test_kills_of_writers(tmp_path: Path):
    assert "none lost" in kills(str(tmp_path / "r.sqlite"), tmp_path, SMALL, None)


@pytest.mark.slow
def test_kills_of_writers_and_of_the_server(tmp_path: Path):
    try:
        server = Postgres.create()
    except NoPostgres as reason:
        pytest.skip(str(reason))
    try:
        assert "none lost" in kills(server.database(), tmp_path, SMALL, server)
    finally:
        server.remove()
