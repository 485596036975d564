"""Teaching action-token PaliGemma checkpoints (docs/checkpoint-action-tokens.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

from models.action_tokens import ActionScale
from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.families.action_token_config import ActionTokenConfig
from models.families.action_token_prompt import PromptBuilder, Vocabulary, encode_words, read_tokenizer
from models.families.weights import Weights, load_transformers, read_transformers_config, transformers_places
from models.images import ImagePreprocessing
from models.rationale_text import RationaleFormat
from models.refine.data_statistics import DataStatistics
from models.refine.demonstrations import Demonstration
from models.refine.examples import Example
from models.refine.learner import Taught, check_actions, check_positions, check_words, only_camera, unknown_words
from models.refine.selective_transfer import Parts
from models.refine.settings import Order
from models.refine.soft_labels import ActionIds
from models.refine.stored_weights import stored_values, write_like_base
from models.types import Rationale

PARTS = ("observation", "situation", "spatial", "planning")
MARKERS = (  # tokens that tokenizers have and nobody uses, to open the four parts
    ("<obs>", "<sit>", "<spa>", "<plan>"),
    ("<unused0>", "<unused1>", "<unused2>", "<unused3>"),
)
LONGEST = 400  # tokens of a rationale
HEAD, OLDER = "lm_head.weight", "language_model.model."  # of published files, in which the head has a prefix, too


@dataclass(frozen=True)
class PaliGemmaLearner:
    """A `Learner`. The order of rationale and action is the checkpoint's own setting, and is changed with it."""

    files: CheckpointFiles
    robot: ActionTokenConfig
    scale: ActionScale
    own: DataStatistics | None
    model: PaliGemmaForConditionalGeneration
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    images: ImagePreprocessing
    prompts: PromptBuilder
    places: Mapping[str, str]  # stored name -> name in the model

    @staticmethod
    def open(
        files: CheckpointFiles,
        order: Order,
        *,
        action_stats: str | None = None,
        own: DataStatistics | None = None,
        max_tokens: int | None = None,
    ) -> PaliGemmaLearner:
        """As `open_learner`; a checkpoint without words gets markers for them.

        Args:
            max_tokens: longest rationale that it will be allowed to write; its own, or 1.5 times the longest it learns.

        Raises:
            UserError: a checkpoint that cannot be taught here, or that lacks what it would need.
        """
        folder, config = files.model, files.config()
        robot = ActionTokenConfig.read(config)
        if robot is None:
            raise UserError(f"{folder} has no section vla in config.json: it predicts no actions, so none can be tuned")
        if own is not None:
            robot = replace(robot, scales={**robot.scales, own.name: own.scale})
        scale, tokenizer = robot.scale(own.name if own is not None else action_stats), read_tokenizer(folder)
        robot = replace(robot, rationale=_rationale_format(robot, tokenizer, order, max_tokens, folder))
        vocabulary = Vocabulary.read(tokenizer, config, robot)
        layout = read_transformers_config(PaliGemmaConfig, files)
        model = load_transformers(PaliGemmaForConditionalGeneration, layout, Weights(files), "sdpa")
        images, prompts = ImagePreprocessing.read(folder), PromptBuilder(robot, vocabulary, tokenizer)
        places = transformers_places(model, files.tensors())
        return PaliGemmaLearner(files, robot, scale, own, model, vocabulary, tokenizer, images, prompts, places)

    @property
    def parts(self) -> Parts:
        return paligemma_parts(self.model)

    @property
    def action_ids(self) -> tuple[ActionIds, ...]:
        return (ActionIds(self.vocabulary.action, (len(self.vocabulary.action),)),)

    @property
    def pad(self) -> int:
        return self.vocabulary.pad

    def allowing(self, tokens: int) -> PaliGemmaLearner:
        form = self.robot.rationale
        if form is None:
            return self
        return replace(self, robot=replace(self.robot, rationale=replace(form, max_tokens=tokens)))

    def check(self, shown: Demonstration, order: Order) -> None:
        example = self.taught(shown, order).example
        words = self.robot.rationale.max_tokens if self.robot.rationale is not None else 0
        positions = int(self.model.config.get_text_config().max_position_embeddings)
        check_positions(len(example.prompt) + words + len(example.action) + 1, positions, self.files)

    def taught(self, shown: Demonstration, order: Order) -> Taught:
        camera = only_camera(shown)
        seen = self.images(shown.observation.images[camera])
        grid = seen.grid(camera, self.model.config.vision_config.patch_size)
        prompt = self.prompts(shown.observation.instruction, shown.observation.state, grid)
        words = self.words(shown.rationale, order) if order is not Order.ACT_ONLY else []
        return Taught(Example(prompt.ids, words, self._action_ids(shown.actions)), (seen.pixels,))

    def words(self, rationale: Rationale | None, order: Order) -> list[int]:
        """The rationale's ids, each part after its marker; after actions its end is taught too."""
        if rationale is None or self.robot.rationale is None:
            return []
        ids = encode_words(self.tokenizer, self.vocabulary, _written(self.robot, self.robot.rationale, rationale))
        check_words(ids, self.robot.rationale.max_tokens, rationale)
        return [*ids, self.vocabulary.eos] if order is Order.ACT_FIRST else ids

    def unknown(self, rationale: Rationale) -> tuple[str, ...]:
        form = self.robot.rationale
        return unknown_words(self.tokenizer, _written(self.robot, form, rationale)) if form is not None else ()

    def _action_ids(self, actions: Float[np.ndarray, "T D"]) -> list[int]:
        """The token that announces actions, and one a dimension and step."""
        check_actions(actions, self.robot.action.chunk, len(self.robot.action.names))
        bins = self.robot.action.encode(actions, self.scale)
        return [self.vocabulary.begin, *(self.vocabulary.action.start + bins).tolist()]

    def inputs(self, ids: Int[Tensor, "B S"], suffix: Int[Tensor, "B S"], taught: Sequence[Taught]) -> dict[str, Any]:
        pixels = torch.from_numpy(np.stack([each.pixels[0] for each in taught]))
        return {"input_ids": ids, "token_type_ids": suffix, "pixel_values": pixels}

    def write_weights(self, model: torch.nn.Module, folder: Path, dtype: torch.dtype) -> None:
        state = model.state_dict()
        values = stored_values(state, self.places)
        if not self.parts.tied and HEAD not in self.places.values():  # the head got weights of its own
            older = any(name.startswith(OLDER) for name in self.places)
            values[f"language_model.{HEAD}" if older else HEAD] = state[HEAD]
        write_like_base(self.files, values, folder, dtype)

    def descriptions(self, settings: Mapping[str, Any], name: str, dtype: str) -> Mapping[str, Mapping[str, Any]]:
        config = json.loads((self.files.model / "config.json").read_text(encoding="utf-8"))
        tied = bool(self.model.config.tie_word_embeddings)
        config |= {"tie_word_embeddings": tied, "dtype": dtype}
        config["text_config"] = {**config.get("text_config", {}), "tie_word_embeddings": tied}
        config["vla"] = {**config["vla"], "name": name}
        form = self.robot.rationale
        if form is not None:
            rationale = {"order": form.order, "parts": dict(form.parts), "max_tokens": form.max_tokens}
            config["vla"]["rationale"] = rationale
        else:
            config["vla"].pop("rationale", None)
        if self.own is not None:
            config["norm_stats"] = {**config["norm_stats"], self.own.name: self.own.as_json(self.scale)}
        config["tuned_with"] = dict(settings)
        return {"config.json": config}


def paligemma_parts(model: PaliGemmaForConditionalGeneration) -> Parts:
    decoder = model.model.language_model
    return Parts(
        model=model,
        layers=decoder.layers,
        norm=decoder.norm,
        head=model.lm_head,
        embeddings=model.get_input_embeddings(),
        vision=(model.model.vision_tower, model.model.multi_modal_projector),
        configs=(model.config, model.config.text_config),
    )


def _written(robot: ActionTokenConfig, form: RationaleFormat, rationale: Rationale) -> str:
    text = form.marked(rationale)
    return form.lowered(text) if robot.lowercase else text


def _rationale_format(
    robot: ActionTokenConfig, tokenizer: Tokenizer, order: Order, max_tokens: int | None, folder: Path
) -> RationaleFormat | None:
    """How the tuned policy writes: as before, or in four parts with markers that the tokenizer has."""
    if order is Order.ACT_ONLY:
        return None
    kept = robot.rationale
    parts = kept.parts if kept is not None else _free_markers(tokenizer, folder)
    longest = max_tokens if max_tokens is not None else kept.max_tokens if kept is not None else LONGEST
    return RationaleFormat(parts, longest, str(order))


def _free_markers(tokenizer: Tokenizer, folder: Path) -> Mapping[str, str]:
    for markers in MARKERS:
        if all(tokenizer.token_to_id(marker) is not None for marker in markers):
            return dict(zip(markers, PARTS, strict=True))
    sets = " or ".join(" ".join(markers) for markers in MARKERS)
    raise UserError(
        f"{folder} cannot be taught to write rationales: its tokenizer has no tokens to open their parts ({sets}); add "
        "them to tokenizer.json and the embeddings, or tune with the order 'action only'"
    )
