"""PaliGemma with action tokens: prompt, greedy decoding with exact attention rows, and gradients.

Layout and decoding rules: docs/checkpoint-action-tokens.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import DynamicCache, PaliGemmaConfig, PaliGemmaForConditionalGeneration

from models.capture import LANGUAGE, ROW_ATTENTION, VISION, attention_sites, collecting
from models.checkpoint_files import CheckpointFiles
from models.cut_attention import Cuttable, cutting
from models.decoding import GreedyRun, bin_probabilities
from models.errors import UserError
from models.families.action_token_answer import Answer, AnswerReader
from models.families.action_token_config import ActionTokenConfig
from models.families.action_token_prompt import Prompt, PromptBuilder, Vocabulary, encode_words, read_tokenizer
from models.families.generated_rows import language_and_image_rows, row_collector
from models.families.weights import Weights, load_transformers, read_transformers_config
from models.images import ImagePreprocessing, SeenImage
from models.layer_states import Decoder, LayerReading
from models.policy import Policy
from models.rationale_text import part_names
from models.teacher_forcing import different_frames
from models.types import (
    ActionBins,
    ActionDistribution,
    AttentionRecord,
    Capture,
    CheckpointSpec,
    Observation,
    Part,
    Prediction,
    Rationale,
    TokenLayout,
)

SITES = {
    LANGUAGE: r"language_model\.layers\.(\d+)\.self_attn$",
    VISION: r"vision_tower\.(?:vision_model\.)?encoder\.layers\.(\d+)\.self_attn$",
}


def load_paligemma(
    files: CheckpointFiles, spec: CheckpointSpec, action_stats: str | None, device: str, dtype: str
) -> Policy:
    """Raises UserError for a checkpoint without actions, or whose files do not fit each other."""
    folder, config = files.model, files.config()
    robot = ActionTokenConfig.read(config)
    if robot is None:
        raise UserError(f"{folder} has no section vla in config.json: it describes images but predicts no actions")
    scale = robot.scale(action_stats)
    tokenizer = read_tokenizer(folder)
    vocabulary = Vocabulary.read(tokenizer, config, robot)
    images = ImagePreprocessing.read(folder)
    layout = read_transformers_config(PaliGemmaConfig, files)
    model = load_transformers(PaliGemmaForConditionalGeneration, layout, Weights(files, device, dtype), ROW_ATTENTION)
    spec = replace(spec, action_space=robot.action_space(scale))
    answers = AnswerReader(tokenizer, vocabulary, robot.action, scale, spec.digest)
    return ActionTokenPaliGemma(spec, robot, model, tokenizer, vocabulary, images, answers)


class ActionTokenPaliGemma(LayerReading, Cuttable):
    """A Policy, BatchScoring, ActionTokens, Knockable. Holds no state between calls; threads may call it at once."""

    def __init__(
        self,
        spec: CheckpointSpec,
        robot: ActionTokenConfig,
        model: PaliGemmaForConditionalGeneration,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        images: ImagePreprocessing,
        answers: AnswerReader,
    ):
        self.info = spec
        self.model = model
        self._robot, self._tokenizer, self._vocabulary = robot, tokenizer, vocabulary
        self._images, self._answers = images, answers
        self._prompts = PromptBuilder(robot, vocabulary, tokenizer)
        self._sites = attention_sites(model, SITES)
        self._words = self._choice_of_words()
        self._positions = model.config.get_text_config().max_position_embeddings
        self._patch = model.config.vision_config.patch_size

    def layout(self, observation: Observation) -> TokenLayout:
        return self._read(observation)[0].layout

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        prompt, seen = self._read(observation)
        forced = self._forced_ids(force)
        longest = self._longest(prompt, forced)
        collector = row_collector(self._sites, self.info.layers, capture, len(prompt.ids), longest, (VISION,))
        run = GreedyRun(self.model, collector, part_of=self._part_of, names_of=self._names_of)
        with torch.inference_mode(), collecting(collector), cutting(self._sites, prompt.layout):
            self._prefill(run, prompt, seen, capture)
            bins = self._speak(run, forced, capture)
        answer = self._answers(run.tokens, prompt.layout)
        distributions = tuple(
            self._answers.distribution(place, token, *bins[place]) for place, token in enumerate(answer.action_tokens)
        )
        attention = language_and_image_rows(run, answer.layout, capture, collector) if capture and collector else ()
        return self._prediction(answer, run, distributions, attention)

    def embed(self, observation: Observation) -> Float[Tensor, "1 P width"]:
        prompt, seen = self._read(observation)
        ids = torch.tensor([prompt.ids], device=self.model.device)
        features = self.model.get_image_features(self._pixels(seen)).pooler_output
        return self._merged(ids, features)

    def embed_all(self, observations: Sequence[Observation]) -> list[Float[Tensor, "P width"]]:
        frames, chosen = different_frames(observations)
        prompts, first = [], [chosen.index(place) for place in range(len(frames))]
        pixels: dict[int, Tensor] = {}
        for index, observation in enumerate(observations):
            prompt, seen = self._read(observation)
            prompts.append(torch.tensor([prompt.ids], device=self.model.device))
            if index in first:
                pixels[chosen[index]] = self._pixels(seen)
        together = torch.cat([pixels[place] for place in range(len(frames))])
        features = self.model.get_image_features(together).pooler_output
        return [self._merged(ids, features[place])[0] for ids, place in zip(prompts, chosen, strict=True)]

    def action_bins(self, prediction: Prediction) -> tuple[ActionBins, ...]:
        ids = np.array(self._vocabulary.action)
        return tuple(
            ActionBins(each.token, each.step, each.name, ids, each.values) for each in prediction.action_distribution
        )

    def _merged(self, ids: Int[Tensor, "1 P"], features: Float[Tensor, "*I n width"]) -> Float[Tensor, "1 P width"]:
        embedded: Tensor = self.model.get_input_embeddings()(ids)
        images = (ids == self._vocabulary.image)[..., None]
        return embedded.masked_scatter(images, features.to(embedded.dtype))

    def _decoder(self) -> Decoder:
        return Decoder.of(self.model.model.language_model, self.model)

    def _word_table(self) -> nn.Module:
        table: nn.Module = self.model.get_input_embeddings()
        return table

    def _next_logits(
        self, embedded: Float[Tensor, "B L width"], prompt: int, keep: Int[Tensor, " R"], cache: DynamicCache | None
    ) -> Float[Tensor, "B R V"]:
        suffix = torch.zeros(embedded.shape[:2], dtype=torch.long, device=embedded.device)
        suffix[:, prompt:] = 1  # the prompt looks both ways, what was generated only back
        output = self.model(inputs_embeds=embedded, token_type_ids=suffix, use_cache=False, logits_to_keep=keep)
        logits: Tensor = output.logits
        return logits

    def _read(self, observation: Observation) -> tuple[Prompt, SeenImage]:
        camera, frame = _only_image(observation.images)
        seen = self._images(frame)
        size = self.info.image_size
        if seen.pixels.shape[1:] != size:
            raise UserError(
                f"{self.info.path}: preprocessing makes images of {seen.pixels.shape[1]} x {seen.pixels.shape[2]} "
                f"pixels, the vision tower takes {size[0]} x {size[1]}"
            )
        return self._prompts(observation.instruction, observation.state, seen.grid(camera, self._patch)), seen

    def _forced_ids(self, force: Rationale | str | None) -> list[int] | None:
        if force is None:
            return None
        if self._robot.rationale is None:
            raise UserError(f"{self.info.name} writes no rationale, so none can be forced on it")
        text = self._robot.rationale.marked(force)
        text = self._robot.rationale.lowered(text) if self._robot.lowercase else text
        return encode_words(self._tokenizer, self._vocabulary, text)

    def _longest(self, prompt: Prompt, forced: list[int] | None) -> int:
        """Positions that prompt and answer can take. Raises UserError where the policy has fewer."""
        words = len(forced) if forced is not None else self._robot.rationale.max_tokens if self._robot.rationale else 0
        total = len(prompt.ids) + words + 1 + self._robot.action.count
        if total > self._positions:
            raise UserError(
                f"the prompt has {len(prompt.ids)} tokens and the answer up to {total - len(prompt.ids)}, "
                f"the policy has {self._positions} positions; use a shorter instruction or rationale"
            )
        return total

    def _prefill(self, run: GreedyRun, prompt: Prompt, seen: SeenImage, capture: Capture | None) -> None:
        run.writing = self._first
        ids = torch.tensor([prompt.ids], device=self.model.device)
        inputs = {"input_ids": ids, "token_type_ids": torch.zeros_like(ids), "pixel_values": self._pixels(seen)}
        run.read(inputs, len(prompt.ids), every_row=bool(capture and capture.prefix), last_row=capture is not None)

    def _pixels(self, seen: SeenImage) -> Float[Tensor, "1 3 h w"]:
        return torch.from_numpy(seen.pixels)[None].to(self.model.device, self.model.dtype)

    def _speak(
        self, run: GreedyRun, forced: list[int] | None, capture: Capture | None
    ) -> list[tuple[Float[np.ndarray, " B"], float]]:
        """Text and actions in the checkpoint's order; bin probabilities and their mass per action token."""
        kept = capture.queries if capture else ()
        keep_words, keep_actions = Part.RATIONALE in kept or Part.SPECIAL in kept, Part.ACTION in kept
        rationale = self._robot.rationale
        first = rationale is not None and rationale.order == "rationale first"
        if first:
            self._say_words(run, forced, self._vocabulary.begin, keep_words)
        if not run.tokens or run.tokens[-1] != self._vocabulary.begin:
            run.force([self._vocabulary.begin], keep_words)
        run.writing = Part.ACTION
        action = slice(self._vocabulary.action.start, self._vocabulary.action.stop)
        bins = [bin_probabilities(run.choose(action, keep_actions)[1][action]) for _ in range(self._robot.action.count)]
        if rationale is not None and not first:
            self._say_words(run, forced, self._vocabulary.eos, keep_words)
        return bins

    def _say_words(self, run: GreedyRun, forced: list[int] | None, end: int, keep: bool) -> None:
        """Words until ``end`` or the checkpoint's limit; or exactly the forced ones."""
        if forced is not None:
            run.force(forced, keep)
            return
        assert self._robot.rationale is not None
        run.writing = Part.RATIONALE
        allowed = self._words.clone()
        allowed[end] = True
        for _ in range(self._robot.rationale.max_tokens):
            if run.choose(allowed, keep)[0] == end:
                return

    @property
    def _first(self) -> Part:
        """What is written first: words, or the token before the action."""
        rationale = self._robot.rationale
        return Part.RATIONALE if rationale is not None and rationale.order == "rationale first" else Part.SPECIAL

    def _part_of(self, index: int, token: int) -> Part:
        """What a generated token is, wherever it stands."""
        vocabulary = self._vocabulary
        if token in vocabulary.action:
            return Part.ACTION
        marks = (*vocabulary.markers, vocabulary.begin, vocabulary.eos)
        return Part.SPECIAL if token in marks else Part.RATIONALE

    def _names_of(self, tokens: Sequence[int]) -> Sequence[str]:
        return part_names(tokens, self._vocabulary.markers)

    def _choice_of_words(self) -> Tensor:
        """Every token but actions and those that only a prompt holds."""
        allowed = torch.ones(self.model.config.get_text_config().vocab_size, dtype=torch.bool, device=self.model.device)
        vocabulary = self._vocabulary
        allowed[vocabulary.action.start : vocabulary.action.stop] = False
        allowed[vocabulary.state.start : vocabulary.state.stop] = False
        for token in (vocabulary.bos, vocabulary.eos, vocabulary.pad, vocabulary.image, vocabulary.begin):
            if token < len(allowed):
                allowed[token] = False
        return allowed

    def _prediction(
        self,
        answer: Answer,
        run: GreedyRun,
        distributions: tuple[ActionDistribution, ...],
        attention: tuple[AttentionRecord, ...],
    ) -> Prediction:
        return Prediction(
            actions=answer.actions,
            action_names=self._robot.action.names,
            action_units=self._robot.action.units,
            tokens=np.array(answer.tokens, dtype=np.int64),
            token_texts=answer.texts,
            token_logprobs=np.array(run.logprobs),
            text=answer.text,
            rationale=answer.rationale,
            action_distribution=distributions,
            layout=answer.layout,
            attention=attention,
        )


def _only_image(images: Mapping[str, UInt8[np.ndarray, "H W 3"]]) -> tuple[str, UInt8[np.ndarray, "H W 3"]]:
    if len(images) != 1:
        found = ", ".join(images) or "none"
        raise UserError(f"the policy reads one image, the observation has {len(images)} ({found}); pass one camera's")
    return next(iter(images.items()))
