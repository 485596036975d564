"""SmolVLA: a SmolVLM that reads cameras, instruction and state, and an action expert that denoises a chunk beside it.

Layout of the folder and what is read of it: docs/checkpoint-lerobot.md. The lerobot package is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.capture import LANGUAGE, VISION, RowCollector, attention_sites, check_layers, collecting
from models.checkpoint import TensorInfo
from models.checkpoint_files import CheckpointFiles
from models.cut_attention import Cuttable, cutting
from models.errors import UserError
from models.families.continuous_chunk import (
    EXPERT,
    ChunkPlaces,
    DenoisingRows,
    continuous_prediction,
    in_robot_units,
    starting_noise,
    with_chunk,
)
from models.families.lerobot_folder import ACTION, STATE, LerobotFolder
from models.families.smolvla_config import NEW_LINE, Backbone, ExpertPlan, SmolVLAConfig
from models.families.smolvla_network import BACKBONES, PrefixCache, SmolVLANetwork
from models.families.smolvla_prompt import Prompt, PromptBuilder, SeenFrame
from models.families.smolvla_spec import UNUSED
from models.families.weights import Weights, described, fill, read_transformers_config, without_weights
from models.policy import Policy
from models.types import (
    AttentionRecord,
    Capture,
    CheckpointSpec,
    Observation,
    Part,
    Prediction,
    Rationale,
    Span,
    TokenLayout,
)

SITES = {
    LANGUAGE: r"text_model\.layers\.(\d+)\.self_attn$",
    EXPERT: r"lm_expert\.layers\.(\d+)\.self_attn$",
    VISION: r"vision_model\.encoder\.layers\.(\d+)\.self_attn$",
}
EMBEDDINGS, HEAD = "vlm_with_expert.vlm.model.text_model.embed_tokens.weight", "vlm_with_expert.vlm.lm_head.weight"


def load_smolvla(
    files: CheckpointFiles, spec: CheckpointSpec, action_stats: str | None, device: str, dtype: str
) -> Policy:
    """Raises UserError for files that do not fit each other, or statistics that have to be chosen."""
    folder = LerobotFolder.read(files, known_steps=(NEW_LINE,))
    config = SmolVLAConfig.read(folder)
    backbone = Backbone.find(files, config)
    data_set = folder.data_set(action_stats)
    prompts = PromptBuilder(files, folder, config, backbone)
    network = _network(files, config, backbone, Weights(files, device, dtype))
    spec = replace(spec, action_space=folder.action_space(data_set, config.chunk))
    return SmolVLAPolicy(spec, folder, data_set, config, prompts, network)


class SmolVLAPolicy(Cuttable):
    """A Policy, Knockable, ActionDifferentiable. Holds no state between calls; several threads may call it at once."""

    def __init__(
        self,
        spec: CheckpointSpec,
        folder: LerobotFolder,
        data_set: str | None,
        config: SmolVLAConfig,
        prompts: PromptBuilder,
        network: SmolVLANetwork,
    ):
        self.info = spec
        self.model = network
        self._folder, self._data_set, self._config, self._prompts = folder, data_set, config, prompts
        self._sites = attention_sites(network, SITES)

    def layout(self, observation: Observation) -> TokenLayout:
        return self._prompts(observation).layout

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        if force is not None:
            raise UserError(f"{self.info.name} writes no rationale, so none can be forced on it")
        check_layers(capture.layers if capture else None, max(self.info.layers, self.info.expert_layers))
        prompt, state = self._prompts(observation), self._state(observation)
        layout = with_chunk(prompt.layout, self._config.chunk)
        places = ChunkPlaces(len(prompt.layout.tokens), len(layout.tokens), self._config.chunk)
        rows = DenoisingRows(self._sites, capture, places, self._config.denoising_steps) if capture else None
        collected = collecting(rows.collector) if rows else nullcontext()
        with torch.inference_mode(), collected, cutting(self._sites, layout) as cuts:
            if cuts is not None:
                cuts.expect_all(layout, 0, places.prefix, shifted=False)
            if rows:
                rows.expect_prefix()
            cache = self.model.read(self._embed(prompt, state))
            if cuts is not None:
                cuts.expect_all(layout, places.prefix, places.suffix, shifted=False)
            actions = self._denoise(cache, rows)
        values = actions[0, :, : self._folder.action_size].cpu().numpy()
        restored = self._folder.scaling(ACTION, self._data_set).restore(values)
        records = rows.records(layout) if rows else ()
        if rows and capture and capture.vision:
            records = (*records, *self._vision(prompt, rows.collector))
        assert self.info.action_space is not None
        return continuous_prediction(restored, self.info.action_space, layout, records)

    def embed(self, observation: Observation) -> Float[Tensor, "1 P width"]:
        return self._embed(self._prompts(observation), self._state(observation))

    def chunk_from(self, observation: Observation, embedded: Float[Tensor, "1 P width"]) -> Float[Tensor, "T D"]:
        values = self._denoise(self.model.read(embedded), None)[0, :, : self._folder.action_size]
        return in_robot_units(values, self._folder.scaling(ACTION, self._data_set).restore)

    def _denoise(self, cache: PrefixCache, rows: DenoisingRows | None) -> Tensor:
        noise = starting_noise(self._config.chunk, self._config.action_dim)
        expect: Callable[[int], None] = rows.expect_suffix if rows else lambda _: None
        return self.model.denoise(noise, cache, expect)

    def _embed(self, prompt: Prompt, state: Float[Tensor, "1 S"]) -> Float[Tensor, "1 P width"]:
        images = self.model.embed_images(torch.cat([self._pixels(seen) for seen in prompt.frames]))
        pieces = [
            self.model.embed_tokens(piece.ids, piece.words) if piece.image is None else images[piece.image][None]
            for piece in prompt.pieces
        ]
        return torch.cat([*pieces, self.model.embed_state(state)], dim=1)

    def _pixels(self, seen: SeenFrame) -> Float[Tensor, "1 3 h w"]:
        """Scaled with bilinear interpolation, padded with black at the left and top; values in [-1, 1]."""
        values = np.ascontiguousarray(seen.frame.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)
        pixels = torch.from_numpy(self._folder.scaling(seen.feature, self._data_set).normalise(values))[None]
        if self._config.image_size is not None:
            size = (seen.height, seen.width)
            pixels = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
            pixels = torch.nn.functional.pad(pixels, (seen.left, 0, seen.top, 0), value=0.0)
        return pixels * 2.0 - 1.0

    def _state(self, observation: Observation) -> Float[Tensor, "1 S"]:
        size = self._folder.state_size
        if observation.state is None:
            raise UserError(f"{self.info.name} reads {size} state values, the observation has no state")
        if observation.state.shape != (size,):
            raise UserError(f"{self.info.name} reads {size} state values, found shape {observation.state.shape}")
        padded = np.zeros((1, self._config.state_dim), np.float32)
        padded[0, :size] = self._folder.scaling(STATE, self._data_set).normalise(observation.state)
        return torch.from_numpy(padded)

    def _vision(self, prompt: Prompt, collector: RowCollector) -> tuple[AttentionRecord, ...]:
        """One record a camera, over its patches before they are joined into tokens."""
        patch = self.model.vlm.config.vision_config.patch_size
        records: list[AttentionRecord] = []
        for sample, seen in enumerate(prompt.frames):
            grid = seen.grid(patch)
            count = grid.rows * grid.columns
            texts = tuple(f"{seen.camera} {row},{column}" for row in range(grid.rows) for column in range(grid.columns))
            layout = TokenLayout(texts, (Span(Part.IMAGE, seen.camera, 0, count, grid),))
            weights = collector.weights(VISION, count, sample)
            every = tuple(range(count))
            records.append(AttentionRecord(weights, collector.layers(VISION), every, (-1,) * count, layout, VISION))
        return tuple(records)


def _network(files: CheckpointFiles, config: SmolVLAConfig, backbone: Backbone, weights: Weights) -> SmolVLANetwork:
    kind, _ = BACKBONES[backbone.files.config().text("model_type")]
    layout = read_transformers_config(kind, backbone.files)
    plan = ExpertPlan.of(config, backbone.layers)
    network = described(
        f"{files.model} and its backbone {backbone.files.model} make no network",
        lambda: without_weights(lambda: SmolVLANetwork(config, layout, plan)),
    )
    expected = {f"model.{name}": name for name in network.state_dict()}
    fill(network, weights, {**expected, **_places(weights.stored)}, UNUSED)
    return network.eval()


def _places(stored: Mapping[str, TensorInfo]) -> dict[str, str]:
    """Stored name -> name in the network. A compiled policy's names have a part more."""
    places = {name: name.replace("model._orig_mod.", "model.", 1).removeprefix("model.") for name in stored}
    if EMBEDDINGS not in places.values():  # safetensors keeps one of two tensors that share memory: the head
        return {name: EMBEDDINGS if place == HEAD else place for name, place in places.items()}
    return places
