"""At least one checkpoint a registered family, in every shape that has its own code path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from models.types import CheckpointSpec, Observation
from tests.tiny_checkpoints import write_action_token_paligemma
from tests.tiny_openvla import write_ecot, write_openvla
from tests.tiny_openvla_oft import write_openvla_oft
from tests.tiny_pi0 import write_lerobot_pi0, write_pi0
from tests.tiny_smolvla import write_smolvla
from tests.tiny_spatialvla import write_tiny_spatialvla
from tests.tiny_vlm import WRITERS as VLM_WRITERS

Writer = Callable[[Path], Path]

CASES: Mapping[str, tuple[str, Writer]] = {  # case -> family, writer
    "actions only": ("paligemma", partial(write_action_token_paligemma, rationale=False)),
    "rationale": ("paligemma", partial(write_action_token_paligemma, rationale=True)),
    "grouped queries": ("paligemma", partial(write_action_token_paligemma, rationale=True, kv_heads=2)),
    "one key head": ("paligemma", partial(write_action_token_paligemma, rationale=True, kv_heads=1, state=False)),
    "gemma 2": ("paligemma", partial(write_action_token_paligemma, rationale=True, text="gemma2", kv_heads=2)),
    "action first": (
        "paligemma",
        partial(write_action_token_paligemma, rationale=True, order="action first", chunk=2, shard="300KB"),
    ),
    "OpenVLA": ("openvla", write_openvla),
    "OpenVLA of one tower, letterboxed": (
        "openvla",
        partial(write_openvla, towers=("siglip",), strategy="letterbox", dimensions=14, kv_heads=2, shards=2),
    ),
    "openvla-v01": ("openvla", partial(write_openvla, towers=("vit", "clip"), strategy="resize-crop", image=75)),
    "ECoT": ("ecot", write_ecot),
    "OpenVLA-OFT": ("openvla_oft", write_openvla_oft),
    "OpenVLA-OFT of ALOHA, without state": (
        "openvla_oft",
        partial(write_openvla_oft, key="aloha_fold", dimensions=14, state=None, towers=("siglip",), prefix="module."),
    ),
    "spatial": ("spatialvla", write_tiny_spatialvla),
    "spatial, two depth heads": ("spatialvla", partial(write_tiny_spatialvla, metric_heads=2, chunk=4, kv_heads=1)),
    "spatial without depth": (
        "spatialvla",
        partial(write_tiny_spatialvla, depth=False, spatial=False, sliding_window=4096, shard=True),
    ),
    "spatial with words": ("refinevla", partial(write_tiny_spatialvla, depth=False, seed=1)),
    "spatial, words first": (
        "refinevla",
        partial(write_tiny_spatialvla, depth=False, seed=6, rationale={"order": "rationale first", "max_tokens": 8}),
    ),
    "SmolVLA": ("smolvla", write_smolvla),
    "SmolVLA of one camera": (
        "smolvla",
        partial(write_smolvla, cameras=("front",), layout="buffers", attention_mode="self_attn", empty_cameras=1),
    ),
    "pi0": ("pi0", write_pi0),
    "pi0 with statistics": ("pi0", partial(write_pi0, statistics=True, key_heads=2, steps=2)),
    "LeRobot pi0": ("pi0", write_lerobot_pi0),
    "LeRobot pi0 before v0.4": ("pi0", partial(write_lerobot_pi0, old=True, cameras=("top",), empty_cameras=1)),
    **{f"VLM, {case}": ("vlm", write) for case, write in VLM_WRITERS.items()},
}


QUICK = (  # one a family; the other shapes are tried in the slow tests
    "rationale",
    "OpenVLA",
    "ECoT",
    "OpenVLA-OFT",
    "spatial without depth",
    "spatial with words",
    "SmolVLA",
    "pi0",
    f"VLM, {next(iter(VLM_WRITERS))}",
)


def observation(seed: int = 0, instruction: str = "put the carrot on the plate", height: int = 96) -> Observation:
    """A frame of four coloured quarters with noise, not square, and a state inside the tiny checkpoints' limits."""
    random = np.random.default_rng(seed)
    frame = _frame(random, height)
    low, high = np.array([0.1, -0.3, 0, -0.5, -0.5, -1.6, 0]), np.array([0.5, 0.3, 0.3, 0.5, 0.5, 1.6, 0.1])
    return Observation({"image": frame}, instruction, random.uniform(low, high).astype(np.float32))


def observation_for(
    info: CheckpointSpec, seed: int = 0, instruction: str = "put the carrot on the plate"
) -> Observation:
    """The same, with every camera that the policy names and a state of its length."""
    seen = observation(seed, instruction)
    if not info.cameras and len(info.state_names) in (0, 7):
        return seen
    random = np.random.default_rng(seed)
    images = {camera: _frame(random, 96) for camera in info.cameras} or seen.images
    state = random.uniform(-0.5, 0.5, len(info.state_names)).astype(np.float32)
    return Observation(images, instruction, state if len(state) else None)


def _frame(random: np.random.Generator, height: int) -> np.ndarray:
    quarters = np.kron(random.uniform(0, 230, (2, 2, 3)), np.ones((height // 2, 64, 1)))
    return (quarters + random.uniform(0, 25, quarters.shape)).astype(np.uint8)
