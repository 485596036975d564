"""Loading a checkpoint against transformers' own ``from_pretrained``: peak memory and time.

``python -m benchmarks.loading`` writes a PaliGemma of random weights in bfloat16 and loads it, in a process each, as
it is stored and as float32. Memory is the peak over what the process held before, as a multiple of the loaded weights.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).parents[1]
TARGET = 1.2  # peak memory over the loaded weights
HOW = ("ours", "from_pretrained")


def write(folder: Path, width: int) -> None:
    import torch

    from tests.tiny_checkpoints import write_action_token_paligemma

    write_action_token_paligemma(folder, rationale=False, width=width, layers=12, heads=8, shard="200MB")
    from transformers import PaliGemmaForConditionalGeneration

    model = PaliGemmaForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16)
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    model.save_pretrained(folder, max_shard_size="200MB")


def load(how: str, folder: Path, dtype: str) -> dict[str, float]:
    """Peak memory over rest and size of the weights (MiB), and seconds; run in a process of its own."""
    import torch
    from transformers import PaliGemmaForConditionalGeneration

    import models

    models.load(ROOT / "sample_data" / "checkpoints" / "base")  # what any load brings in
    rest, start = _memory("VmRSS"), time.perf_counter()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    if how == "ours":
        model = models.load(folder, dtype=dtype).model  # type: ignore[attr-defined]
    else:
        model = PaliGemmaForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype))
    seconds, peak = time.perf_counter() - start, _memory("VmHWM") - rest
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    return {"peak": peak, "weights": weights, "seconds": seconds}


def measure(how: str, folder: Path, dtype: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.loading", "--load", how, "--folder", str(folder), "--dtype", dtype]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _memory(field: str) -> float:
    """A field of /proc/self/status in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--load", choices=HOW, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dtype", default="float32", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.load:
        print(json.dumps(load(asked.load, asked.folder, asked.dtype)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "checkpoint"
        write(folder, asked.width)
        for dtype in ("bfloat16", "float32"):
            for how in HOW:
                runs = [measure(how, folder, dtype) for _ in range(asked.repeats)]
                ratio = statistics.median(run["peak"] / run["weights"] for run in runs)
                seconds = statistics.median(run["seconds"] for run in runs)
                size = runs[0]["weights"]
                print(f"{dtype:9} {how:16} peak {ratio:.2f} x the {size:,.0f} MiB of weights, {seconds:.2f} s")
    print(f"target: at most {TARGET} x, median of {asked.repeats}")


if __name__ == "__main__":
    main()
