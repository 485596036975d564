"""Ego3D by hand: where points of a patch lie, and how they are encoded."""

from __future__ import annotations

import math

import torch

from models.families.ego3d import BORDER, depth_on_image, frequency_encoding, patch_points, seen_by_zoe


def test_points_of_a_flat_wall() -> None:
    """Two metres away, focal length 10 pixels, centre at (14, 7): x = 2 (u - 14) / 10, y = 2 (v - 7) / 10."""
    intrinsic = torch.tensor([[10.0, 0, 14], [0, 10, 7], [0, 0, 1]])
    points = patch_points(torch.full((1, 1, 14, 28), 2.0), intrinsic, patch=14, reso=2)
    assert points.shape == (1, 2, 12)
    right = points[0, 1].reshape(2, 2, 3)  # down, across, xyz; pixels 14 to 28, sampled at 17.5 and 24.5
    torch.testing.assert_close(right[0, 0], torch.tensor([2 * 3.5 / 10, 2 * (3.5 - 7) / 10, 2.0]))
    torch.testing.assert_close(right[0, 1], torch.tensor([2 * 10.5 / 10, 2 * (3.5 - 7) / 10, 2.0]))
    torch.testing.assert_close(right[1, 0], torch.tensor([2 * 3.5 / 10, 2 * (10.5 - 7) / 10, 2.0]))


def test_a_point_has_the_mean_depth_around_it() -> None:
    depth = torch.zeros(1, 1, 14, 14)
    depth[..., :7, :7] = 1 + torch.arange(7.0)  # mean 4
    points = patch_points(depth, torch.eye(3), patch=14, reso=2)[0, 0].reshape(2, 2, 3)
    torch.testing.assert_close(points[..., 2], torch.tensor([[4.0, 0], [0, 0]]))
    torch.testing.assert_close(points[0, 0], 4 * torch.tensor([3.5, 3.5, 1]))


def test_encoding_is_the_value_then_sines_then_cosines() -> None:
    encoded = frequency_encoding(torch.tensor([[[1.0, 0.0, 2.0]]]), frequencies=2)
    half = 0.5  # (1 - 0) / 2
    x = [half, math.sin(half), math.sin(2 * half), math.cos(half), math.cos(2 * half)]
    torch.testing.assert_close(encoded[0, 0], torch.tensor([*x, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1]))


def test_the_border_is_cut_off_again() -> None:
    """Depth that grows evenly over the padded image: what is left is its middle."""
    side = 56 + 2 * BORDER
    ramp = torch.linspace(0, side - 1, side).repeat(side, 1)[None]
    torch.testing.assert_close(
        depth_on_image(ramp, 56, 56)[0, 0, 0], torch.arange(BORDER, BORDER + 56).float(), atol=1e-3, rtol=0
    )


def test_zoe_sees_a_square_of_reflected_border() -> None:
    pixels = torch.rand(1, 3, 56, 56)
    seen = seen_by_zoe(pixels)
    assert seen.shape == (1, 3, 384, 384)
    corner = 2 * pixels[0, :, BORDER, BORDER] - 1  # the corner shows what lies as far inside
    torch.testing.assert_close(seen[0, :, 0, 0], corner)
