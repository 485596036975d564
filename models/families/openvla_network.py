"""OpenVLA's network: one or two vision towers, an MLP projector, and a Llama that reads the patches after BOS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from models.capture import LANGUAGE, ROW_ATTENTION, AttentionSite, attention_sites
from models.errors import UserError
from models.families.openvla_config import OpenVLAConfig
from models.families.timm_vit import TimmViT
from models.families.timm_vit_shape import VitShape
from models.families.weights import Weights, described, fill, transformers_places, without_weights

TOWER_NAMES = ("featurizer", "fused_featurizer")
LANGUAGE_SITES = r"^language_model\.model\.layers\.(\d+)\.self_attn$"


class OpenVLANetwork(nn.Module):
    """Parameters are named as the published files name them."""

    def __init__(self, towers: tuple[VitShape, ...], text: LlamaConfig, dtype: torch.dtype):
        super().__init__()
        self.vision_backbone = VisionBackbone(towers)
        self.projector = Projector(sum(tower.width for tower in towers), text.hidden_size, len(towers) == 2)
        self.language_model = LlamaForCausalLM._from_config(text, attn_implementation=ROW_ATTENTION, dtype=dtype)

    @property
    def device(self) -> torch.device:
        return self.language_model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.language_model.dtype

    def forward(
        self,
        input_ids: Int[Tensor, "B S"],
        pixel_values: tuple[Float[Tensor, "B 3 h w"], ...],
        use_cache: bool = False,
        logits_to_keep: int = 0,
    ) -> Any:
        """Prompt and answer at once, for training. ``input_ids``: any id at the patches' places, right after BOS."""
        features = self.image_features(pixel_values)
        words: Tensor = self.language_model.get_input_embeddings()(input_ids)
        read = torch.cat([words[:, :1], features.to(words.dtype), words[:, 1 + features.shape[1] :]], dim=1)
        return self.language_model(inputs_embeds=read, use_cache=use_cache, logits_to_keep=logits_to_keep)

    def image_features(self, pixels: tuple[Float[Tensor, "I 3 h w"], ...]) -> Float[Tensor, "I P width"]:
        """Patches of each image as the language model reads them; the images once for each tower."""
        return self.projector(self.vision_backbone(pixels))

    def embed(self, ids: tuple[int, ...], pixels: tuple[Float[Tensor, "1 3 h w"], ...]) -> Float[Tensor, "1 P width"]:
        """The whole prompt: BOS, patches, words."""
        return self.merged(ids, self.image_features(pixels))

    def merged(self, ids: tuple[int, ...], features: Float[Tensor, "1 n width"]) -> Float[Tensor, "1 P width"]:
        """The same where the images' patches are known already."""
        words = self.language_model.get_input_embeddings()(torch.tensor([ids], device=self.device))
        return torch.cat([words[:, :1], features, words[:, 1:]], dim=1)

    def sites(self, streams: tuple[str, ...]) -> dict[nn.Module, AttentionSite]:
        """Every attention module; ``streams`` names the towers'."""
        towers = {
            stream: rf"^vision_backbone\.{name}\.blocks\.(\d+)\.attn$"
            for stream, name in zip(streams, TOWER_NAMES, strict=False)
        }
        return attention_sites(self, {LANGUAGE: LANGUAGE_SITES} | towers)


class VisionBackbone(nn.Module):
    def __init__(self, towers: tuple[VitShape, ...]):
        super().__init__()
        self.featurizer = TimmViT(towers[0])
        if len(towers) == 2:
            self.fused_featurizer = TimmViT(towers[1])

    def forward(self, pixels: tuple[Float[Tensor, "I 3 h w"], ...]) -> Float[Tensor, "I P width"]:
        features = [tower(image) for tower, image in zip(self.towers, pixels, strict=True)]
        return torch.cat(features, dim=2)

    @property
    def towers(self) -> tuple[TimmViT, ...]:
        return tuple(getattr(self, name) for name in TOWER_NAMES if hasattr(self, name))


class Projector(nn.Module):
    def __init__(self, vision: int, width: int, fused: bool):
        super().__init__()
        inner = 4 * vision if fused else width
        self.fc1 = nn.Linear(vision, inner)
        self.fc2 = nn.Linear(inner, width)
        if fused:
            self.fc3 = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "I P vision"]) -> Float[Tensor, "I P width"]:
        x = self.fc2(nn.functional.gelu(self.fc1(x)))
        return self.fc3(nn.functional.gelu(x)) if hasattr(self, "fc3") else x


def load_network(
    config: OpenVLAConfig, weights: Weights, speaks: bool = True, unused: Mapping[str, str] | None = None
) -> OpenVLANetwork:
    """``speaks``: with the head that scores words; ``unused``: as of `fill`, beside what the configuration says.

    Raises UserError for a tensor that is missing, misshapen or left over.
    """
    text = _text_config(weights)
    network = described(
        f"{weights.files.model / 'config.json'} does not describe an OpenVLA",
        lambda: without_weights(lambda: OpenVLANetwork(config.towers, text, weights.dtype)),
    )
    if not speaks:
        network.language_model.lm_head = nn.Identity()
    fill(network, weights, openvla_places(network, weights.stored), {**config.unused, **(unused or {})})
    return network.to(weights.device).eval()


def openvla_places(network: OpenVLANetwork, stored: Iterable[str]) -> dict[str, str]:
    """Stored name -> name in ``network``."""
    names = tuple(stored)
    places = {name: name for name in names if name.startswith("projector.")}
    for inside, tower in zip(TOWER_NAMES, network.vision_backbone.towers, strict=False):
        own = tower.places(names)
        places |= {name: f"vision_backbone.{inside}.{place}" for name, place in own.items()}
    language = {name: name.removeprefix("language_model.") for name in names if name.startswith("language_model.")}
    known = transformers_places(network.language_model, language.values())
    return places | {name: f"language_model.{known[own]}" for name, own in language.items()}


def _text_config(weights: Weights) -> LlamaConfig:
    section = weights.files.config().section("text_config")
    settings = {key: value for key, value in section.fields.items() if key != "model_type"}
    if settings.get("tie_word_embeddings"):
        raise UserError(f"{section.where}.tie_word_embeddings is true; OpenVLA's files hold an lm_head of their own")
    return described(f"{section.where} does not describe a Llama", lambda: LlamaConfig.from_dict(settings))
