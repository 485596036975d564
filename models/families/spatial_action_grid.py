"""SpatialVLA's action tokens: three grids of points (translation, rotation, gripper), one id a point.

A step is one token of each grid. Translation is a grid over theta, phi and r of spherical coordinates, rotation one
over roll, pitch and yaw; a point is the middle of its cell, translation clipped to [-1, 1]. The edges are the
checkpoint's own (processor_config.json: bin_policy).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from models.action_tokens import ActionScale
from models.config_section import ConfigSection
from models.errors import UserError

KINDS = ("translation", "rotation", "gripper")  # the tokens of a step, in order
NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
UNITS = ("m", "m", "m", "rad", "rad", "rad", "open")
DIMENSIONS = {"translation": (0, 1, 2), "rotation": (3, 4, 5), "gripper": (6,)}
EDGES = {  # in the order in which an id counts them, the last one fastest; whole range, for uniform cells
    "translation": {"theta": (0.0, math.pi), "phi": (-math.pi, math.pi), "r": (0.0, math.sqrt(3))},
    "rotation": {"roll": (-1.0, 1.0), "pitch": (-1.0, 1.0), "yaw": (-1.0, 1.0)},
}
FINEST = 64  # values that a dimension's distribution is told in at most


@dataclass(frozen=True, eq=False)
class SpatialActionGrid:
    """What every action token stands for, before un-normalising."""

    first: int  # id of the first translation token; rotation follows, then gripper
    points: tuple[Float[np.ndarray, "n d"], ...]  # per kind: d dimensions of each of its tokens, in [-1, 1]
    edges: Mapping[str, tuple[Float[np.ndarray, " e"], ...]]  # of the cells of "translation" and "rotation", per axis
    spherical: bool  # the axes of translation are theta, phi and r, else x, y and z

    @staticmethod
    def read(processor: ConfigSection, first: int) -> SpatialActionGrid:
        """From processor_config.json. Without a bin_policy cells are uniform, as the published processor has them.

        Raises UserError for edges that do not fit the number of bins.
        """
        action = processor.section("action_config")
        bins = action.section("num_bins")
        policy = processor.section("bin_policy") if processor.has("bin_policy") else None
        edges = {kind: _edges(bins.section(kind), policy.section(kind) if policy else None, kind) for kind in EDGES}
        centres = {kind: [0.5 * (each[:-1] + each[1:]) for each in edges[kind]] for kind in EDGES}
        translation = _grid(centres["translation"])
        spherical = action.flag("use_spherical", True)
        if spherical:
            theta, phi, r = translation.T
            translation = np.stack(
                (r * np.sin(theta) * np.cos(phi), r * np.sin(theta) * np.sin(phi), r * np.cos(theta)), axis=1
            )
        # the grid's sphere goes around the cube of translations
        translation = np.clip(translation, -1, 1)
        gripper = np.minimum(np.arange(bins.integer("gripper")), 1).astype(np.float64)[:, None]
        return SpatialActionGrid(first, (translation, _grid(centres["rotation"]), gripper), edges, spherical)

    @property
    def size(self) -> int:
        return sum(map(len, self.points))

    @property
    def every_id(self) -> range:
        return range(self.first, self.first + self.size)

    def ids(self, kind: int) -> range:
        """Ids of the tokens of ``KINDS[kind]``."""
        start = self.first + sum(map(len, self.points[:kind]))
        return range(start, start + len(self.points[kind]))

    def normalised(self, ids: Sequence[int]) -> Float[np.ndarray, "T 7"]:
        """Three ids a step to normalised actions; an id outside its place's own range is clipped into it."""
        found = np.asarray(ids, dtype=np.int64).reshape(-1, len(KINDS))
        columns = [self._points_of(kind, found[:, kind]) for kind in range(len(KINDS))]
        return np.concatenate(columns, axis=1)

    def encoded(self, normalised: Float[np.ndarray, "T 7"]) -> Int[np.ndarray, "T 3"]:
        """The way back from `normalised`: ids of the cells that actions lie in, clipped to [-1, 1]."""
        normalised = np.clip(normalised, -1, 1)
        x, y, z = normalised[:, 0], normalised[:, 1], normalised[:, 2]
        across = np.hypot(x, y)
        where = (np.arctan2(across, z), np.arctan2(y, x), np.hypot(across, z)) if self.spherical else (x, y, z)
        translation = _cell(where, self.edges["translation"])
        rotation = _cell(tuple(normalised[:, 3:6].T), self.edges["rotation"])
        gripper = (normalised[:, 6] >= 0.5).astype(np.int64)
        starts = [self.ids(kind).start for kind in range(len(KINDS))]
        return np.stack([translation, rotation, gripper], axis=1) + np.array(starts)

    def shape(self, kind: int) -> tuple[int, ...]:
        """Cells along each axis of the grid that ids of ``KINDS[kind]`` count, the last axis fastest; none has ()."""
        return tuple(len(each) - 1 for each in self.edges.get(KINDS[kind], ()))

    def marginal(
        self, dimension: int, probabilities: Float[np.ndarray, " n"], scale: ActionScale
    ) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
        """What a distribution over the tokens of one kind says about one of its dimensions (an index in ``NAMES``).

        Values in robot units, ascending, and their probabilities, summed over the other dimensions. Where the grid has
        more than FINEST values (x, y and z of a spherical one), they are told in FINEST cells of equal width between
        the smallest and the largest, by the cells' middles.
        """
        kind = next(number for number, each in enumerate(KINDS) if dimension in DIMENSIONS[each])
        points = self.points[kind][:, dimension - DIMENSIONS[KINDS[kind]][0]]
        values, places = np.unique(points, return_inverse=True)
        if len(values) > FINEST:
            edges = np.linspace(points.min(), points.max(), FINEST + 1)
            values = (edges[1:] + edges[:-1]) / 2
            places = np.clip(np.searchsorted(edges, points, side="right") - 1, 0, FINEST - 1)
        told = np.bincount(places, weights=probabilities, minlength=len(values))
        whole = np.zeros((len(values), len(NAMES)))
        whole[:, dimension] = values
        return scale.to_robot(whole)[:, dimension], told / told.sum()

    def limits(self, scale: ActionScale) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The smallest and the largest action that tokens can say, in robot units."""
        low = np.concatenate([points.min(axis=0) for points in self.points])
        high = np.concatenate([points.max(axis=0) for points in self.points])
        return tuple(scale.to_robot(low).tolist()), tuple(scale.to_robot(high).tolist())

    def _points_of(self, kind: int, ids: Int[np.ndarray, " T"]) -> Float[np.ndarray, "T d"]:
        own = self.ids(kind)
        found: np.ndarray = self.points[kind][np.clip(ids, own.start, own.stop - 1) - own.start]
        return found


def said(kind: int, action: Float[np.ndarray, " 7"], normalised: Float[np.ndarray, " 7"]) -> str:
    """What a token of ``KINDS[kind]`` says as a person should read it: ``action`` in robot units."""
    if KINDS[kind] == "gripper":
        return "gripper open" if normalised[6] >= 0.5 else "gripper closed"
    values = " ".join(f"{NAMES[each]}{action[each]:+.2g}" for each in DIMENSIONS[KINDS[kind]])
    return f"{'move' if KINDS[kind] == 'translation' else 'turn'} {values}"


def _edges(bins: ConfigSection, policy: ConfigSection | None, kind: str) -> tuple[Float[np.ndarray, " e"], ...]:
    """Of the cells along each axis of a grid."""
    found = []
    for axis, whole in EDGES[kind].items():
        count, key = bins.integer(f"{axis}_bins"), f"{axis}_bins"
        edges = np.array(policy.numbers(key, count + 1)) if policy else np.linspace(*whole, count + 1)
        if not np.isfinite(edges).all() or any(left > right for left, right in pairwise(edges)):
            raise UserError(f"{policy.where if policy else ''}.{key} is {edges.tolist()}, expected ascending edges")
        found.append(edges)
    return tuple(found)


def _cell(where: Sequence[Float[np.ndarray, " T"]], edges: Sequence[Float[np.ndarray, " e"]]) -> Int[np.ndarray, " T"]:
    """Number of the cell that each place lies in, the last axis counted fastest."""
    number = np.zeros(len(where[0]), np.int64)
    for values, own in zip(where, edges, strict=True):
        number = number * (len(own) - 1) + np.digitize(values, own[1:-1])
    return number


def _grid(axes: list[Float[np.ndarray, " b"]]) -> Float[np.ndarray, "n d"]:
    """Every combination, the last axis fastest."""
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
