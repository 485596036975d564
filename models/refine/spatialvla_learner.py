"""Teaching SpatialVLA checkpoints, with words or without: the base of ReFineVLA (arXiv 2505.19080)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.action_tokens import ActionScale
from models.checkpoint_files import TITLE, CheckpointFiles
from models.errors import UserError
from models.families.spatial_action_grid import KINDS, NAMES
from models.families.spatialvla_answer import PARTS, written
from models.families.spatialvla_model import SpatialVLAModel, spatialvla_places
from models.families.spatialvla_reader import SpatialVLAReader
from models.families.spatialvla_settings import PROCESSOR, SpatialVLASettings, processor_config
from models.families.weights import Weights
from models.rationale_text import STATED, UNNAMED, StatedRationale
from models.refine.data_statistics import DataStatistics
from models.refine.demonstrations import Demonstration
from models.refine.examples import Example
from models.refine.learner import Taught, check_actions, check_positions, check_words, only_camera, unknown_words
from models.refine.selective_transfer import Parts
from models.refine.settings import Order
from models.refine.soft_labels import ActionIds
from models.refine.stored_weights import stored_values, write_like_base
from models.types import Rationale

LONGEST = 400  # tokens of a rationale
HEAD, SPATIAL = "language_model.lm_head.weight", "spatial_embed_tokens.weight"
GRIPPER = NAMES.index("gripper")


@dataclass(frozen=True)
class SpatialVLALearner:
    """A `Learner`. What is written ends in <eos>, as in the published training, whether words are in it or not."""

    files: CheckpointFiles
    reader: SpatialVLAReader
    camera: str  # whose intrinsics the images are taken to have
    scale: ActionScale
    own: DataStatistics | None

    @staticmethod
    def open(
        files: CheckpointFiles,
        order: Order,
        *,
        action_stats: str | None = None,
        own: DataStatistics | None = None,
    ) -> SpatialVLALearner:
        """As `open_learner`. With ``own`` statistics, ``action_stats`` still names whose camera took the images."""
        settings = SpatialVLASettings.read(files)
        stated = None if order is Order.ACT_ONLY else StatedRationale(str(order), _longest(settings))
        settings = replace(settings, rationale=stated)
        data_set = settings.choose(action_stats) if own is None or action_stats is not None else own.name
        if own is None:
            scale = settings.scales[data_set]
        elif len(own.q01) != len(NAMES):
            raise UserError(f"the policy predicts {len(NAMES)} values a step, the data have {len(own.q01)}")
        else:
            scale = _gripper_scale(own)
        camera = settings.camera(data_set) if settings.use_depth else ""
        return SpatialVLALearner(
            files, SpatialVLAReader.open(files, settings, data_set, Weights(files)), camera, scale, own
        )

    @property
    def model(self) -> SpatialVLAModel:
        return self.reader.model

    @property
    def parts(self) -> Parts:
        model = self.model
        decoder, tower = model.language_model.model, model.vision_tower
        depth = (model.position_embedding_3d,) if self.reader.settings.use_depth else ()
        pooling = [module for name, module in tower.named_modules() if name.split(".")[-1] == "head"]
        return Parts(
            model=model,
            layers=decoder.layers,
            norm=decoder.norm,
            head=model.language_model.lm_head,
            embeddings=model.language_model.get_input_embeddings(),
            vision=(tower, model.multi_modal_projector, *depth),
            fixed=(*pooling, *((model.vision_zoe_model,) if depth else ())),
            configs=(model.language_model.config,),
        )

    @property
    def action_ids(self) -> tuple[ActionIds, ...]:
        grid = self.reader.settings.grid
        return tuple(ActionIds(grid.ids(kind), grid.shape(kind)) for kind in range(len(KINDS)))

    @property
    def pad(self) -> int:
        return self.reader.settings.pad

    def allowing(self, tokens: int) -> SpatialVLALearner:
        stated = self.reader.settings.rationale
        if stated is None:
            return self
        settings = replace(self.reader.settings, rationale=replace(stated, max_tokens=tokens))
        return replace(self, reader=replace(self.reader, settings=settings))

    def check(self, shown: Demonstration, order: Order) -> None:
        example, stated = self.taught(shown, order).example, self.reader.settings.rationale
        words = stated.max_tokens if stated is not None else 0
        positions = int(self.model.language_model.config.max_position_embeddings)
        check_positions(len(example.prompt) + words + self.reader.settings.action_tokens + 1, positions, self.files)

    def taught(self, shown: Demonstration, order: Order) -> Taught:
        only_camera(shown)
        read, settings = self.reader(shown.observation), self.reader.settings
        check_actions(shown.actions, settings.chunk, len(NAMES))
        moves = settings.grid.encoded(self.scale.to_normalised(np.asarray(shown.actions, np.float64))).ravel().tolist()
        said = shown.rationale if order is not Order.ACT_ONLY else None
        words = self.words(said, order) if said is not None else []
        end = [settings.eos]
        example = (
            Example(read.prompt.ids, words + end if words else [], moves)
            if order is Order.ACT_FIRST
            else Example(read.prompt.ids, words, moves + end)
        )
        return Taught(example, (read.seen.pixels,))

    def words(self, rationale: Rationale, order: Order) -> list[int]:
        """The rationale's ids, its parts under the headings by which the policy's answer is cut."""
        if unknown := [name for name in rationale.parts if name not in (*PARTS, UNNAMED)]:
            raise UserError(f"the policy has no rationale part {', '.join(unknown)}; it knows {', '.join(PARTS)}")
        ids = self.reader.prompts.words(written(rationale))
        stated = self.reader.settings.rationale
        assert stated is not None  # of every order with words
        check_words(ids, stated.max_tokens, rationale)
        return ids

    def unknown(self, rationale: Rationale) -> tuple[str, ...]:
        return unknown_words(self.reader.tokenizer, written(rationale))

    def inputs(self, ids: Int[Tensor, "B S"], suffix: Int[Tensor, "B S"], taught: Sequence[Taught]) -> dict[str, Any]:
        pixels = torch.from_numpy(np.stack([each.pixels[0] for each in taught]))
        return {"input_ids": ids, "token_type_ids": suffix, "pixel_values": pixels}

    def write_weights(self, model: torch.nn.Module, folder: Path, dtype: torch.dtype) -> None:
        stored, state = self.files.tensors(), model.state_dict()
        values = stored_values(state, spatialvla_places(self.model, stored))
        rows: Float[Tensor, "n width"] = self.parts.embeddings.weight[self._spatial_rows]
        if SPATIAL in stored:
            values[SPATIAL] = rows
        if not self.parts.tied:
            values[HEAD] = state[HEAD]
        write_like_base(self.files, values, folder, dtype)

    @property
    def _spatial_rows(self) -> slice:
        settings = self.reader.settings
        return slice(settings.grid.first, settings.grid.first + settings.spatial_tokens)

    def descriptions(self, settings: Mapping[str, Any], name: str, dtype: str) -> Mapping[str, Mapping[str, Any]]:
        config = json.loads((self.files.model / "config.json").read_text(encoding="utf-8"))
        tied = bool(self.parts.tied)
        config |= {"torch_dtype": dtype, "tuned_with": dict(settings), TITLE: name}
        config["text_config"] = {**config["text_config"], "tie_word_embeddings": tied}
        config.pop(STATED, None)
        if (stated := self.reader.settings.rationale) is not None:
            config[STATED] = stated.as_json()
        if self.own is None:
            return {"config.json": config}
        processor = dict(processor_config(self.files).fields)
        key = self.own.name
        processor["statistics"] = {**processor["statistics"], key: self.own.as_json(self.scale)}
        if self.camera:
            cameras = processor["intrinsic_config"]
            processor["intrinsic_config"] = {**cameras, key: cameras[self.camera]}
        return {"config.json": config, PROCESSOR: processor}


def _longest(settings: SpatialVLASettings) -> int:
    return settings.rationale.max_tokens if settings.rationale is not None else LONGEST


def _gripper_scale(own: DataStatistics) -> ActionScale:
    """The gripper's two tokens say 0 and 1, so these, and not -1 and 1, have to be its least and greatest values."""
    low, high = own.low[GRIPPER], own.high[GRIPPER]
    if low >= 0 and high <= 1:  # as published: left as it is
        mask = tuple(dimension != GRIPPER for dimension in range(len(NAMES)))
        return ActionScale(own.q01, own.q99, mask)
    q01, q99 = list(own.q01), list(own.q99)
    q01[GRIPPER], q99[GRIPPER] = 2 * low - high, high
    return ActionScale(tuple(q01), tuple(q99), (True,) * len(NAMES))
