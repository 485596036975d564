"""Attention capture against plain SDPA and against eager ``output_attentions``: time and memory.

``python -m benchmarks.capture`` builds a PaliGemma of random weights, reads a prompt of more than 1,000 tokens and
decodes a few more; with ``--openvla`` it is a Llama that reads what OpenVLA reads: BOS, 256 patches, an instruction,
and decodes seven action tokens. Times are taken in turns in one process, memory (peak over rest) in a process each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

ROOT = Path(__file__).parents[1]
MODES = ("plain", "capture", "eager")
PROMPT_WORDS = 64
TARGETS = {"time": 1.05, "memory over plain": 1.1, "memory over eager": 0.2}


@dataclass(frozen=True)
class Size:
    """How large the model and the run are; the defaults are what the targets are stated for."""

    width: int = 768
    layers: int = 18  # as many as PaliGemma, with its 8 heads over one key head
    image: int = 512  # pixels a side, in patches of 16: 1,024 image tokens
    steps: int = 8  # tokens decoded
    words: int = PROMPT_WORDS  # tokens of the prompt beside the image's
    openvla: bool = False  # a Llama with OpenVLA's proportions in place of a PaliGemma

    @property
    def prompt(self) -> int:
        """Tokens of the prompt."""
        return (self.image // 16) ** 2 + self.words


# OpenVLA's sequence: BOS and 19 tokens of prompt around 256 patches; its heads are 128 wide, its layers 32
OPENVLA = Size(width=1024, layers=16, image=256, steps=7, words=20, openvla=True)


def build(size: Size) -> PreTrainedModel:
    """A model of random weights, narrower than the published ones."""
    return build_openvla(size) if size.openvla else build_paligemma(size)


def build_openvla(size: Size) -> PreTrainedModel:
    """OpenVLA's language model; its prompt is embeddings, patches among them."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32_064, hidden_size=size.width, intermediate_size=size.width * 11008 // 4096,
        num_hidden_layers=size.layers, num_attention_heads=size.width // 128, pad_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def build_paligemma(size: Size) -> PreTrainedModel:
    import torch
    from transformers import GemmaConfig, PaliGemmaConfig, PaliGemmaForConditionalGeneration, SiglipVisionConfig

    torch.manual_seed(0)
    vision = SiglipVisionConfig(
        hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, image_size=size.image,
        patch_size=16, projection_dim=size.width, vision_use_head=False,
    )  # fmt: skip
    text = GemmaConfig(
        vocab_size=80_000, hidden_size=size.width, intermediate_size=4 * size.width, num_hidden_layers=size.layers,
        num_attention_heads=8, num_key_value_heads=1, head_dim=size.width // 8, max_position_embeddings=4096,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    config = PaliGemmaConfig(
        vision_config=vision, text_config=text, image_token_index=3, projection_dim=size.width, hidden_size=size.width
    )
    return PaliGemmaForConditionalGeneration(config).eval()


def prompt(size: Size, words: int | None = None) -> dict[str, Tensor]:
    """What the model reads; with another number of ``words`` than the size's own."""
    import torch

    words = size.words if words is None else words
    if size.openvla:
        length = (size.image // 16) ** 2 + words
        return {"inputs_embeds": torch.randn(1, length, size.width, generator=torch.Generator().manual_seed(1))}
    ids = torch.tensor([[3] * (size.image // 16) ** 2 + list(range(10, 10 + words))])
    pixels = torch.randn(1, 3, size.image, size.image, generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "token_type_ids": torch.zeros_like(ids), "pixel_values": pixels}


def answer(model: PreTrainedModel, mode: str, inputs: dict[str, Tensor], steps: int) -> tuple[list[float], object]:
    """One prediction; what it keeps (rows, or eager maps) comes back so that memory counts it."""
    import torch

    from models.capture import LANGUAGE, RowCollector, Rows, attention_sites, collecting
    from models.decoding import GreedyRun
    from models.families.paligemma import SITES

    if mode == "eager":
        return eager_answer(model, inputs, steps)
    length = next(iter(inputs.values())).shape[1]
    llama = {LANGUAGE: r"^model\.layers\.(\d+)\.self_attn$"}
    sites = attention_sites(model, llama if "inputs_embeds" in inputs else SITES)
    collector = RowCollector(sites, {LANGUAGE: Rows(steps, length + steps)}) if mode == "capture" else None
    run = GreedyRun(model, collector)
    everything = slice(0, model.config.get_text_config().vocab_size)
    with torch.inference_mode(), collecting(collector):
        run.read(inputs, length, every_row=False, last_row=True)
        for _ in range(steps):
            run.choose(everything, keep=True)
    return run.logprobs, collector.weights(LANGUAGE, run.length) if collector is not None else None


def eager_answer(model: PreTrainedModel, inputs: dict[str, Tensor], steps: int) -> tuple[list[float], object]:
    """The same with every layer's map kept, as ``output_attentions=True`` does."""
    import torch
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config.get_text_config())
    logprobs: list[float] = []
    maps: list[tuple[Tensor, ...]] = []
    with torch.inference_mode():
        for _ in range(steps):
            output = model(**inputs, past_key_values=cache, output_attentions=True, logits_to_keep=1)
            best = torch.log_softmax(output.logits[0, -1].float(), -1).max(-1)
            logprobs.append(float(best.values))
            maps.append(output.attentions)
            inputs = {"input_ids": best.indices.reshape(1, 1)}
    return logprobs, maps


def set_mode(model: PreTrainedModel, mode: str) -> None:
    from models.capture import ROW_ATTENTION

    model.set_attn_implementation({"plain": "sdpa", "capture": ROW_ATTENTION, "eager": "eager"}[mode])


def memory_of(mode: str, size: Size) -> float:
    """MiB that one answer needs at its peak over what the process holds at rest (Linux)."""
    model = build(size)
    set_mode(model, mode)
    answer(model, mode, prompt(size, words=1), steps=1)  # the vision tower's buffers and lazy imports are not counted
    trim()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    rest = status("VmRSS")
    kept = answer(model, mode, prompt(size), size.steps)
    peak = status("VmHWM")
    del kept
    return (peak - rest) / 1024


def trim() -> None:
    """Give freed memory back to the system, so that rest means rest."""
    import ctypes
    import gc

    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def status(field: str) -> int:
    """A field of /proc/self/status in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def memory_in_child(mode: str, size: Size) -> float:
    command = [sys.executable, "-m", "benchmarks.capture", "--memory-of", mode, "--size", json.dumps(asdict(size))]
    # without a fixed threshold glibc keeps freed blocks as it sees fit, and holes in the heap outweigh what is measured
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def times(size: Size, runs: int) -> tuple[dict[str, list[tuple[float, float]]], float, int]:
    """Wall and processor seconds of every run, plain and capture in turns; and how far log-probabilities differ."""
    model = build(size)
    inputs = prompt(size)
    seconds: dict[str, list[tuple[float, float]]] = {"plain": [], "capture": []}
    said: dict[str, list[float]] = {}
    for number in range(runs + 1):  # the first round warms up
        for mode in ("plain", "capture") if number % 2 else ("capture", "plain"):
            set_mode(model, mode)
            wall, processor = time.perf_counter(), time.process_time()
            said[mode], _ = answer(model, mode, inputs, size.steps)
            if number:
                seconds[mode].append((time.perf_counter() - wall, time.process_time() - processor))
    difference = max(abs(one - other) for one, other in zip(said["plain"], said["capture"], strict=True))
    return seconds, difference, sum(weight.numel() for weight in model.parameters())


def measure(size: Size, runs: int) -> dict[str, Any]:
    seconds, difference, parameters = times(size, runs)
    plain, capture = seconds["plain"], seconds["capture"]
    ratios = [
        statistics.median(one[clock] / other[clock] for one, other in zip(capture, plain, strict=True))
        for clock in (0, 1)
    ]
    memory = {mode: memory_in_child(mode, size) for mode in MODES}
    return {
        "parameters": parameters,
        "tokens": size.prompt,
        "decoded": size.steps,
        "runs": runs,
        "plain_seconds": statistics.median(wall for wall, _ in plain),
        "capture_seconds": statistics.median(wall for wall, _ in capture),
        "time_ratio_wall": ratios[0],
        "time_ratio_processor": ratios[1],
        "largest_difference_of_log_probabilities": difference,
        "memory_mib": memory,
        "memory_over_plain": memory["capture"] / memory["plain"],
        "memory_over_eager": memory["capture"] / memory["eager"],
    }


def report(found: dict[str, Any]) -> str:
    memory = found["memory_mib"]
    return "\n".join(
        (
            f"attention capture: {found['parameters'] / 1e6:.0f}M parameters, prompt of {found['tokens']} tokens, "
            f"{found['decoded']} decoded, {found['runs']} runs in turns",
            f"  time    plain {found['plain_seconds']:.2f} s, capture {found['capture_seconds']:.2f} s (medians)",
            f"          ratio {found['time_ratio_wall']:.3f} wall, {found['time_ratio_processor']:.3f} processor "
            f"(medians of pairs; target at most {TARGETS['time']})",
            f"  memory  plain {memory['plain']:.0f} MiB, capture {memory['capture']:.0f} MiB, "
            f"eager {memory['eager']:.0f} MiB (peak over rest)",
            f"          ratio {found['memory_over_plain']:.3f} of plain (target {TARGETS['memory over plain']}), "
            f"{found['memory_over_eager']:.3f} of eager (at 1,088 tokens at most {TARGETS['memory over eager']})",
            f"  largest difference of log-probabilities {found['largest_difference_of_log_probabilities']:.1e}",
        )
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each kind, in turns")
    parser.add_argument("--size", type=lambda text: Size(**json.loads(text)), default=Size(), help="Size as JSON")
    parser.add_argument("--openvla", action="store_const", const=OPENVLA, dest="size", help="OpenVLA's proportions")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--memory-of", choices=MODES, help="measure one process; used by the benchmark itself")
    chosen = parser.parse_args(arguments)
    if chosen.memory_of:
        print(memory_of(chosen.memory_of, chosen.size))
        return
    found = measure(chosen.size, chosen.runs)
    print(json.dumps(found) if chosen.json else report(found))


if __name__ == "__main__":
    main()
