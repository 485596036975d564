"""What a SpatialVLA checkpoint's files say beside the towers: tokens, action grids, statistics, cameras. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.action_tokens import ActionScale
from models.checkpoint_files import CheckpointFiles
from models.config_section import ConfigSection
from models.errors import UserError
from models.families.spatial_action_grid import KINDS, NAMES, UNITS, SpatialActionGrid
from models.rationale_text import ORDERS, StatedRationale
from models.types import ActionSpace

PROCESSOR, PREPROCESSOR = "processor_config.json", "preprocessor_config.json"
DEFAULT_CAMERA = "default"  # of the intrinsics, for a data set that has none of its own
SPECIAL_DEFAULTS = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}  # those of transformers' Gemma2Config
UNUSED = {
    "vision_zoe_model.*relative_position_index": "follows from the size of the image",
    "vision_tower.vision_model.head.*": "SigLIP's pooling head; the patches' own features are used",
}
UNUSED_DEPTH = dict.fromkeys(("vision_zoe_model.*", "position_embedding_3d.*"), "use_vision_zoe is false")
UNUSED_SPATIAL = {"spatial_embed_tokens.*": "use_spatial_token is false"}


@dataclass(frozen=True, eq=False)
class SpatialVLASettings:
    """config.json's own fields and processor_config.json as values; every one must stand in the files."""

    image_token: int
    bos: int
    eos: int
    pad: int
    spatial_tokens: int
    use_spatial_tokens: bool
    use_depth: bool
    reso: int  # Ego3D: reso x reso points a patch
    frequencies: int  # Ego3D: sines and cosines a coordinate
    projection: int  # width of what the projector makes
    chunk: int
    grid: SpatialActionGrid
    scales: Mapping[str, ActionScale]  # data set -> un-normalising
    intrinsics: Mapping[str, Float[np.ndarray, "3 3"]]  # data set -> focal lengths and centre in pixels of what is seen
    rationale: StatedRationale | None = None  # None: config.json says nothing of words

    @staticmethod
    def read(files: CheckpointFiles) -> SpatialVLASettings:
        """Raises UserError for a field that is missing or does not fit the others."""
        config, processor = files.config(), processor_config(files)
        grid = SpatialActionGrid.read(processor, config.integer("action_token_begin_idx"))
        spatial = config.integer("spatial_token_num")
        if grid.size > spatial:
            raise UserError(
                f"{PROCESSOR}: action_config.num_bins makes {grid.size} action tokens, config.json: spatial_token_num "
                f"has {spatial}"
            )
        statistics = processor.section("statistics")
        scales = {
            key: ActionScale.read(statistics.section(key).section("action"), len(NAMES)) for key in statistics.fields
        }
        use_depth = _said_flag(config, "use_vision_zoe")
        return SpatialVLASettings(
            image_token=config.integer("image_token_index", minimum=0),
            bos=_special(config, "bos_token_id"),
            eos=_special(config, "eos_token_id"),
            pad=_special(config, "pad_token_id"),
            spatial_tokens=spatial,
            use_spatial_tokens=_said_flag(config, "use_spatial_token"),
            use_depth=use_depth,
            reso=config.integer("ego3d_patch_reso") if use_depth else 1,
            frequencies=config.integer("n_freqs") if use_depth else 1,
            projection=config.integer("projection_dim"),
            chunk=processor.integer("action_chunk_size"),
            grid=grid,
            scales=scales,
            intrinsics=_intrinsics(processor, files) if use_depth else {},
            rationale=StatedRationale.read(config),
        )

    @property
    def reasons_first(self) -> bool:
        """Whether words come before the actions; published policies act first, whatever follows."""
        return self.rationale is not None and self.rationale.order == ORDERS[0]

    @property
    def unused(self) -> Mapping[str, str]:
        """Stored tensors that are left out on purpose -> why; * stands for anything."""
        spatial = {} if self.use_spatial_tokens else UNUSED_SPATIAL
        return UNUSED | spatial | ({} if self.use_depth else UNUSED_DEPTH)

    @property
    def action_tokens(self) -> int:
        """Of one prediction."""
        return self.chunk * len(KINDS)

    def choose(self, action_stats: str | None) -> str:
        """The data set that is meant, or the only one. Raises UserError where that is not clear: never guessed."""
        known = ", ".join(self.scales) or "none"
        if action_stats is None:
            if len(self.scales) != 1:
                raise UserError(f"name the data set whose statistics un-normalise the actions: action_stats of {known}")
            return next(iter(self.scales))
        if action_stats not in self.scales:
            raise UserError(f"the checkpoint has no action statistics {action_stats!r}; it has {known}")
        return action_stats

    def camera(self, data_set: str) -> str:
        """Whose intrinsics a data set's images are taken to have: its own, else the default ones."""
        if data_set in self.intrinsics:
            return data_set
        if DEFAULT_CAMERA in self.intrinsics:
            return DEFAULT_CAMERA
        known = ", ".join(self.intrinsics) or "none"
        raise UserError(
            f"{PROCESSOR}: intrinsic_config has neither {data_set!r} nor {DEFAULT_CAMERA!r}; it has {known}"
        )

    def action_space(self, data_set: str | None) -> ActionSpace:
        """In robot units; without limits where several data sets have statistics and none was chosen."""
        low, high = self.grid.limits(self.scales[data_set]) if data_set is not None else ((), ())
        return ActionSpace(NAMES, UNITS, low, high, self.chunk, bins=self.grid.size)

    def special(self) -> Mapping[int, str]:
        """Ids that only the policy itself puts into a sequence, actions aside."""
        return {self.bos: "<bos>", self.eos: "<eos>", self.pad: "<pad>", self.image_token: "<image>"}


def processor_config(files: CheckpointFiles) -> ConfigSection:
    return _side_file(files, PROCESSOR, "the action grids and statistics")


def _side_file(files: CheckpointFiles, name: str, holds: str) -> ConfigSection:
    file = files.find(name)
    if file is None:
        raise UserError(f"{files.model} has no {name}, which holds {holds} of a SpatialVLA checkpoint")
    return ConfigSection.read(file)


def _said_flag(config: ConfigSection, key: str) -> bool:
    """A yes or no that must be in the file: defaults of the published code differ from published files."""
    if not config.has(key):
        raise UserError(f"{config.where} {key} is missing, expected true or false")
    return config.flag(key, False)


def _special(config: ConfigSection, key: str) -> int:
    text = config.section("text_config")
    return config.integer(key, default=text.integer(key, default=SPECIAL_DEFAULTS[key], minimum=0), minimum=0)


def _intrinsics(processor: ConfigSection, files: CheckpointFiles) -> dict[str, Float[np.ndarray, "3 3"]]:
    """Scaled from the frames that they were measured on to what the vision tower sees."""
    size = _side_file(files, PREPROCESSOR, "the image settings").section("size")
    height, width = size.integer("height"), size.integer("width")
    found = {}
    cameras = processor.section("intrinsic_config")
    for key in cameras.fields:
        camera = cameras.section(key)
        rows = camera.fields.get("intrinsic")
        if not _is_invertible(rows):
            raise UserError(f"{camera.where}.intrinsic is {rows!r}, expected 3 x 3 numbers, invertible")
        scale = np.ones((3, 3), np.float32)
        scale[0, [0, 2]], scale[1, [1, 2]] = width / camera.integer("width"), height / camera.integer("height")
        found[key] = np.array(rows, dtype=np.float32) * scale
    return found


def _is_invertible(rows: object) -> bool:
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return matrix.shape == (3, 3) and bool(np.isfinite(matrix).all()) and np.linalg.matrix_rank(matrix) == 3
