"""SmolVLA's network: a SmolVLM that reads the prefix once, and beside it an action expert that denoises the chunk.

Parameters have the names that LeRobot stores, after "model.". Facts are those of lerobot's smolvlm_with_expert.py and
modeling_smolvla.py: the language model's layers run with rotary positions of wavelength 10000 whatever its own
configuration says; every other expert layer looks at the prefix alone, through projections of the language model's keys
and values of that layer, and counts its positions from 0; the chunk is causal; attention is computed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import Idefics3Config, Idefics3Model, PretrainedConfig, SmolVLMConfig, SmolVLMModel
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaDecoderLayer, LlamaModel

from models.capture import ROW_ATTENTION, row_attention
from models.families.smolvla_config import ExpertPlan, SmolVLAConfig

BACKBONES: dict[str, tuple[type[PretrainedConfig], type[SmolVLMModel] | type[Idefics3Model]]] = {
    "smolvlm": (SmolVLMConfig, SmolVLMModel),
    "idefics3": (Idefics3Config, Idefics3Model),
}
MAX_WAVELENGTH = 10_000


@dataclass(frozen=True)
class PrefixCache:
    """Keys (rotated) and values of every language layer over the prefix."""

    keys: tuple[Float[Tensor, "1 G P d"], ...]
    values: tuple[Float[Tensor, "1 G P d"], ...]

    @property
    def length(self) -> int:
        return self.keys[0].shape[2]


class VisionLanguageModel(nn.Module):
    """Where the stored names say "vlm"."""

    def __init__(self, config: PretrainedConfig):
        super().__init__()
        _, kind = BACKBONES[config.model_type]
        self.model = kind._from_config(config, attn_implementation=ROW_ATTENTION)


class VLMWithExpert(nn.Module):
    """Two towers of Llama layers, of different width, with the same number and size of heads."""

    def __init__(self, config: SmolVLAConfig, backbone: PretrainedConfig, plan: ExpertPlan):
        super().__init__()
        text = deepcopy(backbone.text_config)
        used = deepcopy(backbone)
        used.text_config.num_hidden_layers = len(plan.beside)
        self.vlm = VisionLanguageModel(used)
        text.hidden_size = int(text.hidden_size * config.expert_width)
        text.intermediate_size = intermediate_size(text.hidden_size)
        text.num_hidden_layers = len(plan.projects_prefix)
        self.lm_expert = LlamaModel._from_config(text, attn_implementation=ROW_ATTENTION)
        self.lm_expert.embed_tokens = None
        width = text.num_key_value_heads * text.head_dim
        for layer, projects in zip(self.lm_expert.layers, plan.projects_prefix, strict=True):
            if projects:
                layer.self_attn.k_proj = nn.Linear(width, width, bias=text.attention_bias)
                layer.self_attn.v_proj = nn.Linear(width, width, bias=text.attention_bias)


class SmolVLANetwork(nn.Module):
    """Everything that has weights."""

    def __init__(self, config: SmolVLAConfig, backbone: PretrainedConfig, plan: ExpertPlan):
        super().__init__()
        self._config, self._plan = config, plan
        self.vlm_with_expert = VLMWithExpert(config, backbone, plan)
        width, expert = backbone.text_config.hidden_size, self.expert.config.hidden_size
        self.state_proj = nn.Linear(config.state_dim, width)
        self.action_in_proj = nn.Linear(config.action_dim, expert)
        self.action_out_proj = nn.Linear(expert, config.action_dim)
        self.action_time_mlp_in = nn.Linear(2 * expert, expert)
        self.action_time_mlp_out = nn.Linear(expert, expert)

    @property
    def vlm(self) -> SmolVLMModel | Idefics3Model:
        return self.vlm_with_expert.vlm.model

    @property
    def expert(self) -> LlamaModel:
        return self.vlm_with_expert.lm_expert

    @property
    def dtype(self) -> torch.dtype:
        return self.state_proj.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.state_proj.weight.device

    def embed_images(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n t width"]:
        """``pixels`` in [-1, 1]; patches are joined into tokens, row by row."""
        seen = self.vlm.vision_model(pixel_values=pixels.to(self.device, self.dtype)).last_hidden_state
        joined: Tensor = self.vlm.connector(seen)
        return joined * torch.tensor(joined.shape[-1] ** 0.5, dtype=joined.dtype, device=joined.device)

    def embed_tokens(self, ids: Sequence[int], words: bool) -> Float[Tensor, "1 n width"]:
        """The instruction's words are scaled like images; the marks around images are not."""
        embedded: Tensor = self.vlm.text_model.embed_tokens(torch.tensor([list(ids)], device=self.device))
        return embedded * math.sqrt(embedded.shape[-1]) if words else embedded

    def embed_state(self, state: Float[Tensor, "1 S"]) -> Float[Tensor, "1 1 width"]:
        projected: Tensor = self.state_proj(state.to(self.device, self.dtype))
        return projected[:, None]

    def read(self, prefix: Float[Tensor, "1 P width"]) -> PrefixCache:
        """Images and words look at each other, not at the state, which is the last position and looks at all."""
        length, keys, values = prefix.shape[1], [], []
        mask = torch.ones(1, 1, length, length, dtype=torch.bool, device=prefix.device)
        mask[..., :-1, -1] = False
        positions = torch.arange(length, device=prefix.device)
        hidden = prefix
        for layer in self.vlm.text_model.layers:
            attention, normed = layer.self_attn, layer.input_layernorm(hidden)
            query = rotated(_heads(attention, attention.q_proj(normed)), positions)
            key = rotated(_heads(attention, attention.k_proj(normed)), positions)
            value = _heads(attention, attention.v_proj(normed))
            hidden = _after_attention(layer, hidden, _attend(attention, query, key, value, mask))
            keys.append(key)
            values.append(value)
        return PrefixCache(tuple(keys), tuple(values))

    def velocity(
        self, noisy: Float[Tensor, "1 T D"], time: float, cache: PrefixCache, expect: Callable[[int], None]
    ) -> Float[Tensor, "1 T D"]:
        """Where the noisy chunk should move at ``time`` (1: noise, 0: actions), float32.

        ``expect`` is told before each attention how many positions it sees, from the first of the prefix on.
        """
        hidden = self._embed_chunk(noisy, time)
        chunk, prefix = noisy.shape[1], cache.length
        causal = torch.ones(chunk, prefix + chunk, dtype=torch.bool, device=self.device).tril(prefix)[None, None]
        for place, number in enumerate(self._plan.beside):
            if number is None:
                continue
            layer: LlamaDecoderLayer = self.expert.layers[number]
            keys, values, whole = cache.keys[place], cache.values[place], self._plan.whole[place]
            expect(prefix + chunk if whole else prefix)
            normed = layer.input_layernorm(hidden)
            if whole:
                attended = _look_at_all(layer.self_attn, normed, keys, values, causal)
            else:
                attended = _look_at_prefix(layer.self_attn, normed, keys, values)
            hidden = _after_attention(layer, hidden, attended)
        out: Tensor = self.action_out_proj(self.expert.norm(hidden))
        return out.float()

    def denoise(
        self, noise: Float[Tensor, "1 T D"], cache: PrefixCache, expect: Callable[[int], None]
    ) -> Float[Tensor, "1 T D"]:
        """Forward Euler from time 1 (noise) to 0 (actions, normalised)."""
        change = -1.0 / self._config.denoising_steps
        moving = noise.to(self.device)
        for step in range(self._config.denoising_steps):
            moving = moving + change * self.velocity(moving, 1.0 + step * change, cache, expect)
        return moving

    def _embed_chunk(self, noisy: Float[Tensor, "1 T D"], time: float) -> Float[Tensor, "1 T expert"]:
        actions: Tensor = self.action_in_proj(noisy.to(self.dtype))
        moment = time_encoding(time, actions.shape[-1], self._config.min_period, self._config.max_period)
        moment = moment.to(actions.device, actions.dtype).expand_as(actions)
        mixed = self.action_time_mlp_in(torch.cat([actions, moment], dim=2))
        embedded: Tensor = self.action_time_mlp_out(nn.functional.silu(mixed))
        return embedded


def intermediate_size(width: int) -> int:
    """Of the expert's feed-forward layers: 8/3 of its width, rounded as lerobot's get_intermediate_size does."""
    wanted = int(4 * int(2 * width / 3))
    return 256 * ((wanted + 255) // 256)


def time_encoding(time: float, width: int, min_period: float, max_period: float) -> Float[Tensor, " width"]:
    """Sines, then cosines, of ``time`` (as a float32 number) in periods from ``min_period`` to ``max_period``."""
    fraction = torch.linspace(0.0, 1.0, width // 2, dtype=torch.float64)
    period = min_period * (max_period / min_period) ** fraction
    angle = 1.0 / period * 2 * math.pi * torch.tensor(time, dtype=torch.float32)
    return torch.cat([torch.sin(angle), torch.cos(angle)])


def rotated(states: Float[Tensor, "1 A n d"], positions: Int[Tensor, " n"]) -> Float[Tensor, "1 A n d"]:
    """Rotary positions, computed in float32: first half of a head's values against the second."""
    half = states.shape[-1] // 2
    exponent = 2.0 / states.shape[-1] * torch.arange(half, dtype=torch.float32, device=states.device)
    angle = positions[:, None].float() / MAX_WAVELENGTH**exponent
    sine, cosine = torch.sin(angle), torch.cos(angle)
    first, second = states.float().split(half, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1).to(states.dtype)


def _look_at_all(
    attention: LlamaAttention,
    normed: Float[Tensor, "1 T expert"],
    keys: Float[Tensor, "1 G P d"],
    values: Float[Tensor, "1 G P d"],
    mask: Bool[Tensor, "1 1 T K"],
) -> Float[Tensor, "1 T Ad"]:
    """The chunk looks at the prefix and, causally, at itself; its positions go on where the prefix ends."""
    positions = torch.arange(normed.shape[1], device=normed.device) + keys.shape[2]
    query = rotated(_heads(attention, attention.q_proj(normed)), positions)
    key = rotated(_heads(attention, attention.k_proj(normed)), positions)
    value = _heads(attention, attention.v_proj(normed))
    return _attend(attention, query, torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2), mask)


def _look_at_prefix(
    attention: LlamaAttention,
    normed: Float[Tensor, "1 T expert"],
    keys: Float[Tensor, "1 G P d"],
    values: Float[Tensor, "1 G P d"],
) -> Float[Tensor, "1 T Ad"]:
    """The expert projects the language model's keys, rotated as they are, and values; its positions begin at 0."""
    positions = torch.arange(normed.shape[1], device=normed.device)
    query = rotated(_heads(attention, attention.q_proj(normed)), positions)
    key, value = attention.k_proj(_side_by_side(keys)), attention.v_proj(_side_by_side(values))
    return _attend(attention, query, _heads(attention, key), _heads(attention, value), None)


def _attend(attention: LlamaAttention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """In float32, whatever the weights are."""
    output, _ = row_attention(
        attention, query.float(), key.float(), value.float(), mask, scaling=attention.scaling, is_causal=False
    )
    return output.flatten(2).to(attention.o_proj.weight.dtype)


def _after_attention(layer: LlamaDecoderLayer, hidden: Tensor, attended: Tensor) -> Tensor:
    hidden = hidden + layer.self_attn.o_proj(attended)
    output: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return output


def _heads(attention: LlamaAttention, projected: Float[Tensor, "1 n Ad"]) -> Float[Tensor, "1 A n d"]:
    return projected.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)


def _side_by_side(states: Float[Tensor, "1 G n d"]) -> Float[Tensor, "1 n Gd"]:
    return states.transpose(1, 2).flatten(2)
