"""Stage 3: the base policy learns to say why before it acts, with the recipe of ``models.refine``."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from models.refine.examples import Batch, Example, Order, collate
from models.refine.joint_loss import JointLoss, joint_loss
from models.refine.paligemma_learner import paligemma_parts
from models.refine.selective_transfer import Transfer, freeze_lower, untie_head
from sample_data.recipe import samples
from sample_data.recipe.architecture import IMAGE_TOKENS
from sample_data.recipe.frames import Frames
from sample_data.recipe.language import soft_table
from sample_data.recipe.resume import load_state, save_state
from sample_data.recipe.vocabulary import ACTION_0, ACTION_BINS, ID, TOKENS

HEAD = [ID["<image>"]] * IMAGE_TOKENS + [ID["<bos>"]]


def example(frames: Frames, row: int, rng: np.random.Generator) -> Example:
    drawn = samples.explained(frames, row, rng)
    begin = drawn.answer.index(ID["<act>"])
    return Example(HEAD + drawn.prompt, drawn.answer[:begin], drawn.answer[begin:])


class Tuner:
    """A base model, what of it trains, and the joint loss of one batch."""

    def __init__(
        self,
        model: torch.nn.Module,
        frames: Frames,
        features: np.ndarray,
        frozen_layers: int,
        weight: float,
        order: Order,
    ) -> None:
        self.model, self.frames, self.features = model, frames, features
        parts = paligemma_parts(model)
        untie_head(parts)
        self.transfer: Transfer = freeze_lower(parts, frozen_layers)
        self.weight, self.order = weight, order
        self.soft = torch.zeros(ACTION_BINS, len(TOKENS))
        self.soft[:, ACTION_0 : ACTION_0 + ACTION_BINS] = soft_table(ACTION_BINS, 2.5)

    def hidden(self, rows: np.ndarray, batch: Batch, rng: np.random.Generator) -> torch.Tensor:
        """Last hidden states [B, S, width] of the teacher-forced sequences."""
        read = samples.noise_actions(batch.ids.numpy(), 0.3, rng)
        with torch.no_grad():
            image = self.model.model.multi_modal_projector(torch.from_numpy(self.features[rows]).float())
        with torch.autocast("cpu", torch.bfloat16):
            output = self.model.model(
                input_ids=torch.from_numpy(read),
                token_type_ids=batch.suffix,
                mm_encoder_outputs={"image": SimpleNamespace(pooler_output=image)},
                use_cache=False,
            )
        return output.last_hidden_state.float()

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> JointLoss:
        batch = collate([example(self.frames, row, rng) for row in rows], self.order, ID["<pad>"])
        start = int(batch.suffix.argmax(1).min()) - 1  # nothing before the answers has a target
        hidden = self.hidden(rows, batch, rng)[:, start:]
        logits = hidden @ self.model.lm_head.weight.T
        targets, is_action = batch.targets[:, start:], batch.is_action[:, start:]
        wanted = targets[is_action]
        soft = torch.nn.functional.one_hot(wanted, len(TOKENS)).float()
        moves = wanted >= ACTION_0
        soft[moves] = self.soft[wanted[moves] - ACTION_0]
        return joint_loss(logits, targets, is_action, batch.is_reasoning[:, start:], self.weight, soft)


def train(
    tuner: Tuner, folder: Path, samples_seen: int, name: str = "tuned", batch: int = 32, rate: float = 1.2e-3
) -> None:
    """Writes ``<name>-state.safetensors``; resumes from its own last state."""
    state = folder / f"{name}-state.safetensors"
    parameters = [p for p in tuner.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, rate, betas=(0.9, 0.95), weight_decay=0.02)
    modules = {"model": tuner.model}
    steps, first = samples_seen // batch, load_state(state, modules, optimizer)
    posed, lived = np.flatnonzero(tuner.frames.posed), np.flatnonzero(~tuner.frames.posed)
    start, average = time.time(), None
    for step in range(first, steps):
        rng = np.random.default_rng([3, step])
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 80) * (0.49 * (1 + np.cos(np.pi * step / steps)) + 0.02)
        rows = np.concatenate([rng.choice(posed, batch - batch // 3), rng.choice(lived, batch // 3)])
        value = tuner.loss(rows, rng)
        value.total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        parts = np.array([value.action.item(), value.reasoning.item()])
        average = parts if average is None else 0.97 * average + 0.03 * parts
        if (step + 1) % 100 == 0 or step + 1 == steps:
            save_state(state, modules, optimizer, step + 1)
            speed = (step + 1 - first) * batch / (time.time() - start)
            print(f"{name} {step + 1}/{steps} action/reasoning {average.round(3)} {speed:.0f}/s", flush=True)
