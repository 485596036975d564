"""What the files of an OpenVLA-OFT checkpoint say beside those of an OpenVLA. Imports no torch, no transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.checkpoint import TensorInfo, header
from models.checkpoint_files import CheckpointFiles
from models.config_section import ConfigSection
from models.errors import UserError
from models.families.openvla_actions import action_names, action_units, chosen, data_sets
from models.families.openvla_config import OpenVLAConfig
from models.families.openvla_heads import regression_files
from models.families.openvla_oft_scaling import Scaling, assumed
from models.types import ActionSpace

WRAPPED = "module."  # before every name that was saved while training on several devices
BLOCK = re.compile(r"model\.mlp_resnet_blocks\.(\d+)\.")


@dataclass(frozen=True)
class HeadShape:
    """Of the regression head: it reads the hidden states of a step's dimensions, joined, and writes the step."""

    file: Path
    dimensions: int  # of an action
    inner: int
    blocks: int
    size: int  # parameters


@dataclass(frozen=True)
class ProjectorShape:
    """Of the projector that makes one position of proprioception."""

    file: Path
    state: int  # values
    size: int  # parameters


@dataclass(frozen=True)
class DataSet:
    """What a data set's statistics decide."""

    key: str
    chunk: int
    actions: Scaling
    state: Scaling | None


@dataclass(frozen=True)
class OftConfig:
    base: OpenVLAConfig
    head: HeadShape
    projector: ProjectorShape | None
    statistics: Mapping[str, ConfigSection]  # data set that the heads know -> statistics of actions, proprioception

    @staticmethod
    def read(files: CheckpointFiles, family: str) -> OftConfig:
        """Raises UserError for parts that are missing, not supported, or do not fit config.json."""
        head, projector = regression_files(files)
        base = OpenVLAConfig.read(files, family)
        return OftConfig(
            base=base,
            head=_head(head, base.width),
            projector=_projector(projector) if projector is not None else None,
            statistics=data_sets(files, files.config(), last=True),
        )

    def data_set(self, key: str | None) -> DataSet:
        """``key``, or the only one. Raises UserError where that is not clear, or its statistics do not fit."""
        key = chosen(self.statistics, key)
        known, limits = self.statistics[key], assumed(key).limits
        return DataSet(
            key=key,
            chunk=assumed(key).chunk,
            actions=Scaling.read(known.section("action"), limits, self.head.dimensions),
            state=Scaling.read(known.section("proprio"), limits, self.projector.state) if self.projector else None,
        )

    def action_space(self, key: str | None) -> ActionSpace:
        """In robot units of a data set; None: without limits, and with the chunk only where all have the same."""
        count = self.head.dimensions
        names, units = action_names(count), action_units(count)
        if key is None:
            chunks = {assumed(each).chunk for each in self.statistics}
            return ActionSpace(names, units, (), (), chunks.pop() if len(chunks) == 1 else 1)
        data_set = self.data_set(key)
        return ActionSpace(names, units, *data_set.actions.bounds(), data_set.chunk)


def bare(name: str) -> str:
    """A stored name as the module has it."""
    return name.removeprefix(WRAPPED)


def _head(file: Path, width: int) -> HeadShape:
    tensors = {bare(info.name): info for info in header(file)}
    if any(name.startswith("noise_predictor.") for name in tensors):
        raise UserError(f"{file} is a diffusion head, which is not supported; a regression head is")
    first = _matrix(file, tensors, "model.fc1.weight")
    dimensions, rest = divmod(first.shape[1], width)
    if rest or not dimensions:
        raise UserError(
            f"{file}: model.fc1.weight reads {first.shape[1]} values, expected a multiple of config.json's hidden size "
            f"of {width}, one hidden state for each dimension of an action"
        )
    blocks = {int(match[1]) for name in tensors if (match := BLOCK.match(name))}
    size = sum(info.size for info in tensors.values())
    return HeadShape(file, dimensions, first.shape[0], max(blocks, default=-1) + 1, size)


def _projector(file: Path) -> ProjectorShape:
    tensors = {bare(info.name): info for info in header(file)}
    return ProjectorShape(
        file, _matrix(file, tensors, "fc1.weight").shape[1], sum(info.size for info in tensors.values())
    )


def _matrix(file: Path, tensors: Mapping[str, TensorInfo], name: str) -> TensorInfo:
    found = tensors.get(name)
    if found is None:
        names = ", ".join(list(tensors)[:4]) or "nothing"
        raise UserError(f"{file} lacks the tensor {name} of OpenVLA-OFT's published state dict; it holds {names}")
    if len(found.shape) != 2:
        raise UserError(f"{file}: the tensor {name} has shape {list(found.shape)}, expected a matrix")
    return found
