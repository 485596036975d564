"""SpatialVLA, and ReFineVLA, which has its format: prompt, depth, greedy decoding with exact rows, and gradients.

Decoding is free over the whole vocabulary, as published: the first three ids of every step are its action, whatever
they are. A ReFineVLA checkpoint has the same files; opened as family "refinevla" it goes on with words after them. One
that was tuned here may say in config.json that its words come first (section ``rationale``): there an action is what
the ids of the actions' range say, and the first of them ends the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import DynamicCache

from models.action_tokens import ActionScale
from models.capture import LANGUAGE, VISION, attention_sites, collecting
from models.checkpoint_files import CheckpointFiles
from models.cut_attention import Cuttable, cutting
from models.decoding import GreedyRun, bin_probabilities
from models.errors import UserError
from models.families.action_token_answer import Answer
from models.families.generated_rows import language_and_image_rows, row_collector
from models.families.spatial_action_grid import KINDS, NAMES, UNITS
from models.families.spatialvla_answer import SpatialAnswerReader, written
from models.families.spatialvla_reader import SpatialVLAReader
from models.families.spatialvla_settings import SpatialVLASettings
from models.families.spatialvla_spec import WITH_RATIONALE
from models.families.weights import Weights
from models.layer_states import Decoder, LayerReading
from models.policy import Policy
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
    if settings.reasons_first and not spec.generates_rationale:
        raise UserError(
            f"{files.folder} writes its rationale before its actions, as config.json says, and family {spec.family!r} "
            f"reads no words; open it as {WITH_RATIONALE!r}"
        )
    data_set = settings.choose(action_stats)
    reader = SpatialVLAReader.open(files, settings, data_set, Weights(files, device, dtype))
    spec = replace(spec, action_space=settings.action_space(data_set))
    if settings.use_depth:
        spec = replace(spec, notes={**spec.notes, "intrinsics": settings.camera(data_set)})
    return SpatialVLA(spec, reader, settings.scales[data_set])


class SpatialVLA(LayerReading, Cuttable):
    """A Policy, BatchScoring, ActionTokens, Knockable. Holds no state between calls; threads may call it at once."""

    def __init__(self, spec: CheckpointSpec, reader: SpatialVLAReader, scale: ActionScale):
        self.info = spec
        self.model = reader.model
        self._reader, self._settings, self._prompts = reader, reader.settings, reader.prompts
        self._answers = SpatialAnswerReader(reader.tokenizer, reader.settings, scale, spec.digest)
        self._language = reader.model.language_model
        self._sites = attention_sites(reader.model, SITES)
        self._positions = self._language.config.max_position_embeddings
        self._words, self._words_or_action = self._choices()

    def layout(self, observation: Observation) -> TokenLayout:
        return self._reader(observation).prompt.layout

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        read = self._reader(observation)
        prompt, forced = len(read.prompt.ids), self._forced_ids(force)
        longest = self._longest(prompt, forced)
        collector = row_collector(self._sites, self.info.layers, capture, prompt, longest, (VISION,))
        names = partial(self._answers.part_names, ends=self._answers.ends())
        run = GreedyRun(self._language, collector, part_of=self._part_of, names_of=names)
        with torch.inference_mode(), collecting(collector), cutting(self._sites, read.prompt.layout):
            embedded, depth = self._reader.embedded(read)
            inputs = {"inputs_embeds": embedded, "prefix": prompt}
            first = self._settings.reasons_first
            run.writing = Part.RATIONALE if first else Part.ACTION
            run.read(inputs, prompt, every_row=bool(capture and capture.prefix), last_row=capture is not None)
            begun = self._reason(run, forced, longest - prompt, capture) if first else None
            distributions = self._act(run, begun, capture)
            if self.info.generates_rationale and not first and run.tokens[-1] != self._settings.eos:
                self._speak(run, forced, longest - prompt, capture)
        answer = self._answers(run.tokens, read.prompt.layout)
        attention = language_and_image_rows(run, answer.layout, capture, collector) if capture and collector else ()
        maps = (DepthMap(read.camera, depth[0, 0].cpu().numpy(), read.seen.box),) if depth is not None else ()
        return self._prediction(answer, run, distributions, attention, maps)

    def embed(self, observation: Observation) -> Float[Tensor, "1 P width"]:
        return self._reader.embedded(self._reader(observation))[0]

    def embed_all(self, observations: Sequence[Observation]) -> list[Float[Tensor, "P width"]]:
        return self._reader.embedded_all(observations)

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
        if not self.info.generates_rationale or (forced is not None and self._settings.reasons_first):
            return least
        stated = self._settings.rationale
        most = actions + stated.max_tokens + 1 if stated is not None else max(MOST_TOKENS, actions)
        return max(least, min(prompt + most, self._positions))

    def _act(
        self, run: GreedyRun, begun: Float[Tensor, " V"] | None, capture: Capture | None
    ) -> tuple[ActionDistribution, ...]:
        """Three tokens a step, unless the policy ends before; what it thought of each one's own range comes back.

        ``begun``: log-probabilities of the first of them, where it was chosen already. After words, a token is one of
        its own range; before them it may be any, as published.
        """
        kept = capture.queries if capture else ()
        keep = Part.ACTION in kept or Part.SPECIAL in kept
        found: list[ActionDistribution] = []
        start = len(run.tokens) - (begun is not None)
        run.writing = Part.ACTION
        for place in range(self._settings.action_tokens):
            own = self._settings.grid.ids(place % len(KINDS))
            ids = slice(own.start, own.stop)
            logprobs = begun
            if place or logprobs is None:
                token, logprobs = run.choose(ids if self._settings.reasons_first else EVERY_TOKEN, keep)
                if token == self._settings.eos:
                    break
            found.extend(self._answers.distributions(place, start + place, *bin_probabilities(logprobs[ids])))
        return tuple(found)

    def _reason(
        self, run: GreedyRun, forced: list[int] | None, most: int, capture: Capture | None
    ) -> Float[Tensor, " V"] | None:
        """Words up to the first action token, whose log-probabilities come back; or as many as leave ``most`` room.

        Exactly the forced ones, where there are some; no action token is chosen then.
        """
        keep = capture is not None and bool(capture.queries)  # what a token is turns out when it is chosen
        if forced is not None:
            run.force(forced, keep)
            return None
        for _ in range(most - self._settings.action_tokens):
            token, logprobs = run.choose(self._words_or_action, keep)
            if token in self._settings.grid.ids(0):
                return logprobs
        return None

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
        """What a generated token is: by its place, as the policy's own code reads it, or after words by its range."""
        if token == self._settings.eos:
            return Part.SPECIAL
        if self._settings.reasons_first:
            return Part.ACTION if token in self._settings.grid.every_id else Part.RATIONALE
        return Part.ACTION if index < self._settings.action_tokens else Part.RATIONALE

    def _choices(self) -> tuple[Bool[Tensor, " V"], Bool[Tensor, " V"]]:
        """Words and the end; words and the tokens that can begin an action."""
        words = [self._prompts.is_word(token) for token in range(self._language.config.vocab_size)]
        end = torch.tensor(words, device=self._language.device)
        begin, first = end.clone(), self._settings.grid.ids(0)
        end[self._settings.eos] = True
        begin[first.start : first.stop] = True
        return end, begin

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
