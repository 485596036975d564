"""OpenVLA: one action token a dimension, decoded greedily over the full vocabulary, with exact attention rows.

Layout of the files and decoding as published (Kim et al., 2024, 2406.09246); nothing of the checkpoint's own code runs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tokenizers import Tokenizer

from models.action_tokens import ActionScale
from models.capture import collecting
from models.checkpoint_files import CheckpointFiles
from models.cut_attention import Cuttable, cutting
from models.decoding import GreedyRun
from models.errors import UserError
from models.families.openvla_actions import action_space, choose
from models.families.openvla_answer import ActionReader, Bins, WrittenAction
from models.families.openvla_config import OpenVLAConfig
from models.families.openvla_heads import refuse_heads
from models.families.openvla_network import load_network
from models.families.openvla_prompt import PromptBuilder, extend, open_tokenizer, readable, texts_of
from models.families.openvla_run import OpenVLAReader, OpenVLATeacherForcing, Question
from models.families.prismatic_images import PrismaticImages
from models.families.weights import Weights
from models.policy import Policy
from models.types import (
    ActionBins,
    Capture,
    CheckpointSpec,
    Observation,
    Part,
    Prediction,
    Rationale,
    Span,
    TokenLayout,
)


def load_openvla(
    files: CheckpointFiles, spec: CheckpointSpec, action_stats: str | None, device: str, dtype: str
) -> Policy:
    """Raises UserError where no data set is chosen among several, or files are missing or do not fit each other."""
    config = OpenVLAConfig.read(files, spec.family)
    scale = choose(config.statistics, action_stats)
    reader, tokenizer = open_reader(files, config, Weights(files, device, dtype), ends_empty=True)
    spec = replace(spec, action_space=action_space(reader.config.actions, scale))
    return OpenVLAPolicy(spec, reader, tokenizer, scale)


def open_reader(
    files: CheckpointFiles, config: OpenVLAConfig, weights: Weights, ends_empty: bool
) -> tuple[OpenVLAReader, Tokenizer]:
    """What OpenVLA and ECoT have in common; ``ends_empty``: as of `PromptBuilder`.

    Raises UserError where files are missing or do not fit each other.
    """
    refuse_heads(files)
    tokenizer, images = open_tokenizer(files), open_images(files, config)
    network = load_network(config, weights)
    return OpenVLAReader(config, network, images, PromptBuilder(config, tokenizer, ends_empty)), tokenizer


def open_images(files: CheckpointFiles, config: OpenVLAConfig) -> PrismaticImages:
    """Raises UserError where preprocessor_config.json is missing, makes no sense, or prepares other towers' images."""
    images = PrismaticImages.read(files)
    if len(images.towers) != len(config.towers):
        raise UserError(
            f"{files.folder}: preprocessor_config.json prepares {len(images.towers)} images, config.json has "
            f"{len(config.towers)} vision towers"
        )
    return images


class OpenVLAPolicy(OpenVLATeacherForcing, Cuttable):
    """A Policy, BatchScoring, ActionTokens, Knockable. Holds no state between calls; threads may call it at once."""

    def __init__(self, spec: CheckpointSpec, reader: OpenVLAReader, tokenizer: Tokenizer, scale: ActionScale):
        self.info = spec
        self.model = reader.network
        self._reader, self._tokenizer = reader, tokenizer
        self._actions = ActionReader(reader.config.actions, scale)

    def layout(self, observation: Observation) -> TokenLayout:
        return self._reader.question(observation).prompt.layout

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        if force is not None:
            raise UserError(f"{self.info.name} writes no rationale, so none can be forced on it")
        question = self._reader.question(observation)
        longest = self._reader.check_length(question, self._actions.count)
        collector = self._reader.collector(question, capture, longest)
        with torch.inference_mode(), collecting(collector), cutting(self._reader.sites, question.prompt.layout):
            run = self._reader.start(question, capture, collector)
            bins = self._write(run, capture)
        written = self._actions.read(run.tokens, tuple(bins))
        layout = self._layout(question, run, written)
        records = self._reader.records(run, layout, capture, collector) if capture and collector else ()
        return Prediction(
            actions=written.actions,
            action_names=self._actions.names,
            action_units=self._actions.units,
            tokens=np.array(run.tokens, dtype=np.int64),
            token_texts=texts_of(self._tokenizer, run.tokens),
            token_logprobs=np.array(run.logprobs),
            text=written.note,
            rationale=None,
            action_distribution=self._actions.distributions(written, bins),
            layout=layout,
            attention=records,
        )

    def action_bins(self, prediction: Prediction) -> tuple[ActionBins, ...]:
        return self._actions.all_bins(prediction.action_distribution)

    def _write(self, run: GreedyRun, capture: Capture | None) -> dict[int, Bins]:
        """The likeliest token a dimension, of the whole vocabulary, up to the end token; the bins of each."""
        config = self._reader.config
        bins: dict[int, Bins] = {}
        for place in range(self._actions.count):
            token, logprobs = run.choose(slice(0, config.vocabulary), keep=capture is not None)
            if token == config.eos:
                break
            bins[place] = self._actions.bins(logprobs)
        return bins

    def _layout(self, question: Question, run: GreedyRun, written: WrittenAction) -> TokenLayout:
        prompt = question.prompt.layout
        texts, spans = list(prompt.tokens), list(prompt.spans)
        for index, token in enumerate(run.tokens):
            texts.append(written.texts.get(index) or readable(self._tokenizer, token))
            if index in written.texts:
                spans.append(Span(Part.ACTION, self._actions.names[index], len(texts) - 1, len(texts)))
            else:
                extend(spans, Part.SPECIAL, "eos" if token == self._reader.config.eos else "incomplete", len(texts))
        return TokenLayout(tuple(texts), tuple(spans))
