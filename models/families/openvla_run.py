"""One run of an OpenVLA-shaped policy: what it reads, decoding with rows on the side, and records of what it looked at.

Shared by plain OpenVLA and by ECoT, which differ in prompt and in what they write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from transformers import DynamicCache, PretrainedConfig

from models.capture import RowCollector
from models.decoding import GreedyRun
from models.errors import UserError
from models.families.generated_rows import generated_rows, row_collector
from models.families.openvla_config import OpenVLAConfig
from models.families.openvla_network import OpenVLANetwork
from models.families.openvla_prompt import Prompt, PromptBuilder
from models.families.prismatic_images import PrismaticImages
from models.images import SeenImage
from models.layer_states import Decoder, LayerReading
from models.teacher_forcing import different_frames
from models.types import AttentionRecord, Capture, Observation, Part, Span, TokenLayout


@dataclass(frozen=True)
class Question:
    """An observation as the policy reads it."""

    prompt: Prompt
    seen: tuple[SeenImage, ...]  # of each tower
    camera: str
    frame: tuple[int, int]  # height, width in pixels


class OpenVLAReader:
    """Observations to prompts, prompts to runs. Holds no state between calls."""

    def __init__(self, config: OpenVLAConfig, network: OpenVLANetwork, images: PrismaticImages, prompts: PromptBuilder):
        self.config, self.network = config, network
        self._images, self._prompts = images, prompts
        self.sites = network.sites(config.streams)

    def question(self, observation: Observation) -> Question:
        """Raises UserError for an observation that the policy cannot read."""
        camera, frame = only_image(observation.images)
        seen = see(self._images, self.config, frame)
        grid = seen[0].grid(camera, self.config.towers[0].patch)
        return Question(self._prompts(observation.instruction, grid), seen, camera, frame.shape[:2])

    def embed(self, question: Question) -> Float[Tensor, "1 P width"]:
        network = self.network
        pixels = tuple(torch.from_numpy(seen.pixels)[None].to(network.device, network.dtype) for seen in question.seen)
        return network.embed(question.prompt.ids, pixels)

    def embed_all(self, observations: Sequence[Observation]) -> list[Float[Tensor, "P width"]]:
        network = self.network
        frames, chosen = different_frames(observations)
        questions = [self.question(observation) for observation in observations]
        seen = [questions[chosen.index(place)].seen for place in range(len(frames))]
        pixels = tuple(
            torch.from_numpy(np.stack([image.pixels for image in tower])).to(network.device, network.dtype)
            for tower in zip(*seen, strict=True)
        )
        features = network.image_features(pixels)
        return [
            network.merged(question.prompt.ids, features[place][None])[0]
            for question, place in zip(questions, chosen, strict=True)
        ]

    def check_length(self, question: Question, written: int) -> int:
        """Positions that prompt and answer can take. Raises UserError where the policy has fewer."""
        total = question.prompt.length + written
        if total > self.config.positions:
            raise UserError(
                f"the prompt has {question.prompt.length} tokens and the answer up to {written}, the policy has "
                f"{self.config.positions} positions; use a shorter instruction or rationale"
            )
        return total

    def collector(self, question: Question, capture: Capture | None, longest: int) -> RowCollector | None:
        """Raises UserError for a layer that is not there."""
        towers = self.config.streams
        return row_collector(self.sites, self.config.layers, capture, question.prompt.length, longest, towers)

    def start(
        self,
        question: Question,
        capture: Capture | None,
        collector: RowCollector | None,
        writing: Part = Part.ACTION,
        names_of: Callable[[Sequence[int]], Sequence[str]] | None = None,
    ) -> GreedyRun:
        """Read the prompt; call it, and what follows, under ``collecting(collector)``.

        ``writing``: what is written first; ``names_of``: as of `GreedyRun`.
        """
        run = GreedyRun(self.network.language_model, collector, part_of=self._part_of, names_of=names_of)
        run.writing = writing
        inputs = {"inputs_embeds": self.embed(question)}
        every = bool(capture and capture.prefix)
        run.read(inputs, question.prompt.length, every_row=every, last_row=capture is not None)
        return run

    def _part_of(self, index: int, token: int) -> Part:
        """What a generated token is; a tag counts as the words that it announces."""
        if token == self.config.eos:
            return Part.SPECIAL
        return Part.ACTION if token in self.config.actions.ids else Part.RATIONALE

    def records(
        self, run: GreedyRun, layout: TokenLayout, capture: Capture, collector: RowCollector
    ) -> tuple[AttentionRecord, ...]:
        """Rows of what was asked for, over the whole sequence."""
        language = generated_rows(run, layout, capture, collector)
        return (language, *vision_records(self.config, layout, collector)) if capture.vision else (language,)


class OpenVLATeacherForcing(LayerReading):
    """What plain OpenVLA and ECoT share of it; every position looks back only."""

    _reader: OpenVLAReader

    def embed(self, observation: Observation) -> Float[Tensor, "1 P width"]:
        return self._reader.embed(self._reader.question(observation))

    def embed_all(self, observations: Sequence[Observation]) -> list[Float[Tensor, "P width"]]:
        return self._reader.embed_all(observations)

    def _decoder(self) -> Decoder:
        language = self._reader.network.language_model
        return Decoder.of(language.model, language)

    def _word_table(self) -> nn.Module:
        table: nn.Module = self._reader.network.language_model.get_input_embeddings()
        return table

    def _causal_config(self) -> PretrainedConfig:
        config: PretrainedConfig = self._reader.network.language_model.config
        return config

    def _next_logits(
        self, embedded: Float[Tensor, "B L width"], prompt: int, keep: Int[Tensor, " R"], cache: DynamicCache | None
    ) -> Float[Tensor, "B R V"]:
        language = self._reader.network.language_model
        output = language(
            inputs_embeds=embedded, past_key_values=cache, use_cache=cache is not None, logits_to_keep=keep
        )
        logits: Tensor = output.logits
        return logits


def only_image(images: Mapping[str, UInt8[np.ndarray, "H W 3"]]) -> tuple[str, UInt8[np.ndarray, "H W 3"]]:
    """The single camera's name and frame. Raises UserError where there is not exactly one."""
    if len(images) != 1:
        found = ", ".join(images) or "none"
        raise UserError(f"the policy reads one image, the observation has {len(images)} ({found}); pass one camera's")
    return next(iter(images.items()))


def see(images: PrismaticImages, config: OpenVLAConfig, frame: UInt8[np.ndarray, "H W 3"]) -> tuple[SeenImage, ...]:
    """What each tower sees of a frame. Raises UserError where the files prepare images that a tower does not take."""
    seen = images(frame)
    for tower, image in zip(config.towers, seen, strict=True):
        if image.pixels.shape[1:] != (tower.image, tower.image):
            found = " x ".join(map(str, image.pixels.shape[1:]))
            raise UserError(
                f"preprocessor_config.json makes images of {found} pixels; {tower.model_id} takes "
                f"{tower.image} x {tower.image}"
            )
    return seen


def vision_records(config: OpenVLAConfig, layout: TokenLayout, collector: RowCollector) -> tuple[AttentionRecord, ...]:
    """Every row of each tower, for each image of ``layout``."""
    records: list[AttentionRecord] = []
    images = [span for span in layout.spans if span.part is Part.IMAGE]
    for stream, tower in zip(config.streams, config.towers, strict=True):
        for sample, image in enumerate(images):
            patches = layout.tokens[image.start : image.stop]
            first, count = len(tower.special), len(tower.special) + len(patches)
            spans = [Span(Part.SPECIAL, name, place, place + 1) for place, name in enumerate(tower.special)]
            spans.append(Span(Part.IMAGE, image.name, first, count, image.grid))
            seen = TokenLayout((*tower.special, *patches), tuple(spans))
            rows = collector.weights(stream, count, sample)
            records.append(
                AttentionRecord(rows, collector.layers(stream), tuple(range(count)), (-1,) * count, seen, stream)
            )
    return tuple(records)
