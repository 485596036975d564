"""What the tensors of a ViT in timm's layout say about it: widths, depth, patches, prefix tokens. Imports no torch.

Widths, depth, patch size and grid are read from the tensors' shapes. What no shape tells (heads, activation, the
epsilon of the layer norms) follows from the timm model id, as timm 0.9.10 builds it: every ViT there has LayerNorm with
eps 1e-6 and exact GELU, but CLIP's has eps 1e-5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from models.checkpoint import TensorInfo
from models.errors import UserError

HEADS = {"tiny": 3, "small": 6, "base": 12, "large": 16, "huge": 16, "so400m": 16}
ACTIVATIONS = {"gelu": "gelu", "quick_gelu": "quick_gelu", "gelu_tanh": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
SOURCES = ("dinov2", "siglip", "clip", "vit")  # what a tower is called: the first of these words in its timm id


@dataclass(frozen=True)
class VitShape:
    """One tower, up to the block whose features are taken."""

    prefix: str  # of its tensors' names, with the dot
    model_id: str
    source: str  # "dinov2", "siglip", "clip" or "vit"
    image: int  # pixels a side
    patch: int  # pixels a side
    width: int
    hidden: int  # of the MLP
    blocks: int  # stored; the last one is not used
    heads: int
    activation: str
    epsilon: float
    class_token: bool
    registers: int
    positions: int  # rows of pos_embed
    norm_first: bool  # a layer norm before the blocks, and patches without bias
    scale: str | None  # stored name of LayerScale's factor

    @property
    def used(self) -> int:
        """Blocks that run: features are those of the second-to-last one."""
        return self.blocks - 1

    @property
    def grid(self) -> tuple[int, int]:
        return self.image // self.patch, self.image // self.patch

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def special(self) -> tuple[str, ...]:
        """Names of the tokens before the patches."""
        return ("cls",) * self.class_token + tuple(f"register {number}" for number in range(self.registers))

    @property
    def positions_cover_special(self) -> bool:
        """Whether position embeddings are added after the prefix tokens are put in front (timm's no_embed_class)."""
        return self.positions != self.patches

    @property
    def unused(self) -> dict[str, str]:
        """Stored tensors that features of the second-to-last block do not need -> why."""
        last = "features are taken from the second-to-last block"
        names = (f"blocks.{self.blocks - 1}.*", "norm.*", "fc_norm.*", "head.*")
        return {f"{self.prefix}{name}": last for name in names} | {
            f"{self.prefix}attn_pool.*": "patch features are used as they are, not pooled"
        }


def read_vit_shape(
    tensors: Mapping[str, TensorInfo], prefix: str, model_id: str, image: int, activation: str | None = None
) -> VitShape:
    """The tower whose tensors begin with ``prefix``; ``activation`` overrides that of ``model_id`` (timm: act_layer).

    Raises UserError for a model id whose heads are not known, or tensors that are missing or fit neither each other nor
    ``image`` (pixels a side).
    """
    own = {name.removeprefix(prefix): info for name, info in tensors.items() if name.startswith(prefix)}
    width, _, patch, _ = _extents(own, prefix, "patch_embed.proj.weight", 4)
    hidden, _ = _extents(own, prefix, "blocks.0.mlp.fc1.weight", 2)
    _, positions, _ = _extents(own, prefix, "pos_embed", 3)
    blocks = 1 + max(int(match[1]) for name in own if (match := re.match(r"blocks\.(\d+)\.", name)))
    if blocks < 2:
        raise UserError(f"{prefix}blocks: there is one block; features are taken from the second-to-last one")
    source = next(word for word in SOURCES if word in model_id or word == "vit")
    shape = VitShape(
        prefix=prefix,
        model_id=model_id,
        source=source,
        image=image,
        patch=patch,
        width=width,
        hidden=hidden,
        blocks=blocks,
        heads=_heads(model_id, width),
        activation=_activation(model_id, activation),
        epsilon=1e-5 if source == "clip" else 1e-6,
        # what the id promises is expected even where the file lacks it: a missing tensor must not go unnoticed
        class_token=source != "siglip" or "cls_token" in own,
        registers=_registers(own, prefix, model_id),
        positions=positions,
        norm_first=source == "clip" or "norm_pre.weight" in own,
        scale=_scale(own, source),
    )
    _check_positions(shape)
    return shape


def _extents(own: Mapping[str, TensorInfo], prefix: str, name: str, axes: int) -> tuple[int, ...]:
    if name not in own:
        raise UserError(f"the weights lack the tensor {prefix}{name}")
    if len(own[name].shape) != axes:
        raise UserError(f"the tensor {prefix}{name} has shape {list(own[name].shape)}, expected {axes} axes")
    return own[name].shape


def _heads(model_id: str, width: int) -> int:
    match = re.match(r"vit_([a-z0-9]+)_", model_id)
    heads = HEADS.get(match[1]) if match else None
    if heads is None:
        known = ", ".join(f"vit_{size}" for size in HEADS)
        raise UserError(
            f"config.json: timm_model_ids has {model_id!r}, whose number of attention heads is not known here; known "
            f"are {known}"
        )
    if width % heads:
        raise UserError(f"{model_id} has {heads} attention heads, which do not divide its width of {width}")
    return heads


def _activation(model_id: str, override: str | None) -> str:
    name = override or ("quick_gelu" if "quickgelu" in model_id else "gelu")
    if name not in ACTIVATIONS:
        raise UserError(
            f"config.json: timm_override_act_layers has {name!r}; the activations known here are "
            f"{', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]


def _registers(own: Mapping[str, TensorInfo], prefix: str, model_id: str) -> int:
    if "reg_token" in own:
        return _extents(own, prefix, "reg_token", 3)[1]
    promised = re.search(r"_reg(\d+)", model_id)
    return int(promised[1]) if promised else 0


def _scale(own: Mapping[str, TensorInfo], source: str) -> str | None:
    stored = next((name for name in ("scale_factor", "gamma") if f"blocks.0.ls1.{name}" in own), None)
    return stored or ("scale_factor" if source == "dinov2" else None)


def _check_positions(shape: VitShape) -> None:
    whole = shape.patches + len(shape.special)
    if shape.positions not in (shape.patches, whole):
        raise UserError(
            f"the tensor {shape.prefix}pos_embed has {shape.positions} positions; images of {shape.image} pixels in "
            f"patches of {shape.patch} make {shape.patches}, with {len(shape.special)} prefix tokens {whole}"
        )
