"""The processor steps of a LeRobot policy folder (v0.4 and later): their settings, and where their tensors lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models import checkpoint
from models.checkpoint import TensorInfo
from models.checkpoint_files import CheckpointFiles
from models.config_section import ConfigSection
from models.errors import UserError

PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"


@dataclass(frozen=True)
class ProcessorStep:
    """One step of a processor file."""

    name: str  # LeRobot's registered name, or the class where there is none
    config: ConfigSection
    tensors: Mapping[str, TensorInfo]  # "feature.statistic" -> where it lies


def read_steps(files: CheckpointFiles) -> tuple[ProcessorStep, ...]:
    """Steps before the policy, then those after it; none in the layout before v0.4.

    Raises UserError where one of the two files, or one that they name, is missing or damaged.
    """
    before, after = files.find(PREPROCESSOR), files.find(POSTPROCESSOR)
    if before is None and after is None:
        return ()
    if before is None or after is None:
        missing = PREPROCESSOR if before is None else POSTPROCESSOR
        raise UserError(f"{files.model} is incomplete: it has no {missing}, without which actions have no units")
    return tuple(step for file in (before, after) for step in _file_steps(file))


def _file_steps(file: Path) -> list[ProcessorStep]:
    whole = ConfigSection.read(file)
    entries = whole.fields.get("steps")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{whole.where} steps is {entries!r}, expected a list of objects")
    steps: list[ProcessorStep] = []
    for index, entry in enumerate(entries):
        section = ConfigSection(f"{whole.where} steps[{index}]", entry)
        name = section.text("registry_name") if section.has("registry_name") else section.text("class").split(".")[-1]
        config = section.section("config") if section.has("config") else ConfigSection(f"{section.where}.config", {})
        steps.append(ProcessorStep(name, config, _step_tensors(file, section)))
    return steps


def _step_tensors(file: Path, section: ConfigSection) -> Mapping[str, TensorInfo]:
    if not section.has("state_file"):
        return {}
    state = checkpoint.inside(file.parent, section.text("state_file"))
    if not state.is_file():
        raise UserError(f"{file.parent} is incomplete: {file.name} names {state.name}, which is not there")
    return {info.name: info for info in checkpoint.header(state)}
