"""A workspace with a good episode, a strange one and a broken one, and its routes behind a test client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.testclient import TestClient

from analysis.workspace import Workspace
from app.library import Library
from app.routes import lens_routes
from tests.browser.planted_runs import store_chunk_run, store_text_run
from tests.browser.world import HTML, checkpoint_named, store_synthetic_run, write_synthetic_episode
from tests.tiny_checkpoints import write_action_token_paligemma


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app")
    write_synthetic_episode(folder / "episodes" / "good.hdf5", 5, id="good")
    write_synthetic_episode(folder / "episodes" / "html.hdf5", 3, id="../../etc/passwd", instruction=HTML)
    write_synthetic_episode(folder / "episodes" / "long.hdf5", 3, id="long", instruction="x" * 10_000)
    (folder / "episodes" / "broken.hdf5").write_bytes((folder / "episodes" / "good.hdf5").read_bytes()[:4000])
    (folder / "checkpoints" / "empty").mkdir(parents=True)
    write_action_token_paligemma(
        folder / "checkpoints" / "tuned", rationale=True, name="tuned", image_size=64, layers=2
    )
    home = folder / "workspace"
    home.mkdir()
    (home / "workspace.toml").write_text('episodes = ["../episodes"]\ncheckpoints = ["../checkpoints"]\n')
    store_synthetic_run(home, "good", checkpoint_named(home, "tuned"))
    write_synthetic_episode(folder / "episodes" / "two.hdf5", 3, id="two", cameras=("front", "wrist"))
    store_chunk_run(home, "two", checkpoint_named(home, "tuned"))
    write_synthetic_episode(folder / "episodes" / "text.hdf5", 2, id="text")
    store_text_run(home, "text", checkpoint_named(home, "tuned"), "shoulder")
    return home


@pytest.fixture(scope="session")
def library(workspace: Path) -> Library:
    return Library(Workspace.open(workspace))


@pytest.fixture(scope="session")
def dataset(library: Library) -> str:
    return library.workspace.datasets()[0].name


@pytest.fixture(scope="session")
def client(library: Library) -> Iterator[TestClient]:
    # Streamlit packs answers too; see that the routes say what is not worth it.
    served = Starlette(routes=lens_routes(lambda: library), middleware=[Middleware(GZipMiddleware)])
    with TestClient(served) as opened:
        yield opened
