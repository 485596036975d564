"""ECoT: an OpenVLA that writes embodied chain-of-thought before its action (Zawalski et al., 2024, 2407.08693).

Reasoning and action are decoded greedily over the full vocabulary until the end token. Where fewer action tokens were
written than the action has dimensions, the prediction has no action and its text says so.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from tokenizers import Tokenizer

from models.action_tokens import ActionScale
from models.capture import collecting
from models.checkpoint_files import CheckpointFiles
from models.cut_attention import Cuttable, active_cuts, cutting
from models.decoding import GreedyRun
from models.families.ecot_answer import AnswerReader
from models.families.ecot_reasoning import (
    ACTION,
    AFTER_FORCED,
    NEW_TOKENS,
    PUBLISHED,
    TAGS,
    forced_text,
    marks,
    parse,
    sections,
)
from models.families.openvla import open_reader
from models.families.openvla_actions import action_space, choose
from models.families.openvla_answer import ActionReader, Bins, without_note
from models.families.openvla_config import OpenVLAConfig
from models.families.openvla_prompt import encode_text, texts_of
from models.families.openvla_run import OpenVLAReader, OpenVLATeacherForcing, Question
from models.families.weights import Weights
from models.policy import Policy
from models.types import ActionBins, Capture, CheckpointSpec, Observation, Part, Prediction, Rationale, TokenLayout


def load_ecot(
    files: CheckpointFiles, spec: CheckpointSpec, action_stats: str | None, device: str, dtype: str
) -> Policy:
    """Raises UserError where no data set is chosen among several, or files are missing or do not fit each other."""
    config = OpenVLAConfig.read(files, spec.family)
    scale = choose(config.statistics, action_stats)
    reader, tokenizer = open_reader(files, config, Weights(files, device, dtype), ends_empty=False)
    spec = replace(spec, action_space=action_space(reader.config.actions, scale))
    return EcotPolicy(spec, reader, tokenizer, scale)


class EcotPolicy(OpenVLATeacherForcing, Cuttable):
    """A Policy, BatchScoring, ActionTokens, Knockable. Holds no state between calls; threads may call it at once."""

    def __init__(self, spec: CheckpointSpec, reader: OpenVLAReader, tokenizer: Tokenizer, scale: ActionScale):
        self.info = spec
        self.model = reader.network
        self._reader, self._tokenizer = reader, tokenizer
        self._actions = ActionReader(reader.config.actions, scale)
        self._answers = AnswerReader(reader.config, tokenizer, self._actions)

    def layout(self, observation: Observation) -> TokenLayout:
        return self._reader.question(observation).prompt.layout

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        question = self._reader.question(observation)
        forced = self._forced_ids(force)
        limit = self._limit(question, forced)
        longest = self._reader.check_length(question, limit)
        collector = self._reader.collector(question, capture, longest)
        with torch.inference_mode(), collecting(collector), cutting(self._reader.sites, question.prompt.layout):
            names = partial(self._answers.part_names, ends=self._answers.ends())
            run = self._reader.start(question, capture, collector, Part.RATIONALE, names)
            bins = self._write(run, forced, limit, capture)
        answer = self._answers(run.tokens, question.prompt.layout)
        records = self._reader.records(run, answer.layout, capture, collector) if capture and collector else ()
        return Prediction(
            actions=answer.written.actions,
            action_names=self._actions.names,
            action_units=self._actions.units,
            tokens=np.array(run.tokens, dtype=np.int64),
            token_texts=texts_of(self._tokenizer, run.tokens),
            token_logprobs=np.array(run.logprobs),
            text=f"{answer.text.strip()}\n{answer.written.note}".strip(),
            rationale=parse(answer.text, self.info.digest),
            action_distribution=self._actions.distributions(answer.written, bins),
            layout=answer.layout,
            attention=records,
            marks=marks(answer.text, question.camera, question.seen[0].box, question.frame),
        )

    def action_bins(self, prediction: Prediction) -> tuple[ActionBins, ...]:
        return self._actions.all_bins(prediction.action_distribution)

    def _forced_ids(self, force: Rationale | str | None) -> list[int]:
        if force is None:
            return []
        known = TAGS if self._reader.config.rationale is not None else PUBLISHED
        text = forced_text(without_note(force) if isinstance(force, str) else force, known)
        return encode_text(self._reader.config, self._tokenizer, text)

    def _limit(self, question: Question, forced: list[int]) -> int:
        """How many tokens may be written: the checkpoint's or the published limit, or what there are positions for."""
        if forced:
            return len(forced) + AFTER_FORCED
        stated, acting = self._reader.config.rationale, self._actions.count + 1  # and the end
        most = stated.max_tokens + acting if stated is not None else NEW_TOKENS
        return max(min(most, self._reader.config.positions - question.prompt.length), acting)

    def _acts_next(self, tokens: Sequence[int]) -> bool:
        """Whether the tag of the action has been written."""
        text = str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))
        return any(section.part == ACTION for section in sections(text))

    def _write(self, run: GreedyRun, forced: list[int], limit: int, capture: Capture | None) -> dict[int, Bins]:
        """Words and action up to the end token or ``limit``; the bins of every token in the actions' range."""
        config, keep = self._reader.config, capture is not None
        run.force(forced, keep)
        bins: dict[int, Bins] = {}
        while len(run.tokens) < limit:
            if active_cuts() is not None and run.writing is Part.RATIONALE and self._acts_next(run.tokens):
                run.writing = Part.ACTION
            token, logprobs = run.choose(slice(0, config.vocabulary), keep)
            if token == config.eos:
                break
            if token in config.actions.ids:
                bins[len(run.tokens) - 1] = self._actions.bins(logprobs)
        return bins
