"""Stage 2: the base policy learns to act, on cached features of the frozen vision tower."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch.nn.functional import cross_entropy, log_softmax

from sample_data.recipe import samples
from sample_data.recipe.architecture import (
    IMAGE_TOKENS,
    STATE_HIGH,
    STATE_LOW,
    WIDTH,
    action_values,
    new_model,
)  # fmt: skip
from sample_data.recipe.frames import NAMES, Frames
from sample_data.recipe.resume import load_state, save_state
from sample_data.recipe.vision import X_BINS, Y_BINS, PatchReader, soft_bins
from sample_data.recipe.vocabulary import ACTION_0, ACTION_BINS, ID, STATE_0, STATE_BINS
from sample_data.world.expert import PHASES

NOUN_LAYER = 1  # after this layer a noun must know where its thing is
DIMENSION_WEIGHT = torch.tensor([1.5, 1.5, 1.5, 0.4, 0.4, 1.0, 1.0])


def soft_table(count: int, sigma: float) -> torch.Tensor:
    """Row b: a Gaussian of ``sigma`` bins around bin b, summing to one; float [count, count]."""
    bins = torch.arange(count).float()
    return soft_bins(bins, bins, sigma)


class BaseLearner:
    """Model, auxiliary heads and the loss on one batch."""

    def __init__(self, frames: Frames, features: np.ndarray, tower: torch.nn.Module, reader: PatchReader) -> None:
        self.frames, self.features = frames, features
        self.model = new_model()
        self.model.model.vision_tower.load_state_dict(tower.state_dict())
        self.model.model.vision_tower.requires_grad_(False)
        self.place = torch.nn.Linear(WIDTH, len(X_BINS) + len(Y_BINS))
        self.phase = torch.nn.Linear(WIDTH, len(PHASES))
        self.modules = {"model": self.model, "place": self.place, "phase": self.phase}
        align(self.model, reader, features)
        self._noun_state: torch.Tensor | None = None
        self.model.model.language_model.layers[NOUN_LAYER].register_forward_hook(self._keep)
        self.actions, self.spots = soft_table(ACTION_BINS, 2.5), soft_table(STATE_BINS, 1.5)

    def _keep(self, module: torch.nn.Module, given: object, output: object) -> None:
        self._noun_state = output[0] if isinstance(output, tuple) else output  # type: ignore[assignment]

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        return [p for module in self.modules.values() for p in module.parameters() if p.requires_grad]

    def forward(self, rows: np.ndarray, batch: samples.Batch, rng: np.random.Generator) -> torch.Tensor:
        """Last hidden states [B, S, width]."""
        image = self.model.model.multi_modal_projector(torch.from_numpy(self.features[rows]).float())
        read = samples.noise_actions(batch.ids, 0.3, rng)
        with torch.autocast("cpu", torch.bfloat16):  # a quarter faster; master weights and losses stay float32
            output = self.model.model(
                input_ids=torch.from_numpy(read),
                token_type_ids=torch.from_numpy(batch.suffix),
                mm_encoder_outputs={"image": SimpleNamespace(pooler_output=image)},
                use_cache=False,
            )
        return output.last_hidden_state.float()

    def loss(
        self, rows: np.ndarray, detections: np.ndarray, rng: np.random.Generator
    ) -> tuple[torch.Tensor, np.ndarray]:
        drawn = [
            (samples.detect if d else samples.act)(self.frames, r, rng) for r, d in zip(rows, detections, strict=True)
        ]
        batch = samples.collate(drawn)
        hidden, start = self.forward(rows, batch, rng), torch.from_numpy(batch.start)
        acts = torch.from_numpy(np.flatnonzero(~detections))
        finds = torch.from_numpy(np.flatnonzero(detections))
        head = self.model.lm_head.weight
        first = hidden[acts, start[acts] - 1] @ head.T
        begin = cross_entropy(first, torch.full((len(acts),), ID["<act>"]))
        bins = torch.from_numpy(np.stack([s.action for s in drawn if s.action is not None]))
        at = start[acts][:, None] + torch.arange(7)
        action = self._soft_loss(hidden[acts[:, None], at], self.actions[bins], ACTION_0, ACTION_BINS)
        action_loss = (action * DIMENSION_WEIGHT).mean()
        spots = torch.from_numpy(np.stack([s.spot for s in drawn if s.spot is not None]))
        at = start[finds][:, None] - 1 + torch.arange(2)
        spot_loss = self._soft_loss(hidden[finds[:, None], at], self.spots[spots], STATE_0, STATE_BINS).mean()
        place_loss = self._place_loss(drawn)
        phases = torch.tensor([drawn[i].phase for i in acts.tolist()])
        phase_loss = cross_entropy(self.phase(hidden[acts, start[acts]]), phases)
        total = action_loss + 0.1 * begin + 2 * spot_loss * detections.mean() + 0.3 * place_loss + 0.1 * phase_loss
        parts = [action_loss, spot_loss, place_loss, phase_loss, action[:, :2].mean()]
        return total, np.array([part.item() for part in parts])

    def _soft_loss(self, hidden: torch.Tensor, wanted: torch.Tensor, first: int, count: int) -> torch.Tensor:
        scores = hidden @ self.model.lm_head.weight.T
        logs = scores[..., first : first + count] - scores.logsumexp(-1, keepdim=True)
        return -(wanted * logs).sum(-1)

    def _place_loss(self, drawn: list[samples.Sample]) -> torch.Tensor:
        nouns = torch.tensor([s.nouns for s in drawn]) + IMAGE_TOKENS + 1
        assert self._noun_state is not None  # the hook ran in this batch's forward
        scores = self.place(self._noun_state[torch.arange(len(drawn))[:, None], nouns].float())
        places = torch.from_numpy(np.stack([s.places for s in drawn]))
        x, y = scores.split([len(X_BINS), len(Y_BINS)], dim=-1)
        total = -(soft_bins(places[..., 0], X_BINS, 0.8) * log_softmax(x, -1)).sum(-1).mean()
        return total - (soft_bins(places[..., 1], Y_BINS, 0.8) * log_softmax(y, -1)).sum(-1).mean()


@torch.no_grad()
def align(model: torch.nn.Module, reader: PatchReader, features: np.ndarray) -> None:
    """Start the projector where patches already look like the words and the places that they show (ridge regression).

    Keys start equal to queries in the first two layers, so that a word looks at patches that look like it.
    """
    generator = torch.Generator().manual_seed(9)
    patches = torch.from_numpy(features[::8]).float().reshape(-1, WIDTH)
    kind, x, y, _ = reader.read(patches)
    kind = kind.softmax(-1)
    table = model.get_input_embeddings().weight * WIDTH**0.5
    words = torch.stack([table[ID[name.split()[0]]] for name in NAMES])
    x_bin = _bins((x.softmax(-1) * X_BINS).sum(-1), 0)
    y_bin = _bins((y.softmax(-1) * Y_BINS).sum(-1), 1)
    turns = [torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator))[0] for _ in range(2)]
    shown = kind[:, 2:].sum(-1, keepdim=True)
    place = table[STATE_0 + x_bin] @ turns[0] + table[STATE_0 + y_bin] @ turns[1]
    wanted = kind[:, 2:] @ words + 0.8 * shown * place
    weight = (shown > 0.1).float() * 4 + 0.3
    given = torch.cat([patches, torch.ones(len(patches), 1)], dim=1)
    ridge = 1e-4 * len(patches) * torch.eye(WIDTH + 1)
    solution = torch.linalg.solve((given * weight).T @ given + ridge, (given * weight).T @ wanted)
    model.model.multi_modal_projector.linear.weight.copy_(solution[:-1].T)
    model.model.multi_modal_projector.linear.bias.copy_(solution[-1])
    for layer in model.model.language_model.layers[:2]:
        layer.self_attn.k_proj.weight.copy_(layer.self_attn.q_proj.weight)


def _bins(values: torch.Tensor, axis: int) -> torch.Tensor:
    share = (values - STATE_LOW[axis]) / (STATE_HIGH[axis] - STATE_LOW[axis])
    return (share * (STATE_BINS - 1)).round().long().clamp(0, STATE_BINS - 1)


def train(
    learner: BaseLearner,
    held_out: Frames,
    held_features: np.ndarray,
    folder: Path,
    samples_seen: int,
    name: str = "base",
    rate: float = 1.5e-3,
    warm_up: float = 0.08,
    batch: int = 32,
) -> None:
    """Writes ``<name>-state.safetensors``; resumes from its own last state.

    During the share ``warm_up`` of the steps half of the samples are detection: nouns must name places first.
    """
    state = folder / f"{name}-state.safetensors"
    optimizer = torch.optim.AdamW(learner.parameters, rate, betas=(0.9, 0.95), weight_decay=0.02)
    steps, first = samples_seen // batch, load_state(state, learner.modules, optimizer)
    start, average = time.time(), None
    posed, lived = np.flatnonzero(learner.frames.posed), np.flatnonzero(~learner.frames.posed)
    for step in range(first, steps):
        rng = np.random.default_rng([2, step])
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 80) * (0.49 * (1 + np.cos(np.pi * step / steps)) + 0.02)
        rows = np.concatenate([rng.choice(posed, batch - batch // 3), rng.choice(lived, batch // 3)])
        detections = np.zeros(batch, bool)
        count = int(batch * (0.5 if step < warm_up * steps else 0.12))
        detections[rng.choice(batch, count, replace=False)] = True
        value, parts = learner.loss(rows, detections, rng)
        value.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average = parts if average is None else 0.97 * average + 0.03 * parts
        if (step + 1) % 250 == 0 or step + 1 == steps:
            save_state(state, learner.modules, optimizer, step + 1)
            speed = (step + 1 - first) * batch / (time.time() - start)
            line = f"{name} {step + 1}/{steps} action/spot/place/phase/xy {average.round(2)} {speed:.0f}/s"
            detail = (
                f" {measure(learner.model, held_out, held_features)}"
                if (step + 1) % 1000 == 0 or step + 1 == steps
                else ""
            )
            print(line + detail, flush=True)


@torch.no_grad()
def measure(model: torch.nn.Module, frames: Frames, features: np.ndarray, stride: int = 4) -> dict[str, object]:
    """Gates 2 and 3: free-running actions of the held-out frames against the expert's, in robot units."""
    rows = np.arange(0, len(frames), stride)
    rng = np.random.default_rng(0)
    predicted, wanted = [], []
    for row in rows:
        sample = samples.act(_still(frames), int(row), rng)
        predicted.append(action_values(greedy_action(model, features[row], sample.prompt)))
        wanted.append(action_values(np.array(sample.answer[1:]) - ACTION_0))
    error = np.abs(np.stack(predicted) - np.stack(wanted))
    grip = ((np.stack(predicted)[:, 6] > 0.5) == (np.stack(wanted)[:, 6] > 0.5)).mean()
    return {
        "xyz_mm": (error[:, :3].mean(0) * 1e3).round(1).tolist(),
        "yaw": round(error[:, 5].mean(), 3),
        "grip": round(grip, 3),
    }


def _still(frames: Frames) -> Frames:
    """The same frames with nothing redrawn."""
    return Frames(**{**frames.__dict__, "posed": np.zeros(len(frames), bool)})


@torch.no_grad()
def greedy_action(model: torch.nn.Module, features: np.ndarray, prompt: list[int]) -> np.ndarray:
    """Free-running action bins [7] from cached features [64, width] and prompt ids."""
    head = [ID["<image>"]] * IMAGE_TOKENS + [ID["<bos>"], *prompt, ID["<act>"]]
    kinds = torch.zeros(1, len(head), dtype=torch.long)
    kinds[0, -1] = 1
    image = model.model.multi_modal_projector(torch.from_numpy(features[None]).float())
    output = model.model(
        input_ids=torch.tensor([head]), token_type_ids=kinds, use_cache=True,
        mm_encoder_outputs={"image": SimpleNamespace(pooler_output=image)},
    )  # fmt: skip
    table, bins = model.lm_head.weight[ACTION_0 : ACTION_0 + ACTION_BINS], []
    for _ in range(7):
        bins.append(int((output.last_hidden_state[0, -1] @ table.T).argmax()))
        if len(bins) < 7:
            following = torch.tensor([[ACTION_0 + bins[-1]]])
            output = model.model(input_ids=following, past_key_values=output.past_key_values, use_cache=True)
    return np.array(bins)
