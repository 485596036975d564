"""What a SpatialVLA reads of an observation: prompt, image, depth, and what Gemma 2 makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor

from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.families.action_token_prompt import Prompt, read_tokenizer
from models.families.spatialvla_model import SpatialVLAModel, load_spatialvla_model
from models.families.spatialvla_prompt import SpatialVLAPrompt
from models.families.spatialvla_settings import PREPROCESSOR, SpatialVLASettings
from models.families.weights import Weights
from models.images import ImagePreprocessing, SeenImage
from models.teacher_forcing import different_frames
from models.types import Observation


@dataclass(frozen=True)
class Read:
    """An observation as the policy reads it."""

    prompt: Prompt
    camera: str
    seen: SeenImage


@dataclass(frozen=True, eq=False)
class SpatialVLAReader:
    """Holds no state between calls."""

    where: str  # the checkpoint's folder
    settings: SpatialVLASettings
    model: SpatialVLAModel
    tokenizer: Tokenizer
    prompts: SpatialVLAPrompt
    images: ImagePreprocessing

    @staticmethod
    def open(files: CheckpointFiles, settings: SpatialVLASettings, data_set: str, weights: Weights) -> SpatialVLAReader:
        """``data_set``: whose camera took the images. Raises UserError for files that do not fit each other."""
        camera = settings.intrinsics[settings.camera(data_set)] if settings.use_depth else np.eye(3, dtype=np.float32)
        tokenizer = read_tokenizer(files.model)
        prompts = SpatialVLAPrompt(settings, tokenizer, str(files.model))
        preprocessor = files.find(PREPROCESSOR)
        images = ImagePreprocessing.read(preprocessor.parent if preprocessor is not None else files.model)
        model = load_spatialvla_model(files.config(), settings, weights)
        model.intrinsic = torch.from_numpy(camera).to(weights.device)
        return SpatialVLAReader(str(files.folder), settings, model, tokenizer, prompts, images)

    def __call__(self, observation: Observation) -> Read:
        """Raises UserError for an observation that the policy cannot read."""
        if len(observation.images) != 1:
            found = f"{len(observation.images)} ({', '.join(observation.images) or 'none'})"
            raise UserError(f"the policy reads one image, the observation has {found}; pass one camera's")
        camera, frame = next(iter(observation.images.items()))
        seen, vision = self.images(frame), self.model.vision_tower.config
        size = (vision.image_size, vision.image_size)
        if seen.pixels.shape[1:] != size:
            raise UserError(
                f"{self.where}: preprocessing makes images of {seen.pixels.shape[1]} x {seen.pixels.shape[2]} "
                f"pixels, the vision tower takes {size[0]} x {size[1]}"
            )
        return Read(self.prompts(observation.instruction, seen.grid(camera, vision.patch_size)), camera, seen)

    def embedded(self, read: Read) -> tuple[Float[Tensor, "1 P width"], Float[Tensor, "1 1 h w"] | None]:
        """What Gemma 2's first layer reads, and the depth map behind it, in metres."""
        features, depth = self._features(torch.from_numpy(read.seen.pixels)[None])
        return self._merged(read, features), depth

    def embedded_all(self, observations: Sequence[Observation]) -> list[Float[Tensor, "P width"]]:
        """The same of each, every frame seen once."""
        frames, chosen = different_frames(observations)
        reads = [self(observation) for observation in observations]
        seen = [reads[chosen.index(place)].seen.pixels for place in range(len(frames))]
        features = self._features(torch.from_numpy(np.stack(seen)))[0]
        return [self._merged(read, features[place])[0] for read, place in zip(reads, chosen, strict=True)]

    def _features(
        self, pixels: Float[Tensor, "B 3 h w"]
    ) -> tuple[Float[Tensor, "B n width"], Float[Tensor, "B 1 h w"] | None]:
        pixels = pixels.to(self.model.intrinsic.device)
        depth = self.model.depth(pixels)
        return self.model.image_features(pixels, depth), depth

    def _merged(self, read: Read, features: Float[Tensor, "*B n width"]) -> Float[Tensor, "1 P width"]:
        ids = torch.tensor([read.prompt.ids], device=self.model.intrinsic.device)
        return self.model.merged(ids, features)
