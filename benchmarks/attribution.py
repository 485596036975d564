"""Occlusion and ISS against Captum's own loop, on the same model and masks in one run: time and largest difference.

Captum (0.9) is given a forward function that runs the same policy; it perturbs one feature at a time. For ISS each mask
is a feature of Captum's FeatureAblation. Prints medians of several repetitions, taken in turns: processor seconds,
which a busy machine does not change much.

    python benchmarks/attribution.py CHECKPOINT EPISODE [--repeats 3] [--masks 32] [--json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from captum.attr import FeatureAblation, Occlusion

import models
from analysis.attribution.features import filled, regions
from analysis.attribution.iss import InterventionalSignificance, random_masks, significance
from analysis.attribution.occlusion import Occlusion as OurOcclusion
from analysis.attribution.scoring import Scorer
from analysis.attribution.target import Target
from analysis.cameras import plan_cameras
from analysis.commands.options import open_episode
from models.policy import Policy
from models.types import Observation, Part, Prediction


@dataclass(frozen=True)
class Asked:
    policy: Policy
    observation: Observation
    prediction: Prediction
    target: Target
    masks: int
    side: int


def one_by_one(asked: Asked) -> Callable[[Observation], float]:
    """The explained number of one observation, as a user of Captum would write it: a forward a call."""
    scorer = Scorer(asked.policy, asked.observation, asked.prediction, asked.target)
    return lambda changed: float(scorer([changed], 1)[0, 0])


def captum_occlusion(asked: Asked, size: int) -> np.ndarray:
    """Captum's Occlusion over pixels; the image's patches are the window's unit. Rows and columns of patches."""
    camera, frame = next(iter(asked.observation.images.items()))
    grid = next(s.grid for s in asked.prediction.layout.spans if s.part is Part.IMAGE and s.grid is not None)
    high, wide = frame.shape[0] // grid.rows, frame.shape[1] // grid.columns
    run = one_by_one(asked)

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        frames = [image.permute(1, 2, 0).numpy().astype(np.uint8) for image in pixels]
        return torch.tensor(
            [run(replace(asked.observation, images={camera: each})) for each in frames], dtype=torch.float64
        )

    pixels = torch.from_numpy(frame.astype(np.float64)).permute(2, 0, 1)[None]
    colour = torch.from_numpy(filled(frame, "mean").astype(np.float64)).permute(2, 0, 1)[None]
    found = Occlusion(forward).attribute(
        pixels,
        sliding_window_shapes=(3, size * high, size * wide),
        strides=(3, high, wide),
        baselines=colour,
    )
    return found[0, 0].numpy()[high // 2 :: high, wide // 2 :: wide]


def our_occlusion(asked: Asked, size: int) -> np.ndarray:
    found = OurOcclusion(size=size)(asked.policy, asked.observation, asked.target, prediction=asked.prediction)
    return found.image()


def captum_iss(asked: Asked) -> np.ndarray:
    """Every mask is a feature of Captum's FeatureAblation; the same masks, the same mean over them."""
    camera, frame = next(iter(asked.observation.images.items()))
    cut = regions(asked.observation, asked.prediction.layout, None, asked.side)
    masks = random_masks(asked.masks, len(cut), 0.3, 0)
    colour = filled(frame, "mean")
    run = one_by_one(asked)

    def forward(switches: torch.Tensor) -> torch.Tensor:
        values = []
        for row in switches:
            image = frame
            for which in np.flatnonzero(row.numpy() == 0):
                nothing = np.zeros(frame.shape[:2], dtype=bool)
                hidden = np.logical_or.reduce([nothing, *(cut[i].pixels for i in np.flatnonzero(masks[which]))])
                image = np.where(hidden[:, :, None], colour, image)
            values.append(run(replace(asked.observation, images={camera: image})))
        return torch.tensor(values, dtype=torch.float64)

    changes = FeatureAblation(forward).attribute(torch.ones(1, asked.masks, dtype=torch.float64))[0].numpy()
    scores, _ = significance(masks, changes**2)
    whole = np.zeros(len(asked.prediction.layout.tokens))
    for region, score in zip(cut, scores, strict=True):
        whole[list(region.positions)] = score
    return whole


def our_iss(asked: Asked) -> np.ndarray:
    method = InterventionalSignificance(masks=asked.masks, side=asked.side)
    return method(asked.policy, asked.observation, asked.target, prediction=asked.prediction).scores


def compared(ours: Callable[[], np.ndarray], captums: Callable[[], np.ndarray], repeats: int) -> dict[str, float]:
    """Taken in turns, so that a busy machine is busy for both. The difference is absolute, in the unit of the scores,
    whose largest stands beside it.
    """
    seconds: dict[str, list[float]] = {"ours": [], "captum": []}
    found: dict[str, np.ndarray] = {}
    for _ in range(repeats):
        for name, run in (("ours", ours), ("captum", captums)):
            start = time.process_time()
            found[name] = run()
            seconds[name].append(time.process_time() - start)
    medians = {f"{name}_seconds": statistics.median(each) for name, each in seconds.items()}
    difference = float(np.abs(found["ours"] - found["captum"]).max())
    return medians | {
        "times_faster": medians["captum_seconds"] / medians["ours_seconds"],
        "largest_difference": difference,
        "largest_score": float(np.abs(found["captum"]).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("episode", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--masks", type=int, default=48)
    parser.add_argument("--side", type=int, default=4)
    parser.add_argument("--step", type=int, default=0)
    parser.add_argument("--target", default="")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    policy = models.load(told.checkpoint)
    episode = open_episode(told.episode, None)
    cameras = plan_cameras(policy.info.cameras, episode.meta.cameras, every=policy.info.every_camera)
    observation = cameras.seen(episode.step(told.step).observation)
    prediction = policy.predict(observation)
    # the log-probability of the first action: numbers of a size that 1e-5 means something for
    target = Target.parse(told.target, "log-probability") if told.target else Target(action=prediction.action_names[0])
    asked = Asked(policy, observation, prediction, target, told.masks, told.side)
    our_iss(asked)  # warm
    result = {
        "occlusion": compared(lambda: our_occlusion(asked, 2), lambda: captum_occlusion(asked, 2), told.repeats),
        "iss": compared(lambda: our_iss(asked), lambda: captum_iss(asked), told.repeats),
    }
    if told.json:
        print(json.dumps(result))
        return
    for name, each in result.items():
        print(
            f"{name}: {each['ours_seconds']:.2f} s, Captum's loop {each['captum_seconds']:.2f} s "
            f"({each['times_faster']:.2f} times as long); largest difference {each['largest_difference']:.1e} "
            f"of scores up to {each['largest_score']:.2g}"
        )


if __name__ == "__main__":
    main()
