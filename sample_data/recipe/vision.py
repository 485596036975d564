"""Stage 1: the vision tower learns what each patch shows and where on the table that is.

Labels come from the simulator (masks and positions): this is privileged information, and the sample models say so.
Per patch: share of every label; x and y (metres, base frame, soft bins) and yaw of the thing that fills it most.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import log_softmax

from sample_data.recipe.architecture import GRID, IMAGE_TOKENS, PATCH, WIDTH, new_model, pixels
from sample_data.recipe.frames import NAMES, Frames
from sample_data.recipe.resume import load_state, save_state
from sample_data.world.tasks import BLOCKS, LABELS

X_BINS = torch.linspace(0.14, 0.46, 48)
Y_BINS = torch.linspace(-0.24, 0.24, 48)


def soft_bins(values: torch.Tensor, centres: torch.Tensor, sigma: float) -> torch.Tensor:
    """A Gaussian over bins around each value [...] -> [..., bins]; sigma in bins."""
    width = sigma * (centres[1] - centres[0])
    weight = torch.exp(-0.5 * ((values[..., None] - centres) / width) ** 2)
    return weight / weight.sum(-1, keepdim=True)


@dataclass(frozen=True)
class PatchLabels:
    share: np.ndarray  # float32 [F, 64, 10]: of the patch's pixels, per label
    spot: np.ndarray  # float32 [F, 64, 2]: x, y of the thing that fills most of it
    turn: np.ndarray  # float32 [F, 64]: its yaw, NaN where it has none; blocks: twice, for they repeat twice as often
    known: np.ndarray  # bool [F, 64]: a thing fills enough of the patch


def patch_labels(frames: Frames) -> PatchLabels:
    count = len(frames)
    blocks = frames.label.reshape(count, GRID, PATCH, GRID, PATCH)
    share = np.stack([(blocks == k).mean((2, 4), dtype=np.float32) for k in range(len(LABELS))], axis=-1)
    share = share.reshape(count, IMAGE_TOKENS, len(LABELS))
    best = share[..., 2:].argmax(-1)
    spot = np.take_along_axis(frames.position[..., :2], best[..., None], axis=1)
    period = np.array([2.0 if name in BLOCKS else 1.0 for name in NAMES], np.float32)
    turn = np.take_along_axis(frames.yaw * period, best, axis=1)
    known = (share[..., 2:].max(-1) > 0.04) & ~np.isnan(spot[..., 0])
    return PatchLabels(share, np.nan_to_num(spot), turn, known)


class PatchReader(torch.nn.Linear):
    """Linear read-out of patch features: labels, x bins, y bins, sine and cosine of twice the yaw."""

    def __init__(self) -> None:
        super().__init__(WIDTH, len(LABELS) + len(X_BINS) + len(Y_BINS) + 2)
        self.weight.data.mul_(0.5)

    def read(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        sizes = [len(LABELS), len(X_BINS), len(Y_BINS), 2]
        return tuple(torch.split(self(features), sizes, dim=-1))  # type: ignore[return-value]


def loss(reader: PatchReader, features: torch.Tensor, labels: PatchLabels, rows: np.ndarray) -> torch.Tensor:
    kind, x, y, turn = reader.read(features)
    share = torch.from_numpy(labels.share[rows])
    weight = 1 + 9 * share[..., 2:].sum(-1)  # things are small, the table is not
    total = 2 * -((share * log_softmax(kind, -1)).sum(-1) * weight).sum() / weight.sum()
    known = torch.from_numpy(labels.known[rows])
    spot = torch.from_numpy(labels.spot[rows])[known]
    filled = share[..., 2:].amax(-1)[known].clamp(0.1, 0.5)
    for scores, centres, axis in ((x, X_BINS, 0), (y, Y_BINS, 1)):
        wanted = soft_bins(spot[:, axis], centres, 0.8)
        total = total + 0.5 * -((wanted * log_softmax(scores[known], -1)).sum(-1) * filled).sum() / filled.sum()
    yaw = torch.from_numpy(labels.turn[rows])[known]
    turned = ~yaw.isnan()
    wanted = torch.stack([(2 * yaw[turned]).sin(), (2 * yaw[turned]).cos()], -1)
    return total + 0.5 * ((turn[known][turned] - wanted) ** 2).mean()


def train(frames: Frames, held_out: Frames, folder: Path, samples: int, batch: int = 64) -> None:
    """Writes ``vision.safetensors`` (tower and reader); resumes from its own last state."""
    model, reader = new_model(), PatchReader()
    tower = model.model.vision_tower
    parameters = [*tower.parameters(), *reader.parameters()]
    optimizer = torch.optim.AdamW(parameters, 1e-3, betas=(0.9, 0.95), weight_decay=0.05)
    modules, state = {"tower": tower, "reader": reader}, folder / "vision.safetensors"
    steps, first = samples // batch, load_state(state, {"tower": tower, "reader": reader}, optimizer)
    labels, start = patch_labels(frames), time.time()
    odds = np.where(frames.posed, 1.0, 0.5 * frames.posed.sum() / max(1, (~frames.posed).sum()))
    odds /= odds.sum()
    for step in range(first, steps):
        rng = np.random.default_rng([1, step])
        rate = 1.5e-3 * min(1, step / 100) * (0.49 * (1 + np.cos(np.pi * step / steps)) + 0.02)
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = rng.choice(len(frames), batch, p=odds)
        contrast = torch.from_numpy(rng.uniform(0.92, 1.08, (batch, 1, 1, 1))).float()
        tint = torch.from_numpy(rng.uniform(-0.08, 0.08, (batch, 3, 1, 1))).float()
        features = tower(pixels(frames.picture[rows]) * contrast + tint).last_hidden_state
        value = loss(reader, features, labels, rows)
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 200 == 0 or step + 1 == steps:
            save_state(state, modules, optimizer, step + 1)
            speed = (step + 1 - first) * batch / (time.time() - start)
            print(
                f"vision {step + 1}/{steps} loss {value.item():.3f} {speed:.0f}/s {measure(tower, reader, held_out)}",
                flush=True,
            )


@torch.no_grad()
def measure(tower: torch.nn.Module, reader: PatchReader, frames: Frames, stride: int = 3) -> dict[str, float]:
    """Gate 1: share of well-filled patches named right; error of x, y at the best patch of each thing in view, mm."""
    rows = np.arange(0, len(frames), stride)
    labels = patch_labels(frames)
    kind, x, y, _ = reader.read(tower(pixels(frames.picture[rows])).last_hidden_state)
    kind, x, y = kind.softmax(-1).numpy(), (x.softmax(-1) * X_BINS).sum(-1), (y.softmax(-1) * Y_BINS).sum(-1)
    share = labels.share[rows]
    clear = share[..., 2:].max(-1) > 0.25
    right = (kind[clear][:, 2:].argmax(-1) == share[clear][:, 2:].argmax(-1)).mean()
    errors = []
    for i, row in enumerate(rows):
        for k in np.flatnonzero(~np.isnan(frames.yaw[row])):
            patch = kind[i, :, k + 2].argmax()
            spot = np.array([x[i, patch], y[i, patch]])
            errors.append(np.linalg.norm(spot - frames.position[row, k, :2]))
    return {"patch_right": round(float(right), 3), "median_mm": round(float(np.median(errors)) * 1e3, 1)}


@torch.no_grad()
def features(tower: torch.nn.Module, frames: Frames, batch: int = 128) -> np.ndarray:
    """Features of the frozen tower, float16 [F, 64, 128]."""
    parts = [
        tower(pixels(frames.picture[i : i + batch])).last_hidden_state.half().numpy()
        for i in range(0, len(frames), batch)
    ]
    return np.concatenate(parts)
