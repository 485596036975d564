"""π0: PaliGemma and an action expert that looks at its keys, denoising a chunk of actions by flow matching.

Of transformers' own layout (PI0ForConditionalGeneration) or in a LeRobot policy folder; both run transformers' module.
What is read, in order: the cameras' images, <bos>, instruction and a new line (the prefix, in which everything looks at
everything); the state; the chunk, which looks at all of it. The state does not look at the chunk, nor the prefix at it.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache, PI0ForConditionalGeneration

from models.capture import LANGUAGE, VISION, RowCollector, attention_sites, check_layers, collecting
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
from models.families.pi0_config import PI0Config, is_old, lerobot_folder, tokenizer_folder
from models.families.pi0_images import Letterbox, Preparation, described
from models.families.pi0_network import build_network
from models.families.pi0_prompt import Prompt, PromptBuilder
from models.families.pi0_robot import Robot
from models.families.weights import Weights
from models.images import SeenImage
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
    LANGUAGE: r"vlm\.language_model\.layers\.(\d+)\.self_attn$",
    EXPERT: r"dit\.layers\.(\d+)\.self_attn$",
    VISION: r"vision_tower\.encoder\.layers\.(\d+)\.self_attn$",
}


def load_pi0(files: CheckpointFiles, spec: CheckpointSpec, action_stats: str | None, device: str, dtype: str) -> Policy:
    """Raises UserError for files that do not fit each other, a tokenizer that is not there, or statistics to choose."""
    folder = lerobot_folder(files)
    config = PI0Config.read(files, folder)
    robot = Robot.read(files, folder, config)
    data_set = robot.folder.data_set(action_stats)
    vision = config.sizes.vision
    source = tokenizer_folder(files, config.tokenizer)
    if source is None:
        beside = files.folder.resolve().parent / config.tokenizer.rsplit("/", 1)[-1]
        raise UserError(
            f"{files.folder} needs the tokenizer of {config.tokenizer!r}, but has no tokenizer.json; put one into it, "
            f"into {beside}, or name the folder of a copy of that model with base"
        )
    prompts = PromptBuilder.read(source, vision.patch, config.max_tokens)
    images = Letterbox(vision.image, is_old(folder.config)) if folder is not None else described(files, vision.image)
    model = build_network(files, config, folder is not None, Weights(files, device, dtype))
    spec = replace(spec, action_space=robot.action_space(data_set))
    return PI0Policy(spec, robot, data_set, images, prompts, model)


class PI0Policy(Cuttable):
    """A Policy, Knockable, ActionDifferentiable. Holds no state between calls; several threads may call it at once."""

    def __init__(
        self,
        spec: CheckpointSpec,
        robot: Robot,
        data_set: str | None,
        images: Preparation,
        prompts: PromptBuilder,
        model: PI0ForConditionalGeneration,
    ):
        self.info = spec
        self.model = model
        self._robot, self._data_set, self._images, self._prompts = robot, data_set, images, prompts
        self._config = robot.config
        self._sites = attention_sites(model, SITES)

    def layout(self, observation: Observation) -> TokenLayout:
        return self._prompts(self._seen(observation), observation.instruction).layout

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        if force is not None:
            raise UserError(f"{self.info.name} writes no rationale, so none can be forced on it")
        check_layers(capture.layers if capture else None, max(self.info.layers, self.info.expert_layers))
        seen = self._seen(observation)
        prompt = self._prompts(seen, observation.instruction)
        state = self._state(observation)
        layout = with_chunk(prompt.layout, self._config.chunk)
        places = ChunkPlaces(len(prompt.layout.tokens) - 1, len(layout.tokens), self._config.chunk)
        rows = DenoisingRows(self._sites, capture, places, self._config.denoising_steps) if capture else None
        collected = collecting(rows.collector) if rows else nullcontext()
        with torch.inference_mode(), collected, cutting(self._sites, layout) as cuts:
            if cuts is not None:
                cuts.expect_all(layout, 0, places.prefix, shifted=False)
            if rows:
                rows.expect_prefix()
            cache = self._read(self._embed(prompt, seen))
            if cuts is not None:
                cuts.expect_all(layout, places.prefix, places.suffix, shifted=False)
            values = self._denoise(state, cache, places.prefix, rows)
        actions = self._robot.robot_actions(values[0].cpu().numpy(), observation, self._data_set)
        records = rows.records(layout) if rows else ()
        if rows and capture and capture.vision:
            records = (*records, *_vision(layout, rows.collector))
        assert self.info.action_space is not None
        return continuous_prediction(actions, self.info.action_space, layout, records)

    def _seen(self, observation: Observation) -> dict[str, SeenImage]:
        cameras = self._robot.cameras(observation)
        return {
            camera: self._images(observation.images[camera], self._robot.folder.scaling(feature, self._data_set))
            for camera, feature in cameras.items()
        }

    def embed(self, observation: Observation) -> Float[Tensor, "1 P width"]:
        seen = self._seen(observation)
        return self._embed(self._prompts(seen, observation.instruction), seen)

    def chunk_from(self, observation: Observation, embedded: Float[Tensor, "1 P width"]) -> Float[Tensor, "T D"]:
        values = self._denoise(self._state(observation), self._read(embedded), embedded.shape[1], None)[0]
        return in_robot_units(values, lambda each: self._robot.robot_actions(each, observation, self._data_set))

    def _state(self, observation: Observation) -> Float[Tensor, "1 S"]:
        return torch.from_numpy(self._robot.read_state(observation, self._data_set))[None]

    def _embed(self, prompt: Prompt, seen: dict[str, SeenImage]) -> Float[Tensor, "1 P width"]:
        """Images and words."""
        vlm, device = self.model.model.vlm, self.model.device
        pixels = torch.from_numpy(np.stack([each.pixels for each in seen.values()])).to(device, self.model.dtype)
        images = vlm.get_image_features(pixels).pooler_output.flatten(0, 1)[None]
        words = vlm.get_input_embeddings()(torch.tensor([prompt.ids], dtype=torch.long, device=device))
        return torch.cat([images, words], dim=1)

    def _read(self, prefix: Float[Tensor, "1 P width"]) -> DynamicCache:
        """Keys and values of the prefix."""
        everything = torch.ones(prefix.shape[:2], dtype=torch.long, device=prefix.device)
        cache: DynamicCache = self.model.model.vlm(
            inputs_embeds=prefix,
            attention_mask=everything,
            position_ids=everything.cumsum(-1) - 1,  # PaliGemma alone would count from one
            token_type_ids=torch.zeros_like(everything),
            use_cache=True,
        ).past_key_values
        return cache

    def _denoise(
        self, state: Float[Tensor, "1 S"], cache: DynamicCache, prefix: int, rows: DenoisingRows | None
    ) -> Float[Tensor, "1 T A"]:
        """Euler steps from noise at time 1 to actions at time 0; the chunk itself stays in float32."""
        model, steps = self.model, self._config.denoising_steps
        delta = -1.0 / steps
        state = state.to(model.device, model.dtype)
        everything = torch.ones((1, prefix), dtype=torch.long, device=model.device)
        chunk = starting_noise(self._config.chunk, self._config.action_dim).to(model.device)
        for step in range(steps):
            if rows:
                rows.expect_suffix()
            time = torch.full((1,), 1.0 + step * delta, dtype=torch.float32, device=model.device)
            output = model(
                state=state,
                noise=chunk.to(model.dtype),
                timestep=time,
                attention_mask=everything,
                past_key_values=cache,
            )
            cache.crop(prefix - cache.get_seq_length())  # what the step added: it is not to be seen by the next
            chunk = chunk + delta * output.logits.float()
        return chunk


def _vision(layout: TokenLayout, collector: RowCollector) -> tuple[AttentionRecord, ...]:
    """One record a camera, over its patches."""
    records: list[AttentionRecord] = []
    for sample, span in enumerate(span for span in layout.spans if span.part is Part.IMAGE):
        count = span.stop - span.start
        tower = TokenLayout(layout.tokens[span.start : span.stop], (Span(Part.IMAGE, span.name, 0, count, span.grid),))
        weights, every = collector.weights(VISION, count, sample), tuple(range(count))
        records.append(AttentionRecord(weights, collector.layers(VISION), every, (-1,) * count, tower, VISION))
    return tuple(records)
