"""Ego3D position encoding of SpatialVLA: where each image patch lies in space, added to what it looks like.

A depth map (ZoeDepth) and the camera's intrinsics place reso x reso points of every patch in the camera's frame; their
coordinates are encoded with sines and cosines and go through a small MLP (SpatialVLA, arXiv 2501.15830, section III-A).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

DEPTH_SIDE = 384  # pixels of what ZoeDepth sees
BORDER = 31  # reflected pixels around the image, as ZoeDepth's own preprocessing has them for 224 x 224 pixels
CENTRE = (0.0, 0.0, 2.0)  # metres; points are taken relative to it, in units of SPREAD
SPREAD = 2.0


class Ego3DPositions(nn.Module):
    """Points of a patch to a vector of the vision tower's width; names of parameters are those of the files."""

    def __init__(self, points: int, width: int, frequencies: int):
        super().__init__()
        self._frequencies = frequencies
        self.position_embedding_head = nn.Sequential(
            nn.Linear(3 * points * (2 * frequencies + 1), width),
            nn.LayerNorm(width),
            nn.ReLU(),
            nn.Linear(width, width),
        )

    def forward(self, points: Float[Tensor, "B P xyz"]) -> Float[Tensor, "B P width"]:
        """``points``: coordinates of all points of a patch one after the other, metres in the camera's frame."""
        encoded = frequency_encoding(points, self._frequencies)
        embedded: Tensor = self.position_embedding_head(encoded.to(self.position_embedding_head[0].weight.dtype))
        return embedded


def frequency_encoding(points: Float[Tensor, "B P xyz"], frequencies: int) -> Float[Tensor, "B P code"]:
    """Every coordinate as itself, its sines and its cosines at 1, 2, 4 ... times its value."""
    centre = torch.tensor(CENTRE, device=points.device).repeat(points.shape[-1] // 3)
    relative = ((points - centre) / SPREAD)[..., None]
    angles = relative * 2.0 ** torch.arange(frequencies, device=points.device)
    return torch.cat([relative, torch.sin(angles), torch.cos(angles)], dim=-1).flatten(2)


def seen_by_zoe(pixels: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B 3 side side"]:
    """Pixels in [0, 1] as SpatialVLA shows them to ZoeDepth: border reflected, resized, then normalised to [-1, 1]."""
    padded = functional.pad(pixels, (BORDER,) * 4, mode="reflect")
    size = (DEPTH_SIDE, DEPTH_SIDE)
    return (functional.interpolate(padded, size=size, mode="bicubic", align_corners=True) - 0.5) / 0.5


def depth_on_image(depth: Float[Tensor, "B d d"], height: int, width: int) -> Float[Tensor, "B 1 h w"]:
    """ZoeDepth's metres on the pixels of the image, its reflected border cut off."""
    size = (height + 2 * BORDER, width + 2 * BORDER)
    whole = functional.interpolate(depth[:, None], size=size, mode="bicubic", align_corners=True)
    return whole[..., BORDER:-BORDER, BORDER:-BORDER]


def patch_points(
    depth: Float[Tensor, "B 1 h w"], intrinsic: Float[Tensor, "3 3"], patch: int, reso: int
) -> Float[Tensor, "B P xyz"]:
    """reso x reso points a patch in the camera's frame, metres: row by row of the patch, x y z of each.

    ``intrinsic``: focal lengths and centre in pixels of the depth map.
    """
    batch, _, height, width = depth.shape
    rows, columns = height // patch, width // patch
    step, half = patch // reso, patch / reso / 2
    down = torch.arange(rows * reso, device=depth.device) * step + half
    across = torch.arange(columns * reso, device=depth.device) * step + half
    v, u = torch.meshgrid(down, across, indexing="ij")
    rays = torch.linalg.inv(intrinsic) @ torch.stack([u, v, torch.ones_like(u)]).flatten(1)
    metres = functional.interpolate(depth, size=(rows * reso, columns * reso), mode="area").flatten(2)
    points = (rays * metres).reshape(batch, 3, rows, reso, columns, reso)
    return points.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, -1)
