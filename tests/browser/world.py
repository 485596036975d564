"""A workspace for the browser tests and the player's benchmark: synthetic episodes, tiny checkpoints, broken things."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from analysis.episodes.hdf5_writer import CameraTruth, Series, write_episode
from analysis.records import capture_key
from analysis.workspace import Workspace
from models.types import (
    ActionDistribution,
    AttentionRecord,
    Capture,
    CheckpointSpec,
    Part,
    PatchGrid,
    Prediction,
    Rationale,
    Span,
    TokenLayout,
)
from tests.browser.planted_runs import store_chunk_run, store_text_run
from tests.tiny_checkpoints import write_action_token_paligemma

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = (Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium"))  # the first needs less of a machine
CHROMIUM = next((path for path in BROWSERS if path.exists()), BROWSERS[-1])
PATIENCE = 150_000  # milliseconds: the first model imports torch, while other tests run
SIZE = 256
NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
UNITS = ("m", "m", "m", "rad", "rad", "rad", "open")
PHASES = ("reach", "grasp", "carry", "release")
WIDE_LAYERS = 90  # with the rows of a made-up step: 7 MB, more than the player fetches whole
HTML = '<img src=x onerror="window.harmed=1"> put <b>the block</b> <script>window.harmed=1</script> away'


def frame(step: int, steps: int) -> np.ndarray:
    """A red square that crosses the picture and a green one that comes towards it; every step looks different."""
    picture = np.full((SIZE, SIZE, 3), (206, 196, 178), np.uint8)
    picture[180:220, 100:160] = (70, 110, 190)
    at = int((SIZE - 40) * step / max(1, steps - 1))
    picture[40:80, at : at + 40] = (200, 50, 40)
    picture[110:150, SIZE - 40 - at : SIZE - at] = (50, 150, 80)
    return picture


def write_synthetic_episode(
    path: Path,
    steps: int,
    *,
    id: str,
    instruction: str = "put the red block on the towel",
    cameras: Sequence[str] = ("shoulder",),
    rationales: Sequence[Rationale] = (),
) -> Path:
    """An episode of ``steps`` frames with phases and boxes; cameras after the first see the same upside down."""
    time_axis = np.linspace(0, 2 * np.pi, steps)
    actions = np.stack([0.02 * np.sin(time_axis + dim) for dim in range(6)] + [(time_axis > 3).astype(float)], axis=1)
    states = np.stack([0.3 + 0.1 * np.sin(time_axis), *[0.1 * np.cos(time_axis + dim) for dim in range(6)]], axis=1)
    at = ((SIZE - 40) * np.arange(steps) / max(1, steps - 1)).astype(int)
    boxes = np.stack([at, np.full(steps, 40), at + 40, np.full(steps, 80)], axis=1)[:, None, :]
    return write_episode(
        path,
        id=id,
        instruction=instruction,
        fps=5,
        actions=Series(actions.astype(np.float32), NAMES, UNITS),
        states=Series(states.astype(np.float32), ("x", "y", "z", "roll", "pitch", "yaw", "gap"), UNITS),
        images={
            camera: [frame(step, steps)[:: -1 if place else 1] for step in range(steps)]
            for place, camera in enumerate(cameras)
        },
        success=True,
        phases=[PHASES[4 * step // steps] for step in range(steps)],
        truth={cameras[0]: CameraTruth(("background", "red block"), None, boxes.astype(np.float32))},
        rationales=rationales,
        encoding="jpeg",
    )


def make_world(folder: Path, steps: int = 12) -> Path:
    """A workspace folder: three good episodes, a truncated one, two checkpoints that run and one that fails to load."""
    episodes, checkpoints = folder / "episodes", folder / "checkpoints"
    write_synthetic_episode(episodes / "plain.hdf5", steps, id="plain")
    write_synthetic_episode(episodes / "html.hdf5", 4, id="html", instruction=HTML)
    write_synthetic_episode(episodes / "long.hdf5", 4, id="long", instruction="put the block away " * 526)
    whole = (episodes / "plain.hdf5").read_bytes()
    (episodes / "truncated.hdf5").write_bytes(whole[: len(whole) // 2])
    small = {"layers": 3, "image_size": 64, "patch": 8, "max_tokens": 10}
    write_action_token_paligemma(checkpoints / "base", rationale=False, name="base", **small)
    write_action_token_paligemma(checkpoints / "tuned", rationale=True, name="tuned", seed=1, **small)
    write_action_token_paligemma(
        checkpoints / "wide", rationale=True, name="wide", seed=3, **small | {"layers": WIDE_LAYERS}
    )
    write_synthetic_episode(episodes / "wide.hdf5", 3, id="wide", instruction="put the wide block away")
    bad = write_action_token_paligemma(
        checkpoints / "tuned-without-action-tokens", rationale=False, name="bad tokenizer", seed=2, **small
    )
    tokenizer = json.loads((bad / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] = {
        token: i for token, i in tokenizer["model"]["vocab"].items() if not token.startswith("<a")
    }
    tokenizer["added_tokens"] = [entry for entry in tokenizer["added_tokens"] if not entry["content"].startswith("<a")]
    (bad / "tokenizer.json").write_text(json.dumps(tokenizer))
    (checkpoints / "no-checkpoint").mkdir()
    workspace = folder / "workspace"
    workspace.mkdir()
    (workspace / "workspace.toml").write_text('episodes = ["../episodes"]\ncheckpoints = ["../checkpoints"]\n')
    store_synthetic_run(workspace, "wide", checkpoint_named(workspace, "wide"), layers=WIDE_LAYERS)
    write_synthetic_episode(episodes / "two.hdf5", 6, id="two", cameras=("front", "wrist"))
    store_chunk_run(workspace, "two", checkpoint_named(workspace, "base"))
    write_synthetic_episode(episodes / "tiles.hdf5", 3, id="tiles")
    store_text_run(workspace, "tiles", checkpoint_named(workspace, "base"), "shoulder")
    return workspace


def checkpoint_named(workspace: Path, name: str) -> CheckpointSpec:
    """The usable checkpoint called ``name``."""
    specs = [entry for entry in Workspace.open(workspace).checkpoints() if isinstance(entry, CheckpointSpec)]
    return next(spec for spec in specs if spec.name == name)


def synthetic_prediction(step: int, words: int = 60, layers: int = 6, heads: int = 4) -> Prediction:
    """A made-up prediction of the size that the shipped reasoning model gives, different at every step."""
    random = np.random.default_rng(step)
    prompt = [Span(Part.IMAGE, "shoulder", 0, 64, PatchGrid("shoulder", 8, 8, (0, 0, SIZE, SIZE)))]
    prompt += [
        Span(Part.SPECIAL, "bos", 64, 65),
        Span(Part.INSTRUCTION, "instruction", 65, 72),
        Span(Part.STATE, "state", 72, 79),
    ]
    parts = ("observation", "situation", "spatial", "planning")
    ends = np.linspace(79, 79 + words, 5).astype(int)
    spans = prompt + [
        Span(Part.RATIONALE, part, int(a), int(b)) for part, a, b in zip(parts, ends[:-1], ends[1:], strict=True)
    ]
    first = int(ends[-1])
    spans += [Span(Part.ACTION, name, first + i, first + i + 1) for i, name in enumerate(NAMES)]
    total, count = first + 7, words + 7
    tokens = tuple(f"w{position}" for position in range(total))
    layout = TokenLayout(tokens, tuple(spans))
    weights = random.random((layers, heads, count, total), dtype=np.float32) ** 6
    for query in range(count):
        weights[:, :, query, 79 + query :] = 0
    weights /= weights.sum(axis=-1, keepdims=True)
    record = AttentionRecord(weights, tuple(range(layers)), tuple(range(78, 78 + count)), tuple(range(count)), layout)
    values = np.linspace(-0.03, 0.03, 256).astype(np.float32)
    chances = np.exp(-(((values - 0.02 * np.sin(step / 9)) / 0.004) ** 2)).astype(np.float32)
    distribution = tuple(
        ActionDistribution(words + i, 0, name, values, chances / chances.sum(), 0.99) for i, name in enumerate(NAMES)
    )
    actions = random.normal(0, 0.01, (1, 7))
    ids = np.arange(count)
    return Prediction(
        actions, NAMES, UNITS, ids, tokens[79:], np.full(count, -0.1), "made up", None, distribution, layout, (record,)
    )


def store_synthetic_run(workspace: Path, episode: str, checkpoint: CheckpointSpec, layers: int = 6) -> None:
    """Fills the record of a run with made-up predictions, so that opening it needs no model."""
    opened = Workspace.open(workspace)
    meta = opened.episode(episode).meta
    run = opened.records.run(capture_key(checkpoint.digest, meta.digest, Capture()))
    for step in range(meta.length):
        run.write(step, synthetic_prediction(step, layers=layers))
    run.finish(meta.length)


def free_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(workspace: Path, port: int | None = None) -> Iterator[str]:
    """The real server in a process of its own; gives its address."""
    port = port or free_port()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "app", "--port", str(port), "--workspace", str(workspace)]
    log = workspace / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_up(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def wait_until_up(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")
