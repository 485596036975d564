"""What all tests share: quiet threads, tiny checkpoints, a small episode."""

from __future__ import annotations

import os

# before anything imports torch: idle OpenMP threads spin and slow a busy machine down tenfold
os.environ.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="0")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may depend on the network
os.environ.setdefault("MUJOCO_GL", "egl")  # before any test imports mujoco: there is no screen

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import NoPostgres, Postgres
from tests.tiny_checkpoints import write_action_token_paligemma
from tests.tiny_episode import write_tiny_episode

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight checkpoint that predicts actions only."""
    return write_action_token_paligemma(tmp_path_factory.mktemp("checkpoints") / "base", rationale=False)


@pytest.fixture(scope="session")
def tiny_tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight checkpoint that generates a rationale first."""
    return write_action_token_paligemma(tmp_path_factory.mktemp("checkpoints") / "tuned", rationale=True)


@pytest.fixture(scope="session")
def tiny_episode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An episode file of six steps; shared, so not to be changed."""
    return write_tiny_episode(tmp_path_factory.mktemp("episodes") / "tiny.hdf5")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout, where there is some; tests that need it are skipped elsewhere."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the optional data folder ../shared/data is not there")
    return SHARED_DATA


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for this run; tests that need one are skipped where it cannot be started."""
    try:
        server = Postgres.create(durable=False)
    except NoPostgres as reason:
        pytest.skip(str(reason))
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def review_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where reviews can be kept: a new place in each kind of database."""
    if request.param == "sqlite":
        return str(tmp_path / "reviews.sqlite")
    server: Postgres = request.getfixturevalue("postgres")
    return server.database()
