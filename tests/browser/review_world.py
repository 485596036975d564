"""A workspace with a review project, and the real server over it, which tests may kill."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.review import Judgement, PartJudgement, ProjectSettings, ReviewStore, Source, Submission
from analysis.workspace import Workspace
from models.types import Rationale
from tests.browser.world import ROOT, free_port, wait_until_up, write_synthetic_episode

PARTS = {
    "observation": "A red block and a green block lie on the table.",
    "situation": "The red block has to go on the towel; the gripper is open.",
    "spatial": "The red block is left of the gripper, about 4 cm below it.",
    "planning": "1. move over the block 2. lower 3. close 4. lift 5. move 6. lower 7. open",
}


@dataclass
class ReviewWorld:
    """A workspace folder; its store is opened beside the server's."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def store(self) -> ReviewStore:
        return Workspace.open(self.folder).reviews

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def project(
        self, name: str, items: int = 6, parts: Mapping[str, str] | None = None, steps: int = 2, **settings: Any
    ) -> str:
        """A new project of ``items`` rationales of the one episode; gives its id."""
        workspace = Workspace.open(self.folder)
        (dataset,) = workspace.datasets()
        meta = workspace.episode("plain").meta
        said = dict(parts or PARTS)
        first = next(iter(said))
        sources = [
            Source(
                dataset.name,
                "plain",
                meta.digest,
                meta.instruction,
                Rationale(said | {first: f"{said[first]} ({number})"}, number % 20, number % 20 + steps, "teacher"),
            )
            for number in range(items)
        ]
        return self.store.create_project(ProjectSettings(name, **settings), sources, "Kim").id

    def start(self) -> None:
        """Serves, until killed or stopped, at the same address each time."""
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "app", "--port", str(self.port), "--workspace", str(self.folder)]
        log = self.folder / "server.log"
        with log.open("a") as output:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        wait_until_up(self.address, self.process, log)

    def kill(self) -> None:
        """As the power does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def fill_disk(self, full: bool) -> None:
        """As if no file could grow any more: the limit on file sizes of the running server."""
        assert self.process is not None
        _, most = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (0 if full else most, most))


def make_review_world(folder: Path, steps: int = 24, people: str = "") -> ReviewWorld:
    """One episode, no checkpoint, no project yet."""
    write_synthetic_episode(folder / "episodes" / "plain.hdf5", steps, id="plain")
    (folder / "workspace.toml").write_text(f'episodes = ["episodes"]\ncheckpoints = []\n{people}')
    return ReviewWorld(folder)


def judge(store: ReviewStore, project: str, annotator: str, verdict: str, overall: str, count: int = 1) -> None:
    """Reviews by somebody who needs no browser."""
    for _ in range(count):
        item = store.next_items(project, annotator, 1)[0].item
        parts = tuple(PartJudgement(part, verdict) for part in item.source.rationale.parts)
        store.submit(Submission(f"{annotator}-{item.id}", item.id, annotator, Judgement(parts, overall), 12.0))
