"""SpatialVLA, and ReFineVLA, which has its format: prompt, depth, greedy decoding with exact rows, and gradients.

Decoding is free over the whole vocabulary, as published: the first three ids of every step are its action, whatever
they are. A ReFineVLA checkpoint has the same files; opened as family "refinevla" it goes on with words after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import DynamicCache

from models.capture import LANGUAGE, VISION, attention_sites, collecting
from models.checkpoint_files import CheckpointFiles
from models.cut_attention import Cuttable, cutting
from models.decoding import GreedyRun, bin_probabilities
from models.errors import UserError
from models.families.action_token_answer import Answer
from models.families.action_token_prompt import Prompt, read_tokenizer
from models.families.generated_rows import language_and_image_rows, row_collector
from models.families.spatial_action_grid import KINDS, NAMES, UNITS
from models.families.spatialvla_answer import SpatialAnswerReader, written
from models.families.spatialvla_model import SpatialVLAModel, load_spatialvla_model
from models.families.spatialvla_prompt import SpatialVLAPrompt
from models.families.spatialvla_settings import PREPROCESSOR, SpatialVLASettings
from models.families.weights import Weights
from models.images import ImagePreprocessing, SeenImage
from models.layer_states import Decoder, LayerReading
from models.policy import Policy
from models.teacher_forcing import different_frames
from models.types import (
    ActionBins,
    ActionDistribution,
    AttentionRecord,
    Capture,
    CheckpointSpec,
    DepthMap,
    Observation,
    Part,
    Prediction,
    Rationale,
    TokenLayout,
)

MOST_TOKENS = 256  # generated ones, actions included, as published
EVERY_TOKEN = slice(0, None)
SITES = {
    LANGUAGE: r"^language_model\.model\.layers\.(\d+)\.self_attn$",
    VISION: r"^vision_tower\.(?:vision_model\.)?encoder\.layers\.(\d+)\.self_attn$",
}


def load_spatialvla(
    files: CheckpointFiles, spec: CheckpointSpec, action_stats: str | None, device: str, dtype: str
) -> Policy:
    """Raises UserError for files that do not fit each other, or where the data set is not clear."""
    settings = SpatialVLASettings.read(files)
    data_set = settings.choose(action_stats)
    intrinsic = settings.intrinsics[settings.camera(data_set)] if settings.use_depth else np.eye(3, dtype=np.float32)
    tokenizer = read_tokenizer(files.model)
    prompts = SpatialVLAPrompt(settings, tokenizer, str(files.model))
    preprocessor = files.find(PREPROCESSOR)
    images = ImagePreprocessing.read(preprocessor.parent if preprocessor is not None else files.model)
    model = load_spatialvla_model(files.config(), settings, Weights(files, device, dtype))
    spec = replace(spec, action_space=settings.action_space(data_set))
    if settings.use_depth:
        spec = replace(spec, notes={**spec.notes, "intrinsics": settings.camera(data_set)})
    answers = SpatialAnswerReader(tokenizer, settings, settings.scales[data_set], spec.digest)
    return SpatialVLA(spec, settings, model, intrinsic, tokenizer, prompts, images, answers)


@dataclass(frozen=True)
class Read:
    """An observation as the policy reads it."""

    prompt: Prompt
    camera: str
    seen: SeenImage


class SpatialVLA(LayerReading, Cuttable):
    """A Policy, BatchScoring, ActionTokens, Knockable. Holds no state between calls; threads may call it at once."""

    def __init__(
        self,
        spec: CheckpointSpec,
        settings: SpatialVLASettings,
        model: SpatialVLAModel,
        intrinsic: Float[np.ndarray, "3 3"],
        tokenizer: Tokenizer,
        prompts: SpatialVLAPrompt,
        images: ImagePreprocessing,
        answers: SpatialAnswerReader,
    ):
        self.info = spec
        self.model = model
        self._settings, self._tokenizer, self._prompts = settings, tokenizer, prompts
        self._images, self._answers = images, answers
        self._language = model.language_model
        self._intrinsic = torch.from_numpy(intrinsic).to(self._language.device)
        self._sites = attention_sites(model, SITES)
        self._positions = self._language.config.max_position_embeddings
        self._words = self._choice_of_words()

    def layout(self, observation: Observation) -> TokenLayout:
        return self._read(observation).prompt.layout

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        read = self._read(observation)
        prompt, forced = len(read.prompt.ids), self._forced_ids(force)
        longest = self._longest(prompt, forced)
        collector = row_collector(self._sites, self.info.layers, capture, prompt, longest, (VISION,))
        names = partial(self._answers.part_names, ends=self._answers.ends())
        run = GreedyRun(self._language, collector, part_of=self._part_of, names_of=names)
        with torch.inference_mode(), collecting(collector), cutting(self._sites, read.prompt.layout):
            embedded, depth = self._embedded(read)
            inputs = {"inputs_embeds": embedded, "prefix": prompt}
            run.read(inputs, prompt, every_row=bool(capture and capture.prefix), last_row=capture is not None)
            distributions = self._act(run, capture)
            if self.info.generates_rationale and run.tokens[-1] != self._settings.eos:
                self._speak(run, forced, longest - prompt, capture)
        answer = self._answers(run.tokens, read.prompt.layout)
        attention = language_and_image_rows(run, answer.layout, capture, collector) if capture and collector else ()
        maps = (DepthMap(read.camera, depth[0, 0].cpu().numpy(), read.seen.box),) if depth is not None else ()
        return self._prediction(answer, run, distributions, attention, maps)

    def embed(self, observation: Observation) -> Float[Tensor, "1 P width"]:
        return self._embedded(self._read(observation))[0]

    def embed_all(self, observations: Sequence[Observation]) -> list[Float[Tensor, "P width"]]:
        frames, chosen = different_frames(observations)
        reads = [self._read(observation) for observation in observations]
        seen = [reads[chosen.index(place)].seen.pixels for place in range(len(frames))]
        features = self._features(torch.from_numpy(np.stack(seen)))[0]
        return [self._merged(read, features[place])[0] for read, place in zip(reads, chosen, strict=True)]

    def action_bins(self, prediction: Prediction) -> tuple[ActionBins, ...]:
        return self._answers.bins(prediction.action_distribution)

    def _decoder(self) -> Decoder:
        return Decoder.of(self._language.model, self._language)

    def _word_table(self) -> nn.Module:
        table: nn.Module = self._language.get_input_embeddings()
        return table

    def _next_logits(
        self, embedded: Float[Tensor, "B L width"], prompt: int, keep: Int[Tensor, " R"], cache: DynamicCache | None
    ) -> Float[Tensor, "B R V"]:
        logits: Tensor = self._language(
            inputs_embeds=embedded, prefix=prompt, use_cache=False, logits_to_keep=keep
        ).logits
        return logits

    def _read(self, observation: Observation) -> Read:
        if len(observation.images) != 1:
            found = f"{len(observation.images)} ({', '.join(observation.images) or 'none'})"
            raise UserError(f"the policy reads one image, the observation has {found}; pass one camera's")
        camera, frame = next(iter(observation.images.items()))
        seen = self._images(frame)
        size = self.info.image_size
        if seen.pixels.shape[1:] != size:
            raise UserError(
                f"{self.info.path}: preprocessing makes images of {seen.pixels.shape[1]} x {seen.pixels.shape[2]} "
                f"pixels, the vision tower takes {size[0]} x {size[1]}"
            )
        grid = seen.grid(camera, size[0] // self.info.patch_grid[0])
        return Read(self._prompts(observation.instruction, grid), camera, seen)

    def _embedded(self, read: Read) -> tuple[Float[Tensor, "1 P width"], Float[Tensor, "1 1 h w"] | None]:
        """What Gemma 2's first layer reads, and the depth map behind it, in metres."""
        features, depth = self._features(torch.from_numpy(read.seen.pixels)[None])
        return self._merged(read, features), depth

    def _features(
        self, pixels: Float[Tensor, "B 3 h w"]
    ) -> tuple[Float[Tensor, "B n width"], Float[Tensor, "B 1 h w"] | None]:
        pixels = pixels.to(self._language.device)
        depth = self.model.depth(pixels)
        return self.model.image_features(pixels.to(self._language.dtype), depth, self._intrinsic), depth

    def _merged(self, read: Read, features: Float[Tensor, "*B n width"]) -> Float[Tensor, "1 P width"]:
        ids = torch.tensor([read.prompt.ids], device=self._language.device)
        embedded: Tensor = self._language.get_input_embeddings()(ids)
        images = (ids == self._settings.image_token)[..., None]
        return embedded.masked_scatter(images, features.to(embedded.dtype))

    def _forced_ids(self, force: Rationale | str | None) -> list[int] | None:
        if force is None:
            return None
        if not self.info.generates_rationale:
            raise UserError(f"{self.info.name} writes no rationale, so none can be forced on it")
        return self._prompts.words(written(force))

    def _longest(self, prompt: int, forced: list[int] | None) -> int:
        """Positions that prompt and answer take at most. Raises UserError where the policy has fewer."""
        actions = self._settings.action_tokens
        least = prompt + actions + (len(forced) if forced is not None else 0)
        if least > self._positions:
            raise UserError(
                f"the prompt has {prompt} tokens and the answer {least - prompt}, the policy has {self._positions} "
                "positions; use a shorter instruction or rationale"
            )
        if not self.info.generates_rationale:
            return least
        return max(least, min(prompt + max(MOST_TOKENS, actions), self._positions))

    def _act(self, run: GreedyRun, capture: Capture | None) -> tuple[ActionDistribution, ...]:
        """Three tokens a step, unless the policy ends before; what it thought of each one's own range comes back."""
        kept = capture.queries if capture else ()
        keep = Part.ACTION in kept or Part.SPECIAL in kept
        found: list[ActionDistribution] = []
        for index in range(self._settings.action_tokens):
            token, logprobs = run.choose(EVERY_TOKEN, keep)
            if token == self._settings.eos:
                break
            own = self._settings.grid.ids(index % len(KINDS))
            found.extend(self._answers.distributions(index, *bin_probabilities(logprobs[own.start : own.stop])))
        return tuple(found)

    def _speak(self, run: GreedyRun, forced: list[int] | None, most: int, capture: Capture | None) -> None:
        """Words until the policy ends, or ``most`` tokens are generated; or exactly the forced ones, and the end."""
        run.writing = Part.RATIONALE
        kept = capture.queries if capture else ()
        keep = Part.RATIONALE in kept or Part.SPECIAL in kept
        if forced is not None:
            run.force(forced + [self._settings.eos] * (len(run.tokens) + len(forced) < most), keep)
            return
        while len(run.tokens) < most and run.tokens[-1] != self._settings.eos:
            run.choose(self._words, keep)

    def _part_of(self, index: int, token: int) -> Part:
        """What a generated token is: by its place, as the policy's own code reads it."""
        if token == self._settings.eos:
            return Part.SPECIAL
        return Part.ACTION if index < self._settings.action_tokens else Part.RATIONALE

    def _choice_of_words(self) -> Tensor:
        """Words, and the end."""
        allowed = [self._prompts.is_word(token) for token in range(self._language.config.vocab_size)]
        allowed[self._settings.eos] = True
        return torch.tensor(allowed, device=self._language.device)

    def _prediction(
        self,
        answer: Answer,
        run: GreedyRun,
        distributions: tuple[ActionDistribution, ...],
        attention: tuple[AttentionRecord, ...],
        depth: tuple[DepthMap, ...],
    ) -> Prediction:
        return Prediction(
            actions=answer.actions,
            action_names=NAMES,
            action_units=UNITS,
            tokens=np.array(answer.tokens, dtype=np.int64),
            token_texts=answer.texts,
            token_logprobs=np.array(run.logprobs),
            text=answer.text,
            rationale=answer.rationale,
            action_distribution=distributions,
            layout=answer.layout,
            attention=attention,
            depth=depth,
        )
