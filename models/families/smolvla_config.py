"""What config.json of a SmolVLA policy and of its vision-language backbone say. Imports neither torch nor transformers.

Defaults are those of lerobot's configuration_smolvla.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.checkpoint_files import CheckpointFiles, companion
from models.config_section import ConfigSection
from models.errors import UserError
from models.families.lerobot_folder import MOST_STEPS, TOKENIZE, LerobotFolder

BACKBONE = "HuggingFaceTB/SmolVLM2-500M-Video-Instruct"  # what a policy builds on where its config.json does not say
KINDS = ("smolvlm", "idefics3")  # backbones' model_type; SmolVLM 1 is an Idefics 3
MOST_CAMERAS = 64
NEW_LINE = "smolvla_new_line_processor"  # the family's own processor step
UNSUPPORTED = {
    "adapt_to_pi_aloha": "joints and grippers would have to be converted to the space of another robot's runtime",
    "use_delta_joint_actions_aloha": "LeRobot itself does not implement it",
}


@dataclass(frozen=True)
class SmolVLAConfig:
    """Settings that change what the policy does."""

    backbone: str  # name of the vision-language model
    chunk: int  # steps predicted at once
    executed: int  # steps that LeRobot executes before it predicts again
    state_dim: int  # state and action are padded to these
    action_dim: int
    image_size: tuple[int, int] | None  # height, width after letterboxing; None: frames are taken as they are
    empty_cameras: int  # how many absent cameras are replaced by an image that is masked out
    image_marks: bool  # whether special tokens stand around each image
    max_tokens: int | None  # longer instructions are cut; None: they are not
    tokenizer: str  # name of the model whose tokenizer is used
    denoising_steps: int
    min_period: float  # of the sine and cosine encoding of the denoising time
    max_period: float
    vlm_layers: int  # layers of the language model that are used; 0: all
    expert_layers: int  # 0: as many as the language model
    expert_width: float  # of the language model's
    cross_attention: bool  # whether there are expert layers that look at the prefix alone
    self_every: int  # every so many layers the expert looks at its own positions too; 0: never

    @staticmethod
    def read(folder: LerobotFolder) -> SmolVLAConfig:
        """Raises UserError for values that make no sense, or ask for what is not supported."""
        config = folder.config
        for name, reason in UNSUPPORTED.items():
            if config.flag(name, False):
                raise UserError(f"{config.where} {name} is true, which is not supported: {reason}")
        backbone = config.text("vlm_model_name", default=BACKBONE)
        tokenize = folder.step(TOKENIZE)
        found = SmolVLAConfig(
            backbone=backbone,
            chunk=config.integer("chunk_size", default=50, maximum=MOST_STEPS),
            executed=config.integer("n_action_steps", default=50),
            state_dim=config.integer("max_state_dim", default=32),
            action_dim=config.integer("max_action_dim", default=32, maximum=MOST_STEPS),
            image_size=_image_size(config),
            empty_cameras=config.integer("empty_cameras", default=0, minimum=0, maximum=MOST_CAMERAS),
            image_marks=config.flag("add_image_special_tokens", False),
            max_tokens=_max_tokens(tokenize),
            tokenizer=tokenize.text("tokenizer_name", default=backbone) if tokenize is not None else backbone,
            denoising_steps=config.integer("num_steps", default=10, maximum=MOST_STEPS),
            min_period=config.number("min_period", default=4e-3),
            max_period=config.number("max_period", default=4.0),
            vlm_layers=_count(config, "num_vlm_layers", 16),
            expert_layers=_count(config, "num_expert_layers", -1),
            expert_width=config.number("expert_width_multiplier", default=0.75),
            cross_attention="cross" in config.text("attention_mode", default="cross_attn"),
            self_every=_count(config, "self_attn_every_n_layers", 2),
        )
        found._check(folder)
        return found

    def looks_at_chunk(self, layer: int) -> bool:
        """Whether an expert layer of this number looks at prefix and chunk, not at the prefix alone."""
        return not self.cross_attention or (self.self_every > 0 and layer % self.self_every == 0)

    def _check(self, folder: LerobotFolder) -> None:
        where = folder.config.where
        for what, size, name, limit in (
            ("state", folder.state_size, "max_state_dim", self.state_dim),
            ("action", folder.action_size, "max_action_dim", self.action_dim),
        ):
            if not 1 <= size <= limit:
                raise UserError(f"{where} the {what} has {size} values, expected 1 to {limit} ({name})")
        if not folder.cameras:
            raise UserError(f"{where} input_features has no camera (a feature of type VISUAL); expected at least one")


@dataclass(frozen=True)
class Backbone:
    """The vision-language model that a policy builds on: only its config.json and tokenizer are read."""

    files: CheckpointFiles
    layers: int  # of the language model, as many as are used
    heads: int
    vision_layers: int
    vision_heads: int
    image_size: int  # that the vision tower was made for
    pixels: int  # a side of what one image token covers, in pixels of the seen image

    @staticmethod
    def find(files: CheckpointFiles, config: SmolVLAConfig) -> Backbone:
        """Raises UserError where there is no local copy, saying where to put one, or where it is of another kind."""
        what = "its vision-language backbone (of which only config.json and tokenizer.json are read)"
        folder = files.base or companion(files.folder, config.backbone, what)
        found = CheckpointFiles(folder, folder)
        whole = found.config()
        kind = whole.text("model_type")
        if kind not in KINDS:
            raise UserError(f"{folder} is a {kind!r}, not a backbone of SmolVLA, which is one of {', '.join(KINDS)}")
        text, vision = whole.section("text_config"), whole.section("vision_config")
        if text.text("model_type", default="llama") != "llama":
            raise UserError(f"{folder}: {text.where}.model_type is {text.text('model_type')!r}, expected 'llama'")
        layers = text.integer("num_hidden_layers", default=32)
        return Backbone(
            files=found,
            layers=min(config.vlm_layers or layers, layers),
            heads=text.integer("num_attention_heads", default=32),
            vision_layers=vision.integer("num_hidden_layers", default=12),
            vision_heads=vision.integer("num_attention_heads", default=16),
            image_size=vision.integer("image_size", default=224),
            pixels=vision.integer("patch_size", default=32) * whole.integer("scale_factor", default=2),
        )

    def check_image(self, height: int, width: int) -> None:
        """Raises UserError for a seen image whose patches cannot be joined into tokens."""
        if height != width or height % self.pixels:
            raise UserError(
                f"images of {height} x {width} pixels cannot be read; the backbone takes squares whose side is a "
                f"multiple of {self.pixels}"
            )


@dataclass(frozen=True)
class ExpertPlan:
    """Which layers of the action expert stand beside which of the language model, and where each looks."""

    beside: tuple[int | None, ...]  # per language layer: the expert's layer, None: the expert skips it
    whole: tuple[bool, ...]  # per language layer: the expert looks at prefix and chunk; else at the prefix alone
    projects_prefix: tuple[bool, ...]  # per expert layer: it projects the language model's keys and values

    @staticmethod
    def of(config: SmolVLAConfig, layers: int) -> ExpertPlan:
        """Raises UserError for a combination of settings that LeRobot's own code cannot run either."""
        count = config.expert_layers or layers
        if layers % count:
            raise UserError(f"num_expert_layers is {count}, expected a divisor of the language model's {layers} layers")
        every = layers // count
        beside = tuple(layer // every if layer % every == 0 else None for layer in range(layers))
        whole = tuple(config.looks_at_chunk(layer) for layer in range(layers))
        projects = tuple(not config.looks_at_chunk(layer) for layer in range(count))
        for layer, expert in enumerate(beside):
            if (expert is None and whole[layer]) or (expert is not None and projects[expert] == whole[layer]):
                raise UserError(
                    f"num_expert_layers {count} and self_attn_every_n_layers {config.self_every} do not fit each "
                    f"other: at layer {layer} of the language model the expert has no attention of the kind needed"
                )
        return ExpertPlan(beside, whole, projects)


def _image_size(config: ConfigSection) -> tuple[int, int] | None:
    if "resize_imgs_with_padding" in config.fields and not config.has("resize_imgs_with_padding"):
        return None
    if not config.has("resize_imgs_with_padding"):
        return (512, 512)
    width, height = (int(side) for side in config.numbers("resize_imgs_with_padding", 2))
    return height, width


def _max_tokens(tokenize: ConfigSection | None) -> int | None:
    """Before v0.4 the tokenizer padded but never cut."""
    if tokenize is None or not tokenize.flag("truncation", True):
        return None
    return tokenize.integer("max_length", default=512)


def _count(config: ConfigSection, key: str, default: int) -> int:
    """A number of layers of which any below one means "not set", which is 0 here."""
    return max(config.integer(key, default=default, minimum=-(1 << 30)), 0)
