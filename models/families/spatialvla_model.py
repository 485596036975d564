"""SpatialVLA's networks under the names of its files: SigLIP, ZoeDepth, Ego3D, projector and Gemma 2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    PretrainedConfig,
    SiglipVisionConfig,
    SiglipVisionModel,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
)

from models.capture import ROW_ATTENTION
from models.config_section import ConfigSection
from models.families.ego3d import Ego3DPositions, depth_on_image, patch_points, seen_by_zoe
from models.families.spatialvla_settings import SpatialVLASettings
from models.families.weights import Weights, described, fill, transformers_places, without_weights

Config = TypeVar("Config", bound=PretrainedConfig)
TOWERS = ("vision_tower", "vision_zoe_model", "language_model")  # transformers' own models, its own names inside


class PrefixGemma2(Gemma2ForCausalLM):
    """Gemma 2 as PaliGemma uses it: the prompt looks both ways, and positions are counted from one."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Any = None,
        prefix: int | Int[Tensor, " B"] = 0,
        **kwargs: Any,
    ) -> Any:
        """``prefix``: how many positions at the start see each other; for a forward that begins the sequence."""
        given = inputs_embeds if inputs_embeds is not None else input_ids
        assert given is not None
        seen = past_key_values.get_seq_length() if past_key_values is not None else 0
        count = given.shape[1]
        positions = torch.arange(seen + 1, seen + count + 1, device=given.device)[None]
        if isinstance(prefix, Tensor) or prefix:
            kwargs["attention_mask"] = prefix_masks(prefix, count, self.config.sliding_window, given.device)
        return super().forward(
            input_ids=input_ids,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            position_ids=positions,
            **kwargs,
        )


def prefix_masks(
    prefix: int | Int[Tensor, " B"], length: int, window: int | None, device: torch.device
) -> dict[str, Bool[Tensor, "B 1 Q K"]]:
    """Who may look where (True), per kind of layer; a sliding layer's query sees ``window`` positions back.

    ``prefix``: of every sample, or of all alike, which then is a batch of one.
    """
    query, key = torch.arange(length, device=device)[:, None], torch.arange(length, device=device)
    end = torch.as_tensor(prefix, device=device).reshape(-1, 1, 1)
    full = (key <= query) | ((query < end) & (key < end))
    near = full & (key > query - window) if window is not None else full
    return {"full_attention": full[:, None], "sliding_attention": near[:, None]}


class Projector(nn.Module):
    def __init__(self, width: int, out: int):
        super().__init__()
        self.linear = nn.Linear(width, out)

    def forward(self, features: Float[Tensor, "B P width"]) -> Float[Tensor, "B P out"]:
        projected: Tensor = self.linear(features)
        return projected


class SpatialVLAModel(nn.Module):
    """Image to what Gemma 2 reads in place of its tokens. Holds no state between calls."""

    spatial_embed_tokens: nn.Embedding | None
    intrinsic: Float[Tensor, "3 3"]

    def __init__(self, settings: SpatialVLASettings, text: Any, vision: Any, zoe: Any, dtype: torch.dtype):
        super().__init__()
        rows = {"attn_implementation": ROW_ATTENTION, "dtype": dtype}
        self._patch, self._reso, self._image_token = vision.patch_size, settings.reso, settings.image_token
        self.vision_tower = SiglipVisionModel._from_config(vision, **rows)
        self.multi_modal_projector = Projector(vision.hidden_size, settings.projection)
        self.language_model: PrefixGemma2 = PrefixGemma2._from_config(text, **rows)
        if zoe is not None:
            self.vision_zoe_model = ZoeDepthForDepthEstimation._from_config(
                zoe, attn_implementation="eager", dtype=dtype
            )
            self.position_embedding_3d = Ego3DPositions(settings.reso**2, vision.hidden_size, settings.frequencies)
        self._sees_depth = zoe is not None
        # of the camera, float32 in any case: what is passed to a forward is cast where weights are sharded
        self.register_buffer("intrinsic", torch.eye(3), persistent=False)
        self.spatial_embed_tokens = (
            nn.Embedding(settings.spatial_tokens, text.hidden_size) if settings.use_spatial_tokens else None
        )

    @property
    def all_tied_weights_keys(self) -> Mapping[str, str]:
        """Parameters that share their weights, for `fill`: the language model's head, where it is tied."""
        ties: Mapping[str, str] = self.language_model.all_tied_weights_keys
        return {f"language_model.{target}": f"language_model.{source}" for target, source in ties.items()}

    def forward(
        self,
        input_ids: Int[Tensor, "B S"],
        token_type_ids: Int[Tensor, "B S"],
        pixel_values: Float[Tensor, "B 3 h w"],
        use_cache: bool = False,
        logits_to_keep: int = 0,
    ) -> Any:
        """Prompt and answer at once, for training. ``token_type_ids``: 0 over the prompt, which is first, then 1."""
        features = self.image_features(pixel_values, self.depth(pixel_values))
        return self.language_model(
            inputs_embeds=self.merged(input_ids, features),
            prefix=(token_type_ids == 0).sum(1),
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
        )

    def train(self, mode: bool = True) -> SpatialVLAModel:
        """ZoeDepth only ever predicts: what the policy learns with is the depth that it will see."""
        super().train(mode)
        if self._sees_depth:
            self.vision_zoe_model.eval()
        return self

    def merged(self, ids: Int[Tensor, "B S"], features: Float[Tensor, "*B n width"]) -> Float[Tensor, "B S width"]:
        """What Gemma 2's first layer reads: words, and the image in place of its tokens."""
        embedded: Tensor = self.language_model.get_input_embeddings()(ids)
        return embedded.masked_scatter((ids == self._image_token)[..., None], features.to(embedded.dtype))

    def depth(self, pixels: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B 1 h w"] | None:
        """Metres at every pixel of the image (in [0, 1]); None for a checkpoint without depth."""
        if not self._sees_depth:
            return None
        kind = self.vision_zoe_model.dtype
        with torch.no_grad():  # as in training: nothing is learned through the depth
            metres = self.vision_zoe_model(pixel_values=seen_by_zoe(pixels.float()).to(kind)).predicted_depth
            return depth_on_image(metres.float(), *pixels.shape[-2:])

    def image_features(
        self, pixels: Float[Tensor, "B 3 h w"], depth: Float[Tensor, "B 1 h w"] | None
    ) -> Float[Tensor, "B P out"]:
        """One vector a patch, scaled as Gemma 2's own embeddings are when its first layer reads them."""
        pixels = pixels.to(self.language_model.dtype)
        seen: Tensor = self.vision_tower((pixels - 0.5) / 0.5).last_hidden_state
        if depth is not None:
            with torch.autocast(depth.device.type, enabled=False):  # half precision would move points by pixels
                points = patch_points(depth, self.intrinsic, self._patch, self._reso)
            seen = seen + self.position_embedding_3d(points)
        projected: Tensor = self.multi_modal_projector(seen)
        return projected


def load_spatialvla_model(config: ConfigSection, settings: SpatialVLASettings, weights: Weights) -> SpatialVLAModel:
    """Raises UserError for a configuration that describes no such model, or weights that do not fit it."""
    text = _sub_config(config, "text_config", Gemma2Config)
    vision = _sub_config(config, "vision_config", SiglipVisionConfig)
    zoe = _sub_config(config, "vision_zoe_config", ZoeDepthConfig) if settings.use_depth else None
    model = described(
        _no_part(config),
        lambda: without_weights(lambda: SpatialVLAModel(settings, text, vision, zoe, weights.dtype)),
    )
    fill(model, weights, spatialvla_places(model, weights.stored), settings.unused)
    model.language_model.tie_weights()
    _use_spatial_tokens(model, settings)
    return model.to(weights.device).eval()


def _use_spatial_tokens(model: SpatialVLAModel, settings: SpatialVLASettings) -> None:
    """The rows that action tokens are read with are stored apart; the embeddings' own are left from an earlier run."""
    if model.spatial_embed_tokens is None:
        return
    rows = model.spatial_embed_tokens.weight.data
    embeddings = model.language_model.get_input_embeddings().weight.data
    embeddings[-len(rows) :] = rows
    embeddings[settings.grid.first : settings.grid.first + len(rows)] = rows  # the same rows in published files
    model.spatial_embed_tokens = None


def spatialvla_places(model: SpatialVLAModel, names: Iterable[str]) -> dict[str, str]:
    """Stored name -> name in the model; inside a tower as transformers itself maps its older names."""
    places = {name: name for name in names}
    for tower in TOWERS:
        inner = {name: name.removeprefix(f"{tower}.") for name in places if name.startswith(f"{tower}.")}
        if inner and hasattr(model, tower):
            mapped = transformers_places(getattr(model, tower), inner.values())
            places |= {name: f"{tower}.{mapped[short]}" for name, short in inner.items()}
    return places


def _sub_config(config: ConfigSection, key: str, kind: type[Config]) -> Config:
    section = config.section(key)
    read: Config = described(_no_part(section), lambda: kind.from_dict(dict(section.fields)))
    return read


def _no_part(section: ConfigSection) -> str:
    return f"{section.where} does not describe a part of SpatialVLA"
