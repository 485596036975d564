"""A checkpoint that can be taught: its model, and how demonstrations become its token sequences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from tokenizers import Tokenizer
from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

from models.action_tokens import ActionScale
from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.families.action_token_config import ActionTokenConfig
from models.families.action_token_prompt import PromptBuilder, Vocabulary, encode_words, read_tokenizer
from models.families.weights import Weights, load_transformers, read_transformers_config
from models.images import ImagePreprocessing
from models.rationale_text import RationaleFormat
from models.refine.demonstrations import Demonstration
from models.refine.examples import Example
from models.refine.settings import Order
from models.types import Rationale

PARTS = ("observation", "situation", "spatial", "planning")
MARKERS = (  # tokens that tokenizers have and nobody uses, to open the four parts
    ("<obs>", "<sit>", "<spa>", "<plan>"),
    ("<unused0>", "<unused1>", "<unused2>", "<unused3>"),
)
LONGEST = 400  # tokens of a rationale


@dataclass(frozen=True)
class Taught:
    """One demonstration as the model reads and writes it."""

    example: Example
    pixels: Float[np.ndarray, "3 h w"]


@dataclass(frozen=True)
class Learner:
    """Everything about a checkpoint that training needs."""

    files: CheckpointFiles
    robot: ActionTokenConfig
    scale: ActionScale
    model: PaliGemmaForConditionalGeneration
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    images: ImagePreprocessing
    prompts: PromptBuilder

    @staticmethod
    def open(
        files: CheckpointFiles,
        order: Order,
        *,
        action_stats: str | None = None,
        own_scale: tuple[str, ActionScale] | None = None,
        max_tokens: int | None = None,
    ) -> Learner:
        """Weights in float32 on the CPU; the trainer moves them.

        Args:
            order: a rationale's place, which the policy will keep; a checkpoint without words gets markers for them.
            action_stats: data set whose statistics scale the actions, where there are several.
            own_scale: name and statistics of the data that it learns from, in place of the checkpoint's.
            max_tokens: longest rationale that it will be allowed to write; its own, or 1.5 times the longest it learns.

        Raises:
            UserError: a checkpoint that cannot be taught here, or that lacks what it would need.
        """
        folder, config = files.model, files.config()
        robot = ActionTokenConfig.read(config)
        if robot is None:
            raise UserError(f"{folder} has no section vla in config.json: it predicts no actions, so none can be tuned")
        if own_scale is not None:
            robot = replace(robot, scales={**robot.scales, own_scale[0]: own_scale[1]})
            action_stats = own_scale[0]
        scale, tokenizer = robot.scale(action_stats), read_tokenizer(folder)
        robot = replace(robot, rationale=_rationale_format(robot, tokenizer, order, max_tokens, folder))
        vocabulary = Vocabulary.read(tokenizer, config, robot)
        layout = read_transformers_config(PaliGemmaConfig, files)
        model = load_transformers(PaliGemmaForConditionalGeneration, layout, Weights(files), "sdpa")
        images, prompts = ImagePreprocessing.read(folder), PromptBuilder(robot, vocabulary, tokenizer)
        return Learner(files, robot, scale, model, vocabulary, tokenizer, images, prompts)

    def longest(self, rationales: Iterable[Rationale], order: Order) -> int:
        """Tokens of the longest of ``rationales``. Raises UserError for one that cannot be written."""
        return max((len(self.words(each, order)) for each in rationales), default=0)

    def allowing(self, tokens: int) -> Learner:
        """The same, allowed to write ``tokens`` tokens of rationale, or as many as its base."""
        form = self.robot.rationale
        if form is None:
            return self
        return replace(self, robot=replace(self.robot, rationale=replace(form, max_tokens=tokens)))

    def check(self, shown: Demonstration, order: Order) -> None:
        """Whether a demonstration can be learned at all. Raises UserError where it cannot."""
        example = self.taught(shown, order).example
        words = self.robot.rationale.max_tokens if self.robot.rationale is not None else 0
        total, positions = len(example.prompt) + words + len(example.action) + 1, self.positions
        if total > positions:
            raise UserError(
                f"prompt, rationale and actions take up to {total} positions, {self.files.folder} has {positions}; "
                "use shorter rationales"
            )

    @property
    def positions(self) -> int:
        return int(self.model.config.get_text_config().max_position_embeddings)

    def taught(self, shown: Demonstration, order: Order) -> Taught:
        """Raises UserError for a demonstration that the policy cannot read or write."""
        if len(shown.observation.images) != 1:
            found = ", ".join(shown.observation.images) or "none"
            raise UserError(f"the policy reads one image, the demonstration has {found}; choose one camera")
        camera, frame = next(iter(shown.observation.images.items()))
        seen = self.images(frame)
        grid = seen.grid(camera, self.model.config.vision_config.patch_size)
        prompt = self.prompts(shown.observation.instruction, shown.observation.state, grid)
        words = self.words(shown.rationale, order) if order is not Order.ACT_ONLY else []
        return Taught(Example(prompt.ids, words, self.action_ids(shown.actions)), seen.pixels)

    def words(self, rationale: Rationale | None, order: Order) -> list[int]:
        """The rationale's ids, each part after its marker; after actions its end is taught too."""
        if rationale is None or self.robot.rationale is None:
            return []
        text = self.robot.rationale.marked(rationale)
        ids = encode_words(
            self.tokenizer, self.vocabulary, self.robot.rationale.lowered(text) if self.robot.lowercase else text
        )
        longest = self.robot.rationale.max_tokens
        if len(ids) > longest:
            raise UserError(
                f"a rationale of steps [{rationale.start}, {rationale.stop}) has {len(ids)} tokens, the policy may "
                f"write {longest}; allow more with max_tokens, or shorten it"
            )
        return [*ids, self.vocabulary.eos] if order is Order.ACT_FIRST else ids

    def action_ids(self, actions: Float[np.ndarray, "T D"]) -> list[int]:
        """The token that announces actions, and one a dimension and step."""
        wanted = (self.robot.action.chunk, len(self.robot.action.names))
        if np.shape(actions) != wanted:
            raise UserError(f"the policy predicts {wanted[0]} x {wanted[1]} values, the data have {np.shape(actions)}")
        if not np.isfinite(actions).all():
            raise UserError("the data have an action that is not finite")
        bins = self.robot.action.encode(actions, self.scale)
        return [self.vocabulary.begin, *(self.vocabulary.action.start + bins).tolist()]


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
