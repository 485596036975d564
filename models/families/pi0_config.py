"""What the files of a π0 policy say, transformers' own layout or LeRobot's. Imports neither torch nor transformers.

Defaults are those of lerobot's configuration_pi0.py and of transformers' configuration_pi0.py, which agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.checkpoint_files import CheckpointFiles
from models.config_section import ConfigSection
from models.errors import UserError
from models.families.lerobot_folder import MOST_STEPS, TOKENIZE, LerobotFolder
from models.families.lerobot_relative import ABSOLUTE, RELATIVE
from models.families.pi0_sizes import HeadSizes, PI0Sizes

TOKENIZER = "google/paligemma-3b-pt-224"  # the model whose tokenizer π0 uses
STEPS = ("pi0_new_line_processor", RELATIVE, ABSOLUTE)  # the family's own processor steps
UNSUPPORTED = {
    "adapt_to_pi_aloha": "joints and grippers would have to be converted to the space of another robot's runtime",
    "use_delta_joint_actions_aloha": "LeRobot itself does not implement it",
}


@dataclass(frozen=True)
class PI0Config:
    """Settings that change what the policy does."""

    sizes: PI0Sizes
    chunk: int  # steps predicted at once
    executed: int  # steps that LeRobot executes before it predicts again
    state_dim: int  # state and action are padded to these
    action_dim: int
    denoising_steps: int
    min_period: float  # of the sine and cosine encoding of the denoising time
    max_period: float
    max_tokens: int | None  # longer instructions are cut; None: they are not
    tokenizer: str  # name of the model whose tokenizer is used
    heads_assumed: bool = False  # the vision tower's are those of the published one, as no file tells

    @staticmethod
    def read(files: CheckpointFiles, folder: LerobotFolder | None) -> PI0Config:
        """``folder``: where it is a LeRobot policy folder. Raises UserError for values that make no sense."""
        if folder is None:
            return _settings(files.config(), _described_heads(files), files, None)
        for name, reason in UNSUPPORTED.items():
            if folder.config.flag(name, False):
                raise UserError(f"{folder.config.where} {name} is true, which is not supported: {reason}")
        tokenize = folder.step(TOKENIZE)
        found = _settings(folder.config, _vision_heads(files, tokenizer_name(tokenize)), files, tokenize)
        _check(folder, found)
        return found


def lerobot_folder(files: CheckpointFiles) -> LerobotFolder | None:
    """The checkpoint as a LeRobot policy folder; None where its layout is transformers' own."""
    return None if files.config().has("model_type") else LerobotFolder.read(files, known_steps=STEPS)


def is_old(config: ConfigSection) -> bool:
    """Whether a LeRobot folder's layout is that before v0.4, in which images are padded at the left and top."""
    return "resize_imgs_with_padding" in config.fields or config.has("proj_width")


def tokenizer_folder(files: CheckpointFiles, named: str) -> Path | None:
    """Where tokenizer.json is: in the folder that the user named as the base, the checkpoint's own, or beside it."""
    return next((folder for folder in _tokenizer_places(files, named) if (folder / "tokenizer.json").is_file()), None)


def tokenizer_name(tokenize: ConfigSection | None) -> str:
    return tokenize.text("tokenizer_name", default=TOKENIZER) if tokenize is not None else TOKENIZER


def _tokenizer_places(files: CheckpointFiles, named: str) -> Iterator[Path]:
    if files.base is not None:
        yield files.base
    yield from dict.fromkeys((files.folder, files.model))
    last = named.rstrip("/").rsplit("/", 1)[-1]
    if last not in ("", ".", ".."):
        yield files.folder.resolve().parent / last


def _settings(
    config: ConfigSection, heads: HeadSizes, files: CheckpointFiles, tokenize: ConfigSection | None
) -> PI0Config:
    steps = config.integer("num_inference_steps", default=config.integer("num_steps", default=10), maximum=MOST_STEPS)
    chunk = config.integer("chunk_size", default=50, maximum=MOST_STEPS)
    executed = config.integer("n_action_steps", default=chunk)
    cuts = tokenize is not None and tokenize.flag("truncation", True)
    return PI0Config(
        sizes=PI0Sizes.read(files.tensors(), heads, str(files.model)),
        chunk=executed if is_old(config) else chunk,  # before v0.4 no more was predicted than executed
        executed=executed,
        state_dim=config.integer("max_state_dim", default=32),
        action_dim=config.integer("max_action_dim", default=32, maximum=MOST_STEPS),
        denoising_steps=steps,
        min_period=config.number("min_period", default=4e-3),
        max_period=config.number("max_period", default=4.0),
        max_tokens=tokenize.integer("max_length", default=48) if tokenize is not None and cuts else None,
        tokenizer=tokenizer_name(tokenize),
        heads_assumed=heads.vision_heads is None,
    )


def _described_heads(files: CheckpointFiles) -> HeadSizes:
    """From transformers' own config.json, where values equal to defaults may be missing."""
    config = files.config()
    vlm, expert = _section(config, "vlm_config"), _section(config, "dit_config")
    text, vision = _section(vlm, "text_config"), _section(vlm, "vision_config")
    heads = vision.integer("num_attention_heads") if vision.has("num_attention_heads") else None
    return HeadSizes(text.integer("head_dim", default=256), expert.integer("head_dim", default=256), heads)


def _vision_heads(files: CheckpointFiles, named: str) -> HeadSizes:
    """LeRobot's files do not tell; the PaliGemma beside them that lends its tokenizer may."""
    folder = tokenizer_folder(files, named)
    if folder is None or folder in (files.folder, files.model) or not (folder / "config.json").is_file():
        return HeadSizes()
    vision = _section(ConfigSection.read(folder / "config.json"), "vision_config")
    return HeadSizes(vision_heads=vision.integer("num_attention_heads") if vision.has("num_attention_heads") else None)


def _check(folder: LerobotFolder, found: PI0Config) -> None:
    where = folder.config.where
    if not folder.cameras:
        raise UserError(f"{where} input_features has no camera (a feature of type VISUAL); expected at least one")
    for what, size, name, limit in (
        ("state", folder.state_size, "max_state_dim", found.state_dim),
        ("action", folder.action_size, "max_action_dim", found.action_dim),
    ):
        if size > limit:
            raise UserError(f"{where} the {what} has {size} values, expected at most {limit} ({name})")
    for key in ("image_resolution", "resize_imgs_with_padding"):
        side = found.sizes.vision.image
        if folder.config.has(key) and tuple(folder.config.numbers(key, 2)) != (side, side):
            asked = list(folder.config.numbers(key, 2))
            raise UserError(f"{where} {key} is {asked}; the vision tower's weights are for {side} x {side} pixels")


def _section(config: ConfigSection, key: str) -> ConfigSection:
    if config.has(key):
        return config.section(key)
    return ConfigSection(f"{config.where} {key}" if config.where.endswith(":") else f"{config.where}.{key}", {})
