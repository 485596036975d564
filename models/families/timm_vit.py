"""A vision transformer in plain torch whose parameters are named as timm names them, up to the block that is used.

The layers and their order are those of timm 0.9.10's VisionTransformer (Dosovitskiy et al., 2010.11929; LayerScale:
Touvron et al., 2103.17239; registers: Darcet et al., 2309.16588). Nothing after the second-to-last block is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.capture import row_attention
from models.families.timm_vit_shape import VitShape


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's approximation of GELU."""
    return x * torch.sigmoid(1.702 * x)


def gelu_tanh(x: Tensor) -> Tensor:
    return nn.functional.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": nn.functional.gelu,
    "quick_gelu": quick_gelu,
    "gelu_tanh": gelu_tanh,
}


class TimmViT(nn.Module):
    """One tower. Called with pixels, it gives the patch features of the second-to-last block, without its last norm."""

    def __init__(self, shape: VitShape):
        super().__init__()
        self.shape = shape
        self.patch_embed = PatchEmbed(shape)
        self.pos_embed = nn.Parameter(torch.empty(1, shape.positions, shape.width))
        if shape.class_token:
            self.cls_token = nn.Parameter(torch.empty(1, 1, shape.width))
        if shape.registers:
            self.reg_token = nn.Parameter(torch.empty(1, shape.registers, shape.width))
        if shape.norm_first:
            self.norm_pre = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.used))

    def forward(self, pixels: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B P width"]:
        x = self._with_positions(self.patch_embed(pixels))
        if self.shape.norm_first:
            x = self.norm_pre(x)
        for block in self.blocks:
            x = block(x)
        return x[:, len(self.shape.special) :]

    def _with_positions(self, patches: Float[Tensor, "B P width"]) -> Float[Tensor, "B N width"]:
        tokens = [self.cls_token] if self.shape.class_token else []
        tokens += [self.reg_token] if self.shape.registers else []
        prefix = [token.expand(patches.shape[0], -1, -1) for token in tokens]
        if self.shape.positions_cover_special:
            return torch.cat([*prefix, patches], dim=1) + self.pos_embed
        return torch.cat([*prefix, patches + self.pos_embed], dim=1)

    def places(self, names: Iterable[str]) -> dict[str, str]:
        """Stored name -> name in this module, for stored names that begin with the tower's prefix.

        transformers renames parameters called "gamma", so published files store LayerScale's as "scale_factor".
        """
        own = [name for name in names if name.startswith(self.shape.prefix)]
        inside = {name: name.removeprefix(self.shape.prefix) for name in own}
        return {
            name: f"{place.removesuffix('.gamma')}.scale_factor"
            if place.endswith((".ls1.gamma", ".ls2.gamma"))
            else place
            for name, place in inside.items()
        }


class PatchEmbed(nn.Module):
    def __init__(self, shape: VitShape):
        super().__init__()
        self.proj = nn.Conv2d(3, shape.width, shape.patch, stride=shape.patch, bias=not shape.norm_first)

    def forward(self, pixels: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B P width"]:
        return self.proj(pixels).flatten(2).transpose(1, 2)


class Block(nn.Module):
    def __init__(self, shape: VitShape):
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.attn = Attention(shape)
        self.ls1 = LayerScale(shape.width) if shape.scale else nn.Identity()
        self.norm2 = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.mlp = Mlp(shape)
        self.ls2 = LayerScale(shape.width) if shape.scale else nn.Identity()

    def forward(self, x: Float[Tensor, "B N width"]) -> Float[Tensor, "B N width"]:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class Attention(nn.Module):
    is_causal = False

    def __init__(self, shape: VitShape):
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.proj = nn.Linear(shape.width, shape.width)

    def forward(self, x: Float[Tensor, "B N width"]) -> Float[Tensor, "B N width"]:
        batch, length, width = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        out, _ = row_attention(self, query, key, value, None, scaling=query.shape[-1] ** -0.5, is_causal=False)
        return self.proj(out.reshape(batch, length, width))


class LayerScale(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.scale_factor = nn.Parameter(torch.empty(width))

    def forward(self, x: Float[Tensor, "B N width"]) -> Float[Tensor, "B N width"]:
        return x * self.scale_factor


class Mlp(nn.Module):
    def __init__(self, shape: VitShape):
        super().__init__()
        self.fc1 = nn.Linear(shape.width, shape.hidden)
        self.fc2 = nn.Linear(shape.hidden, shape.width)
        self.activation = ACTIVATIONS[shape.activation]

    def forward(self, x: Float[Tensor, "B N width"]) -> Float[Tensor, "B N width"]:
        return self.fc2(self.activation(self.fc1(x)))
