"""transformers' π0 network from the files of either layout, its attention ready to hand out rows."""

from __future__ import annotations

import torch
import transformers
from jaxtyping import Float
from torch import Tensor
from transformers import PI0ForConditionalGeneration

from models.capture import ROW_ATTENTION
from models.checkpoint_files import CheckpointFiles
from models.families.pi0_config import PI0Config
from models.families.pi0_places import places, stored_name, unused
from models.families.weights import Weights, described, fill, read_transformers_config, without_weights


def build_network(
    files: CheckpointFiles, config: PI0Config, lerobot: bool, weights: Weights
) -> PI0ForConditionalGeneration:
    """Raises UserError for tensors that are missing, misshapen or left over."""
    layout = _layout(config) if lerobot else read_transformers_config(transformers.PI0Config, files)
    model = described(
        f"{files.model} makes no π0 network",
        lambda: without_weights(
            lambda: PI0ForConditionalGeneration._from_config(
                layout, attn_implementation=ROW_ATTENTION, dtype=weights.dtype
            )
        ),
    )
    model.model.dit.embed_tokens = None  # the expert reads no words
    known = places(weights.stored)
    missing = {stored_name(place, known): place for place in model.state_dict() if place not in known.values()}
    fill(model, weights, {**missing, **known}, unused(weights.stored))
    if lerobot and weights.device.type != "mps":  # which has no float64
        encoding = model.embed_action_time.sinusoid_embeds
        encoding.sinusoid_freq = _frequencies(config)
    return model.to(weights.device).eval()


def _layout(config: PI0Config) -> transformers.PI0Config:
    """Of a LeRobot folder, by the sizes of its tensors; all else is as published."""
    sizes, vision = config.sizes, config.sizes.vision
    gemma = {
        part: {
            "model_type": "gemma",
            "hidden_size": each.width,
            "intermediate_size": each.hidden,
            "num_hidden_layers": each.layers,
            "num_attention_heads": each.heads,
            "num_key_value_heads": each.key_heads,
            "head_dim": each.head_dim,
            "vocab_size": sizes.vocabulary,
        }
        for part, each in (("language", sizes.language), ("expert", sizes.expert))
    }
    tower = {
        "model_type": "siglip_vision_model",
        "hidden_size": vision.width,
        "intermediate_size": vision.hidden,
        "num_hidden_layers": vision.layers,
        "num_attention_heads": vision.heads,
        "image_size": vision.image,
        "patch_size": vision.patch,
        "vision_use_head": False,
    }
    paligemma = {"model_type": "paligemma", "text_config": gemma["language"], "vision_config": tower}
    return transformers.PI0Config(
        vlm_config={**paligemma, "projection_dim": sizes.projection},
        dit_config=gemma["expert"],
        chunk_size=config.chunk,
        max_state_dim=config.state_dim,
        max_action_dim=config.action_dim,
        num_inference_steps=config.denoising_steps,
        min_period=config.min_period,
        max_period=config.max_period,
    )


def _frequencies(config: PI0Config) -> Float[Tensor, " F"]:
    """Of the sine and cosine encoding of the time, in float64 as LeRobot computes them: the fastest turns 250 times."""
    fraction = torch.linspace(0.0, 1.0, config.sizes.expert.width // 2, dtype=torch.float64)
    return 2 * torch.pi / (config.min_period * (config.max_period / config.min_period) ** fraction)
