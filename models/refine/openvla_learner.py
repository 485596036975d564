"""Teaching OpenVLA checkpoints: to act, or as ECoT to reason in tagged parts before they act."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from models.action_tokens import ActionScale
from models.checkpoint_files import TITLE, CheckpointFiles
from models.config_section import ConfigSection
from models.families.ecot_reasoning import TAGS, forced_text
from models.families.openvla import open_reader
from models.families.openvla_actions import STATISTICS, choose
from models.families.openvla_config import OpenVLAConfig
from models.families.openvla_network import OpenVLANetwork, openvla_places
from models.families.openvla_prompt import encode_text
from models.families.openvla_run import OpenVLAReader
from models.families.weights import Weights
from models.rationale_text import STATED, StatedRationale
from models.refine.data_statistics import DataStatistics
from models.refine.demonstrations import Demonstration
from models.refine.examples import Example
from models.refine.learner import Taught, check_actions, check_positions, check_words, only_camera, unknown_words
from models.refine.selective_transfer import Parts
from models.refine.settings import Order
from models.refine.soft_labels import ActionIds
from models.refine.stored_weights import stored_values, write_like_base
from models.types import Rationale

LONGEST = 1000  # tokens of a rationale: ECoT's own limit, less its action


@dataclass(frozen=True)
class OpenVLALearner:
    """A `Learner`. The end token follows the action, as in the published training."""

    files: CheckpointFiles
    reader: OpenVLAReader
    tokenizer: Tokenizer
    scale: ActionScale
    own: DataStatistics | None
    rationale: StatedRationale | None  # None: a plain OpenVLA, which writes none

    @staticmethod
    def open(
        files: CheckpointFiles,
        order: Order,
        *,
        action_stats: str | None = None,
        own: DataStatistics | None = None,
    ) -> OpenVLALearner:
        """As `open_learner`; with words it becomes an ECoT, whose prompt it then has."""
        return _open(files, action_stats, own, reasons=order is not Order.ACT_ONLY)

    @staticmethod
    def open_ecot(
        files: CheckpointFiles,
        order: Order,
        *,
        action_stats: str | None = None,
        own: DataStatistics | None = None,
    ) -> OpenVLALearner:
        """As `open_learner`; it stays an ECoT: without words its action's tag comes at once."""
        return _open(files, action_stats, own, reasons=True)

    @property
    def model(self) -> OpenVLANetwork:
        return self.reader.network

    @property
    def parts(self) -> Parts:
        language = self.model.language_model
        return Parts(
            model=self.model,
            layers=language.model.layers,
            norm=language.model.norm,
            head=language.lm_head,
            embeddings=language.get_input_embeddings(),
            vision=(self.model.vision_backbone, self.model.projector),
        )

    @property
    def action_ids(self) -> tuple[ActionIds, ...]:
        actions = self.reader.config.actions
        return (ActionIds(actions.ids, (actions.bins,)),)

    @property
    def pad(self) -> int:
        return self.reader.config.eos

    def allowing(self, tokens: int) -> OpenVLALearner:
        return self if self.rationale is None else replace(self, rationale=replace(self.rationale, max_tokens=tokens))

    def check(self, shown: Demonstration, order: Order) -> None:
        example = self.taught(shown, order).example
        words = self.rationale.max_tokens if self.rationale is not None else 0
        needed = len(example.prompt) + words + len(self.scale.mask) + 1
        check_positions(needed, self.reader.config.positions, self.files)

    def taught(self, shown: Demonstration, order: Order) -> Taught:
        only_camera(shown)
        question, config = self.reader.question(shown.observation), self.reader.config
        check_actions(shown.actions, 1, len(self.scale.mask))
        normalised = self.scale.to_normalised(np.asarray(shown.actions[0], np.float64))
        action = [*config.actions.tokens(normalised).tolist(), config.eos]
        if order is Order.ACT_ONLY:
            said, action = [], (self._tag() if self.rationale is not None else []) + action
        else:
            said = self.words(shown.rationale, order) if shown.rationale is not None else []
        bos, *words = question.prompt.ids
        patches = question.prompt.length - len(question.prompt.ids)
        prompt = [bos] + [bos] * patches + words  # at the patches' places any id will do
        return Taught(Example(prompt, said, action), tuple(seen.pixels for seen in question.seen))

    def words(self, rationale: Rationale, order: Order) -> list[int]:
        """What stands between the prompt and the action, whose tag is its end."""
        ids = encode_text(self.reader.config, self.tokenizer, forced_text(rationale, TAGS))
        assert self.rationale is not None  # of every order with words
        check_words(ids, self.rationale.max_tokens, rationale)
        return ids

    def unknown(self, rationale: Rationale) -> tuple[str, ...]:
        return unknown_words(self.tokenizer, forced_text(rationale, TAGS))

    def _tag(self) -> list[int]:
        return encode_text(self.reader.config, self.tokenizer, forced_text(""))

    def inputs(self, ids: Int[Tensor, "B S"], suffix: Int[Tensor, "B S"], taught: Sequence[Taught]) -> dict[str, Any]:
        towers = zip(*(each.pixels for each in taught), strict=True)
        return {"input_ids": ids, "pixel_values": tuple(torch.from_numpy(np.stack(tower)) for tower in towers)}

    def write_weights(self, model: torch.nn.Module, folder: Path, dtype: torch.dtype) -> None:
        values = stored_values(model.state_dict(), openvla_places(self.model, self.files.tensors()))
        write_like_base(self.files, values, folder, dtype)

    def descriptions(self, settings: Mapping[str, Any], name: str, dtype: str) -> Mapping[str, Mapping[str, Any]]:
        config = json.loads((self.files.model / "config.json").read_text(encoding="utf-8"))
        config |= {"torch_dtype": dtype, "tuned_with": dict(settings), TITLE: name}
        config.pop(STATED, None)
        if self.rationale is not None:
            config[STATED] = self.rationale.as_json()
        if self.own is None:
            return {"config.json": config}
        told = {self.own.name: self.own.as_json(self.scale)}
        config["norm_stats"] = {**config.get("norm_stats", {}), **told}
        file = self.files.find(STATISTICS)  # the original reads it in place of norm_stats, where there is one
        known = dict(ConfigSection.read(file).fields) if file is not None else {}
        return {"config.json": config, STATISTICS: {**known, **told}}


def _open(
    files: CheckpointFiles, action_stats: str | None, own: DataStatistics | None, reasons: bool
) -> OpenVLALearner:
    config = OpenVLAConfig.read(files, "ecot" if reasons else "openvla")
    scale = own.scale if own is not None else choose(config.statistics, action_stats)
    reader, tokenizer = open_reader(files, config, Weights(files), ends_empty=not reasons)
    stated = (config.rationale or StatedRationale(str(Order.REASON_FIRST), LONGEST)) if reasons else None
    return OpenVLALearner(files, reader, tokenizer, scale, own, stated)
