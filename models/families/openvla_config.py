"""config.json and dataset_statistics.json of an OpenVLA checkpoint as values. Imports no torch, no transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.checkpoint import TensorInfo
from models.checkpoint_files import CheckpointFiles
from models.config_section import ConfigSection
from models.errors import UserError
from models.families.openvla_actions import OpenVLAActions, read_statistics
from models.families.timm_vit_shape import VitShape, read_vit_shape
from models.rationale_text import StatedRationale

TOWERS = ("vision_backbone.featurizer.", "vision_backbone.fused_featurizer.")
EMPTY_TOKEN = 29871  # Llama's lone space marker, put behind the prompt as in training
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
PURE = "In: What action should the robot take to {instruction}?\nOut:"
VICUNA = f"{SYSTEM} USER: What action should the robot take to {{instruction}}? ASSISTANT:"
ECOT = f"{VICUNA} TASK:"
# transformers' LlamaConfig leaves these out of config.json where they equal its defaults
TEXT_DEFAULTS = {"layers": 32, "heads": 32, "width": 4096, "positions": 2048, "vocabulary": 32000}


@dataclass(frozen=True)
class OpenVLAConfig:
    """What is needed to build and to ask the model."""

    towers: tuple[VitShape, ...]  # one, or two whose features are joined
    layers: int
    heads: int
    width: int
    vocabulary: int  # of the embeddings; the words end ``pad_to_multiple_of`` before it
    positions: int
    bos: int
    eos: int
    actions: OpenVLAActions
    prompt: str  # with {instruction}
    prompt_reason: str  # why this form was taken
    statistics: Mapping[str, ConfigSection]  # data set -> q01, q99, mask of its actions
    rationale: StatedRationale | None = None  # None: config.json says nothing of words

    @staticmethod
    def read(files: CheckpointFiles, family: str) -> OpenVLAConfig:
        """Raises UserError for a configuration that makes no sense or does not fit the tensors."""
        config = files.config()
        text = config.section("text_config")
        kind = text.text("model_type", default="llama")
        if kind != "llama":
            raise UserError(
                f"{text.where}.model_type is {kind!r}; an OpenVLA's language model is expected to be 'llama'"
            )
        vocabulary = text.integer("vocab_size", default=TEXT_DEFAULTS["vocabulary"], minimum=EMPTY_TOKEN + 1)
        prompt, reason = _prompt(config, files.names(), family)
        return OpenVLAConfig(
            towers=_towers(config, files.tensors()),
            layers=text.integer("num_hidden_layers", default=TEXT_DEFAULTS["layers"]),
            heads=text.integer("num_attention_heads", default=TEXT_DEFAULTS["heads"]),
            width=text.integer("hidden_size", default=TEXT_DEFAULTS["width"]),
            vocabulary=vocabulary,
            positions=text.integer("max_position_embeddings", default=TEXT_DEFAULTS["positions"]),
            bos=text.integer("bos_token_id", default=1, minimum=0),
            eos=text.integer("eos_token_id", default=2, minimum=0),
            actions=_actions(config, vocabulary),
            prompt=prompt,
            prompt_reason=reason,
            statistics=read_statistics(files, config),
            rationale=StatedRationale.read(config),
        )

    @property
    def fused(self) -> bool:
        return len(self.towers) == 2

    @property
    def streams(self) -> tuple[str, ...]:
        """What the attention of each tower is called."""
        if not self.fused:
            return ("vision",)
        sources = [tower.source for tower in self.towers]
        if sources[0] == sources[1]:
            sources = [f"{source} {number}" for number, source in enumerate(sources, start=1)]
        return tuple(f"vision {source}" for source in sources)

    @property
    def unused(self) -> dict[str, str]:
        """Stored tensors that are left out on purpose -> why."""
        towers = [tower.unused for tower in self.towers]
        rotary = "language_model.model.layers.*.self_attn.rotary_emb.inv_freq"
        return {name: why for tower in towers for name, why in tower.items()} | {
            rotary: "rotary frequencies are computed, not stored"
        }


def _prompt(config: ConfigSection, called: tuple[str, ...], family: str) -> tuple[str, str]:
    if family == "ecot":
        return ECOT, "ECoT's, which ends in ASSISTANT: TASK:"
    named = next((name for name in called if "openvla-v01" in name.lower()), None)
    if named is not None:
        return VICUNA, f"v0.1 (Vicuna), as the checkpoint is called {named!r}"
    backbone = config.text("llm_backbone_id", default="")
    if backbone.startswith("vicuna"):
        return VICUNA, f"v0.1 (Vicuna), as llm_backbone_id is {backbone!r}"
    return PURE, "that of OpenVLA after v0.1: neither the name has openvla-v01 in it nor llm_backbone_id vicuna"


def _actions(config: ConfigSection, vocabulary: int) -> OpenVLAActions:
    padding = config.integer("pad_to_multiple_of", default=64, minimum=0)
    bins = config.integer("n_action_bins", default=256, minimum=2)
    if vocabulary - padding <= bins:
        raise UserError(
            f"{config.where} pad_to_multiple_of is {padding} and n_action_bins {bins}; with a vocabulary of "
            f"{vocabulary} no ids are left for words"
        )
    return OpenVLAActions(words=vocabulary - padding, bins=bins)


def _towers(config: ConfigSection, tensors: Mapping[str, TensorInfo]) -> tuple[VitShape, ...]:
    ids = config.strings("timm_model_ids")
    fused = config.flag("use_fused_vision_backbone", len(ids) == 2)
    count = 2 if fused else 1
    sizes = config.numbers("image_sizes")
    overrides = config.fields.get("timm_override_act_layers") or [None] * count
    for name, values in (("timm_model_ids", ids), ("image_sizes", sizes), ("timm_override_act_layers", overrides)):
        if not isinstance(values, list | tuple) or len(values) < count:
            raise UserError(f"{config.where} {name} is {values!r}, expected {count}, one for each vision tower")
    if not all(size.is_integer() and size > 0 for size in sizes):
        raise UserError(f"{config.where} image_sizes is {list(sizes)}, expected whole numbers of at least 1")
    if any(override is not None and not isinstance(override, str) for override in overrides):
        raise UserError(f"{config.where} timm_override_act_layers is {overrides!r}, expected names or null")
    towers = tuple(
        read_vit_shape(tensors, prefix, ids[index], int(sizes[index]), overrides[index])
        for index, prefix in enumerate(TOWERS[:count])
    )
    if fused and towers[0].patches != towers[1].patches:
        raise UserError(
            f"{config.where} image_sizes: the towers have {towers[0].patches} and {towers[1].patches} patches, whose "
            "features cannot be joined"
        )
    return towers
