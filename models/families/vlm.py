"""Vision-language models that write text about images: prompt, greedy answer, exact attention rows, gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel

from models.capture import LANGUAGE, ROW_ATTENTION, VISION, attention_sites, collecting
from models.checkpoint_files import CheckpointFiles
from models.cut_attention import Cuttable, cutting
from models.decoding import GreedyRun
from models.errors import UserError
from models.families.action_token_prompt import Prompt
from models.families.chat_prompt import ChatPrompts
from models.families.chat_tokenizer import ChatTokenizer, chat_template
from models.families.generated_rows import generated_rows, row_collector
from models.families.vlm_answer import Answer, prediction
from models.families.vlm_generation import GenerationRules
from models.families.vlm_kinds import VLM_KINDS
from models.families.vlm_pictures import Picture, Pictures
from models.families.vlm_reading import CausalReading, GridAt, GridReading, Reading, WholeReading
from models.families.vlm_tower import features
from models.families.weights import Weights, load_transformers, read_transformers_config
from models.policy import Policy
from models.rationale_text import UNNAMED
from models.teacher_forcing import TeacherForcing
from models.types import AttentionRecord, Capture, CheckpointSpec, Observation, Part, Prediction, Rationale, TokenLayout

MOST_NEW_TOKENS = 64  # of an answer that does not end by itself
SITES = {
    LANGUAGE: r"\.(?:language_model|text_model)\.layers\.(\d+)\.self_attn$",
    VISION: r"\.(?:vision_tower|vision_model|visual)\.(?:.*\.)?(?:layers|blocks)\.(\d+)\.(?:self_attn|attn)$",
}


def load_vlm(files: CheckpointFiles, spec: CheckpointSpec, action_stats: str | None, device: str, dtype: str) -> Policy:
    """Raises UserError for files that do not fit each other."""
    kind = VLM_KINDS[files.config().text("model_type")]
    config = read_transformers_config(kind.config, files)
    tokenizer = ChatTokenizer(files, int(config.image_token_id))
    template = chat_template(files) if kind.chats else None
    prompts = ChatPrompts(tokenizer, template, kind.plain)
    pictures = kind.pictures(files, config, tokenizer.image)
    rules = GenerationRules.read(files, config)
    weights = Weights(files, device, dtype)
    model = load_transformers(kind.model, config, weights, ROW_ATTENTION, spec.unused)
    if template is None:
        spec = replace(spec, notes={**spec.notes, "prompt": "no chat template: the model's plain form is used"})
    reading = kind.reading(model)
    if isinstance(reading, WholeReading):
        return DifferentiableVisionLanguageModel(spec, model, tokenizer, prompts, pictures, rules, reading)
    if isinstance(reading, GridReading):
        return GridVisionLanguageModel(spec, model, tokenizer, prompts, pictures, rules, reading)
    return VisionLanguageModel(spec, model, tokenizer, prompts, pictures, rules, reading)


class VisionLanguageModel(Cuttable):
    """A Policy without actions; Knockable. Holds no state between calls; several threads may call it at once."""

    def __init__(
        self,
        spec: CheckpointSpec,
        model: PreTrainedModel,
        tokenizer: ChatTokenizer,
        prompts: ChatPrompts,
        pictures: Pictures,
        rules: GenerationRules,
        reading: Reading,
    ):
        self.info = spec
        self.model = model
        self._tokenizer, self._prompts, self._pictures = tokenizer, prompts, pictures
        self._rules, self._reading = rules, reading
        self._sites = attention_sites(model, SITES)
        text = model.config.get_text_config()
        self._allowed = rules.allowed(int(text.vocab_size), model.device)
        self._positions = int(text.max_position_embeddings)

    def layout(self, observation: Observation) -> TokenLayout:
        return self._read(observation)[0].layout

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        prompt, pictures = self._read(observation)
        forced = None if force is None else self._tokenizer.encode_words(_words(force), self._rules.ends)
        longest = self._longest(prompt, forced)
        collector = row_collector(self._sites, self.info.layers, capture, len(prompt.ids), longest)
        ids = self._ids(prompt)
        with torch.inference_mode():
            embedded, vision = self._embedded(ids, pictures, capture is not None and capture.vision)
            inputs, following = self._reading.prompt(ids, pictures)
            run = GreedyRun(self.model, collector, following, self._part_of, _one_text)
            run.writing = Part.RATIONALE
            with collecting(collector), cutting(self._sites, prompt.layout):
                every = bool(capture and capture.prefix)
                run.read({"inputs_embeds": embedded, **inputs}, len(prompt.ids), every, capture is not None)
                self._speak(run, prompt.ids, forced, capture)
        answer = Answer.read(run.tokens, prompt.layout, self._tokenizer, self._rules.ends, self.info.digest)
        rows = (generated_rows(run, answer.layout, capture, collector),) if capture and collector else ()
        return prediction(answer, run.logprobs, (*rows, *vision))

    def _read(self, observation: Observation) -> tuple[Prompt, tuple[Picture, ...]]:
        if not observation.images:
            raise UserError(f"{self.info.name} reads images, and the observation has none; pass at least one camera's")
        pictures = tuple(self._pictures(camera, frame) for camera, frame in observation.images.items())
        prompt = self._prompts(observation.instruction, [picture.pieces for picture in pictures])
        return prompt, pictures

    def _ids(self, prompt: Prompt) -> Tensor:
        return torch.tensor([prompt.ids], device=self.model.device)

    def _embedded(
        self, ids: Tensor, pictures: Sequence[Picture], vision: bool
    ) -> tuple[Float[Tensor, "1 P width"], tuple[AttentionRecord, ...]]:
        """What the language model reads, images merged in, and the vision tower's attention where it is asked for."""
        sites = self._sites if vision else None
        made = [features(self.model, picture, sites) for picture in pictures]
        image = ids == self.model.config.image_token_id
        table = self.model.get_input_embeddings()
        words = ids.masked_fill(image, 0)  # PaliGemma's image token may lie beyond the table
        if (largest := int(words.max())) >= len(table.weight):
            raise UserError(
                f"{self.info.path}: the prompt has the token {largest}, the embeddings have {len(table.weight)} rows; "
                "the tokenizer is not the one that this model was made with"
            )
        embedded: Tensor = table(words)
        merged = torch.cat([each for each, _ in made]).to(embedded.dtype)
        if len(merged) != int(image.sum()):
            raise ValueError(f"{len(merged)} image features for {int(image.sum())} image tokens")
        return embedded.masked_scatter(image[..., None], merged), tuple(each for _, some in made for each in some)

    def _longest(self, prompt: Prompt, forced: list[int] | None) -> int:
        """Positions that prompt and answer can take. Raises UserError where the model has fewer."""
        answer = max(MOST_NEW_TOKENS, len(forced or ()))
        total = len(prompt.ids) + answer
        if total > self._positions:
            raise UserError(
                f"the prompt has {len(prompt.ids)} tokens and the answer up to {answer}, the model has "
                f"{self._positions} positions; use smaller images, fewer cameras or a shorter instruction"
            )
        return total

    def _part_of(self, index: int, token: int) -> Part:
        return Part.SPECIAL if token in self._rules.ends else Part.RATIONALE

    def _speak(self, run: GreedyRun, prompt: Sequence[int], forced: list[int] | None, capture: Capture | None) -> None:
        """Words until an end token or the limit; forced words end as the model's own would."""
        kept = capture.queries if capture else ()
        keep = Part.RATIONALE in kept or Part.SPECIAL in kept
        run.force(forced or (), keep)
        allowed = self._allowed
        if forced is not None:
            allowed = torch.zeros_like(allowed)
            allowed[list(self._rules.ends)] = True
        while len(run.tokens) < MOST_NEW_TOKENS:
            adjusted = partial(self._rules.penalised, before=(*prompt, *run.tokens))
            token, _ = run.choose(allowed, keep, adjusted)
            if token in self._rules.ends:
                return


class DifferentiableVisionLanguageModel(VisionLanguageModel, TeacherForcing):
    """Where prompt and answer can be read in one pass from their embeddings alone: BatchScoring as well."""

    _reading: WholeReading

    def embed(self, observation: Observation) -> Float[Tensor, "1 P width"]:
        prompt, pictures = self._read(observation)
        return self._embedded(self._ids(prompt), pictures, vision=False)[0]

    def _word_table(self) -> nn.Module:
        table: nn.Module = self.model.get_input_embeddings()
        return table

    def _causal_config(self) -> PretrainedConfig | None:
        config: PretrainedConfig = self.model.config.get_text_config()
        return config if isinstance(self._reading, CausalReading) else None

    def _next_logits(
        self, embedded: Float[Tensor, "B L width"], prompt: int, keep: Int[Tensor, " R"], cache: DynamicCache | None
    ) -> Float[Tensor, "B R V"]:
        inputs = {
            name: value.expand(*value.shape[:-2], len(embedded), -1)
            for name, value in self._reading.whole(prompt, embedded.shape[1], embedded.device).items()
        }
        cached = {"past_key_values": cache, "use_cache": True} if cache is not None else {"use_cache": False}
        logits: Tensor = self.model(inputs_embeds=embedded, logits_to_keep=keep, **cached, **inputs).logits
        return logits


def _one_text(tokens: Sequence[int]) -> list[str]:
    """Names of parts, as `models.decoding.GreedyRun` asks for them."""
    return [UNNAMED] * (len(tokens) + 1)


class GridVisionLanguageModel(VisionLanguageModel):
    """Where positions on an image's grid are read beside the embeddings: Placing as well."""

    _reading: GridReading

    def placed(self, observation: Observation) -> DifferentiableVisionLanguageModel:
        prompt, pictures = self._read(observation)
        reading = GridAt(self._reading, self._ids(prompt), pictures)
        return DifferentiableVisionLanguageModel(
            self.info, self.model, self._tokenizer, self._prompts, self._pictures, self._rules, reading
        )


def _words(force: Rationale | str) -> str:
    """Raises UserError for a rationale with several parts: such a model writes one text."""
    if isinstance(force, str):
        return force
    if len(force.parts) > 1:
        raise UserError(f"the model writes one text without parts; the rationale has {', '.join(force.parts)}")
    return next(iter(force.parts.values()), "")
