"""A LoRA adapter (peft's files): which of its base's weights become ``W + scale * B A``, and which are replaced.

Hu et al., 2021 (arXiv 2106.09685); scale is alpha / r, or alpha / sqrt(r) for rank-stabilised adapters (2312.03732).
Told by stored tensors and not by modules, it serves every family alike, whatever the modules are called here. No torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from models.checkpoint import TensorInfo
from models.checkpoint_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CheckpointFiles
from models.config_section import ConfigSection
from models.errors import UserError
from models.tensor_names import canonical

PREFIX = "base_model.model."
LOW_RANK = re.compile(r"^(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(?:\.weight)?$")


@dataclass(frozen=True)
class Change:
    """The low-rank change of one weight."""

    a: TensorInfo  # [r, in ...]
    b: TensorInfo  # [out, r ...]
    scale: float
    transposed: bool  # the weight is stored as [in, out]


@dataclass(frozen=True)
class Adapter:
    """Changes and replacements by the base's own tensor names."""

    changes: Mapping[str, Change]
    replacements: Mapping[str, TensorInfo]  # peft's modules_to_save and trained biases

    @staticmethod
    def read(files: CheckpointFiles, base: Mapping[str, TensorInfo]) -> Adapter:
        """Raises UserError for another kind of adapter, or a tensor that does not fit ``base``."""
        config = ConfigSection.read(files.folder / ADAPTER_CONFIG)
        kind = config.text("peft_type")
        if kind != "LORA" or config.flag("use_dora", False):
            kind = "DoRA" if kind == "LORA" else kind
            raise UserError(f"{files.folder} is a {kind} adapter; only plain LoRA is read: merge it first")
        by_name = {canonical(name): name for name in base}
        sides: dict[str, dict[str, TensorInfo]] = {}
        replacements: dict[str, TensorInfo] = {}
        for name, info in files.adapter_tensors().items():
            own = name.removeprefix(PREFIX).replace(
                ".base_layer.", "."
            )  # embeddings are saved whole beside their change
            match = LOW_RANK.match(own)
            target = canonical(f"{match['module']}.weight" if match else own)
            if not name.startswith(PREFIX) or target not in by_name:
                raise UserError(
                    f"{files.folder}: {ADAPTER_WEIGHTS} has the tensor {name}, which fits nothing in the base"
                )
            if match:
                sides.setdefault(by_name[target], {})[match["side"]] = info
                sides[by_name[target]] |= {"embedding": info} if match["embedding"] else {}
            else:
                replacements[by_name[target]] = info
        for name, info in replacements.items():
            if info.shape != base[name].shape:
                raise _misshapen(files, info, base[name])
        return Adapter({name: _change(config, files, base[name], found) for name, found in sides.items()}, replacements)


def _change(
    config: ConfigSection, files: CheckpointFiles, weight: TensorInfo, sides: Mapping[str, TensorInfo]
) -> Change:
    if missing := {"A", "B"} - set(sides):
        raise UserError(f"{files.folder}: {ADAPTER_WEIGHTS} lacks lora_{missing.pop()} of {weight.name}")
    a, b, rank = sides["A"], sides["B"], sides["A"].shape[0]
    if b.shape[1:2] != (rank,) or a.size // rank * b.shape[0] != weight.size:
        raise _misshapen(files, b, weight)
    module = weight.name.removesuffix(".weight")
    alpha = config.number("lora_alpha")
    if config.has("alpha_pattern"):
        patterns = config.section("alpha_pattern")
        alpha = next((patterns.number(key) for key in patterns.fields if re.match(rf"(.*\.)?({key})$", module)), alpha)
    scale = alpha / (math.sqrt(rank) if config.flag("use_rslora", False) else rank)
    return Change(a, b, scale, transposed=config.flag("fan_in_fan_out", False) or "embedding" in sides)


def _misshapen(files: CheckpointFiles, info: TensorInfo, weight: TensorInfo) -> UserError:
    found, expected = list(info.shape), f"{weight.name} of shape {list(weight.shape)}"
    return UserError(f"{files.folder}: the tensor {info.name} has shape {found}, which does not fit {expected}")
