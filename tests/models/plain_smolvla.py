"""SmolVLA once more, from the published description: plain matrix products on the stored tensors, nothing shared.

Written against lerobot's modeling_smolvla.py (embed_prefix, embed_suffix, make_att_2d_masks, sample_actions,
denoise_step) and smolvlm_with_expert.py (apply_rope, forward_attn_layer, forward_cross_attn_layer,
eager_attention_forward): padding and absent cameras are kept and masked, as there, and maps are whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from tests.tiny_smolvla import HEAD, HEADS, IMAGE, JOINED, KV_HEADS, PATCH, VISION_HEADS

ROOT = "model.vlm_with_expert."
VISION_EPS, TEXT_EPS = 1e-6, 1e-5


@dataclass
class Maps:
    """Whole attention maps of a run, heads first."""

    read: list[int] = field(default_factory=list)  # positions of the prefix that are not masked out
    vision: list[list[Tensor]] = field(default_factory=list)  # image, layer: [A, p, p]
    language: list[Tensor] = field(default_factory=list)  # layer: [A, P, P]
    expert: list[list[Tensor]] = field(default_factory=list)  # denoising step, layer: [A, T, K]


def letterboxed(frame: Any, size: int) -> Tensor:
    """[3, size, size] in [-1, 1]: scaled to fit, padded at the left and top."""
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
    height, width = image.shape[2:]
    ratio = max(width / size, height / size)
    scaled = functional.interpolate(
        image, size=(int(height / ratio), int(width / ratio)), mode="bilinear", align_corners=False
    )
    whole = torch.zeros(3, size, size)
    whole[:, size - scaled.shape[2] :, size - scaled.shape[3] :] = scaled[0]
    return whole * 2 - 1


class PlainSmolVLA:
    def __init__(self, folder: Path, config: Mapping[str, Any]):
        self.t = {name: value.float() for name, value in load_file(folder / "model.safetensors").items()}
        self.config = config
        self.layers = 1 + max(int(n.split("layers.")[1].split(".")[0]) for n in self.t if "text_model.layers" in n)
        self.maps = Maps()

    def linear(self, name: str, x: Tensor) -> Tensor:
        out = x @ self.t[f"{name}.weight"].T
        return out + self.t[f"{name}.bias"] if f"{name}.bias" in self.t else out

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
        return (x - mean) / torch.sqrt(variance + VISION_EPS) * self.t[f"{name}.weight"] + self.t[f"{name}.bias"]

    def rms_norm(self, name: str, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + TEXT_EPS) * self.t[f"{name}.weight"]

    def image(self, pixels: Tensor) -> Tensor:
        """[tokens, width], before the scaling by the square root of the width."""
        name, side = f"{ROOT}vlm.model.vision_model", IMAGE // PATCH
        weight, bias = (self.t[f"{name}.embeddings.patch_embedding.{each}"] for each in ("weight", "bias"))
        patches = [
            (weight * pixels[None, :, r : r + PATCH, c : c + PATCH]).sum((1, 2, 3)) + bias
            for r in range(0, IMAGE, PATCH)
            for c in range(0, IMAGE, PATCH)
        ]
        x = torch.stack(patches) + self.t[f"{name}.embeddings.position_embedding.weight"]
        maps: list[Tensor] = []
        for layer in range(1 + max(int(n.split(".")[7]) for n in self.t if f"{name}.encoder.layers" in n)):
            own = f"{name}.encoder.layers.{layer}"
            normed = self.layer_norm(f"{own}.layer_norm1", x)
            q, k, v = (
                self.linear(f"{own}.self_attn.{p}_proj", normed).unflatten(-1, (VISION_HEADS, -1)).transpose(0, 1)
                for p in "qkv"
            )
            weights = torch.softmax(q @ k.transpose(1, 2) * q.shape[-1] ** -0.5, dim=-1)
            maps.append(weights)
            x = x + self.linear(f"{own}.self_attn.out_proj", (weights @ v).transpose(0, 1).flatten(1))
            hidden = self.linear(f"{own}.mlp.fc1", self.layer_norm(f"{own}.layer_norm2", x))
            x = x + self.linear(f"{own}.mlp.fc2", functional.gelu(hidden, approximate="tanh"))
        self.maps.vision.append(maps)
        x = self.layer_norm(f"{name}.post_layernorm", x).reshape(side, side, -1)
        joined = [
            torch.cat([x[r + dr, c + dc] for dr in range(JOINED) for dc in range(JOINED)])
            for r in range(0, side, JOINED)
            for c in range(0, side, JOINED)
        ]
        return self.linear(f"{ROOT}vlm.model.connector.modality_projection.proj", torch.stack(joined))

    def words(self, ids: Sequence[int]) -> Tensor:
        return self.t[f"{ROOT}vlm.model.text_model.embed_tokens.weight"][list(ids)]

    def rope(self, x: Tensor, positions: Tensor) -> Tensor:
        """[n, A, d]"""
        half = x.shape[-1] // 2
        timescale = 10_000 ** (2.0 / x.shape[-1] * torch.arange(half, dtype=torch.float32))
        radians = (positions[:, None].float() / timescale)[:, None]
        x1, x2 = x[..., :half], x[..., half:]
        sin, cos = radians.sin(), radians.cos()
        return torch.cat([x1 * cos - x2 * sin, x2 * cos + x1 * sin], dim=-1)

    def attention(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[n, A, d], [m, G, d], [m, G, d], [n, m] -> [n, A * d] and the map [A, n, m]"""
        k, v = (each.repeat_interleave(HEADS // KV_HEADS, dim=1) for each in (k, v))
        scores = torch.einsum("nad,mad->anm", q, k) * HEAD**-0.5
        weights = torch.softmax(torch.where(mask, scores, torch.finfo(torch.float32).min), dim=-1)
        return torch.einsum("anm,mad->nad", weights, v).flatten(1), weights

    def rest_of_layer(self, own: str, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.linear(f"{own}.self_attn.o_proj", attended)
        normed = self.rms_norm(f"{own}.post_attention_layernorm", x)
        gated = functional.silu(self.linear(f"{own}.mlp.gate_proj", normed)) * self.linear(f"{own}.mlp.up_proj", normed)
        return x + self.linear(f"{own}.mlp.down_proj", gated)

    def projected(self, own: str, kind: str, x: Tensor) -> Tensor:
        return self.linear(f"{own}.self_attn.{kind}_proj", x).unflatten(-1, (-1, HEAD))

    def actions(
        self,
        images: Sequence[Tensor | None],
        ids: Sequence[int],
        state: Tensor,
        noise: Tensor,
        padding: int = 0,
        marks: tuple[int, int] | None = None,
        prefix_length: int = -1,
    ) -> Tensor:
        """Normalised actions [chunk, padded dimensions]. ``images``: None is an empty camera; ``padding`` words."""
        x, pad, blocks = self.prefix(images, ids, state, padding, marks)
        while len(x) < prefix_length:
            x, pad, blocks = torch.cat([x, torch.zeros(1, x.shape[1])]), [*pad, False], [*blocks, 0]
        padded = torch.tensor(pad)
        self.maps.read = [index for index, there in enumerate(pad) if there]
        order = torch.tensor(blocks).cumsum(0)
        mask = (order[None] <= order[:, None]) & padded[None] & padded[:, None]
        positions = padded.long().cumsum(0) - 1
        cache = []
        for layer in range(self.layers):
            own = f"{ROOT}vlm.model.text_model.layers.{layer}"
            normed = self.rms_norm(f"{own}.input_layernorm", x)
            q, k, v = (self.projected(own, kind, normed) for kind in "qkv")
            q, k = self.rope(q, positions), self.rope(k, positions)
            attended, weights = self.attention(q, k, v, mask)
            self.maps.language.append(weights)
            cache.append((k, v))
            x = self.rest_of_layer(own, x, attended)
        steps = self.config["num_steps"]
        dt = -1.0 / steps
        for step in range(steps):
            noise = noise + dt * self.denoise(noise, 1.0 + step * dt, cache, padded)
        return noise

    def prefix(
        self,
        images: Sequence[Tensor | None],
        ids: Sequence[int],
        state: Tensor,
        padding: int,
        marks: tuple[int, int] | None,
    ) -> tuple[Tensor, list[bool], list[int]]:
        parts: list[Tensor] = []
        pad: list[bool] = []
        for image in images:
            if marks:
                parts.append(self.words(marks))
                pad += [True, True]
            embedded = self.image(image if image is not None else -torch.ones(3, IMAGE, IMAGE))
            parts.append(embedded * embedded.shape[-1] ** 0.5)
            pad += [image is not None] * len(embedded)
            if marks:
                parts.append(self.words(marks[:1]))
                pad += [True]
        words = self.words([*ids, *[2] * padding])
        parts += [words * math.sqrt(words.shape[-1]), self.linear("model.state_proj", state)[None]]
        pad += [True] * len(ids) + [False] * padding + [True]
        return torch.cat(parts), pad, [0] * (len(pad) - 1) + [1]

    def denoise(self, noisy: Tensor, time: float, cache: list[tuple[Tensor, Tensor]], padded: Tensor) -> Tensor:
        actions = self.linear("model.action_in_proj", noisy)
        width = actions.shape[-1]
        low, high = self.config["min_period"], self.config["max_period"]
        period = low * (high / low) ** torch.linspace(0, 1, width // 2, dtype=torch.float64)
        angle = 2 * math.pi / period * torch.tensor(time, dtype=torch.float32).double()
        moment = torch.cat([angle.sin(), angle.cos()]).float().expand(len(noisy), width)
        x = self.linear("model.action_time_mlp_in", torch.cat([actions, moment], dim=1))
        x = self.linear("model.action_time_mlp_out", x * torch.sigmoid(x))
        chunk, maps = len(noisy), []
        count = 1 + max(int(n.split(".")[4]) for n in self.t if "lm_expert.layers" in n)
        for layer in range(self.layers):
            every = self.layers // count
            if layer % every:
                continue
            own = f"{ROOT}lm_expert.layers.{layer // every}"
            normed = self.rms_norm(f"{own}.input_layernorm", x)
            q, prefix = self.projected(own, "q", normed), padded[None].expand(chunk, -1)
            keys, values = cache[layer]
            if self.looks_at_chunk(layer):
                positions = padded.sum() + torch.arange(chunk)
                k = torch.cat([keys, self.rope(self.projected(own, "k", normed), positions)])
                v = torch.cat([values, self.projected(own, "v", normed)])
                mask = torch.cat([prefix, torch.ones(chunk, chunk, dtype=torch.bool).tril()], dim=1)
            else:
                positions, mask = torch.arange(chunk), prefix
                k, v = self.projected(own, "k", keys.flatten(1)), self.projected(own, "v", values.flatten(1))
            attended, weights = self.attention(self.rope(q, positions), k, v, mask)
            maps.append(weights)
            x = self.rest_of_layer(own, x, attended)
        self.maps.expert.append(maps)
        return self.linear("model.action_out_proj", self.rms_norm(f"{ROOT}lm_expert.norm", x))

    def looks_at_chunk(self, layer: int) -> bool:
        every = self.config["self_attn_every_n_layers"]
        return "cross" not in self.config["attention_mode"] or (every > 0 and layer % every == 0)
