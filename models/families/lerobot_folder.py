"""What a LeRobot policy folder says, whichever policy it holds: features, statistics, camera names, processor steps.

Two layouts are read. Since v0.4 policy_preprocessor.json and policy_postprocessor.json list processor steps and name
the safetensors files that hold their statistics; before that the statistics are buffers among the weights, possibly of
several data sets (``normalize_inputs.so100_buffer_observation_state.mean``). Imports neither torch nor transformers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.checkpoint import TensorInfo
from models.checkpoint_files import CheckpointFiles
from models.config_section import ConfigSection
from models.errors import UserError
from models.families.lerobot_processors import ProcessorStep, read_steps
from models.families.lerobot_statistics import IDENTITY, Scaling, read_statistic
from models.types import ActionSpace

STATE, ACTION = "observation.state", "action"  # LeRobot's own feature names
TRAINING_DATA = "training data"  # the name of the statistics where the folder gives them none
RENAME, NORMALISE, UNNORMALISE = "rename_observations_processor", "normalizer_processor", "unnormalizer_processor"
MOST_STEPS = 10_000  # of a chunk, far beyond any policy: a damaged value must not be looped over
TOKENIZE, ONLY = "tokenizer_processor", "normalize_observation_keys"
STEPS = (RENAME, NORMALISE, UNNORMALISE, TOKENIZE, "to_batch_processor", "device_processor")
BUFFER = re.compile(r"(normalize_inputs|normalize_targets|unnormalize_outputs)\.(?:(.+)_)?buffer_([^.]+)\.(\w+)")
UNUSED: Mapping[str, str] = dict.fromkeys(  # stored tensors of the layout before v0.4
    ("normalize_inputs.*", "normalize_targets.*", "unnormalize_outputs.*"), "statistics of the data, not weights"
)


@dataclass(frozen=True)
class Feature:
    """One thing that the policy reads or writes."""

    kind: str  # VISUAL, STATE, ENV, ACTION ...
    shape: tuple[int, ...]


@dataclass(frozen=True)
class LerobotFolder:
    """Features keep the order of config.json, which is the order in which policies read their cameras."""

    folder: Path
    config: ConfigSection
    inputs: Mapping[str, Feature]
    outputs: Mapping[str, Feature]
    steps: tuple[ProcessorStep, ...]  # before the policy, then after it; none in the layout before v0.4
    scalings: Mapping[str, Mapping[str, Scaling]]  # data set -> feature -> scaling; empty: no statistics are stored

    @staticmethod
    def read(files: CheckpointFiles, known_steps: Collection[str] = ()) -> LerobotFolder:
        """``known_steps``: what the family's own processor steps are called, beside LeRobot's general ones.

        Raises UserError for a configuration that makes no sense, a file that a processor names and that is missing, and
        a processor step that is not known: leaving it out would give other actions.
        """
        config = files.config()
        inputs, outputs = _features(config, "input_features"), _features(config, "output_features")
        if ACTION not in outputs or len(outputs[ACTION].shape) != 1:
            found = ", ".join(outputs) or "nothing"
            raise UserError(f"{files.model}: output_features has {found}, expected {ACTION!r} with one number as shape")
        steps = read_steps(files)
        for step in steps:
            if step.name not in (*STEPS, *known_steps) and step.config.flag("enabled", True):
                raise UserError(
                    f"{files.model} prepares or changes values by the step {step.name!r}, which is not supported; "
                    f"known steps are {', '.join((*STEPS, *known_steps))}"
                )
        features = {**inputs, **outputs}
        stored = _processor_scalings(steps, config) if steps else _buffer_scalings(files.tensors(), config, features)
        for each in stored.values():
            for name, scaling in each.items():
                if name in features:
                    scaling.check(name, _statistic_shape(features[name]), str(files.model))
        return LerobotFolder(files.model, config, inputs, outputs, steps, stored)

    @property
    def cameras(self) -> Mapping[str, str]:
        """Camera name -> feature, in order: the feature's last part where that is unique. Without empty cameras."""
        features = [name for name, feature in self.inputs.items() if feature.kind == "VISUAL"]
        features = [name for name in features if not _short(name).startswith("empty_camera_")]
        shorts = [_short(name) for name in features]
        return {s if shorts.count(s) == 1 else name: name for s, name in zip(shorts, features, strict=True)}

    @property
    def state_size(self) -> int:
        """Numbers of proprioception that the policy reads; 0: none."""
        return self.inputs[STATE].shape[0] if STATE in self.inputs else 0

    @property
    def action_size(self) -> int:
        return self.outputs[ACTION].shape[0]

    def step(self, name: str) -> ConfigSection | None:
        """The settings of a processor step; None where the folder has no such step."""
        return next((step.config for step in self.steps if step.name == name), None)

    @property
    def stray_statistics(self) -> tuple[str, ...]:
        """Names like "so100.buffer.action" under which the processors' statistics stand: LeRobot does not use them.

        Its own migration to v0.4 wrote them for policies that had been trained on several data sets.
        """
        known = tuple(f".{name}" for name in (*self.inputs, *self.outputs))
        owners = dict.fromkeys(_owner(key) for step in self.steps for key in step.tensors)
        return tuple(owner for owner in owners if owner.endswith(known))

    def data_set(self, asked: str | None) -> str | None:
        """Which statistics to use: the ones asked for, or the only ones. None: none are stored.

        Raises UserError where there are several and none was named, or the named ones are not there.
        """
        names = ", ".join(self.scalings) or "none"
        if asked is not None and asked not in self.scalings:
            raise UserError(f"{self.folder} has no action statistics {asked!r}; there are: {names}")
        if asked is None and len(self.scalings) > 1:
            raise UserError(f"{self.folder} has statistics of several data sets ({names}); name one with action_stats")
        return asked if asked is not None else next(iter(self.scalings), None)

    def scaling(self, feature: str, data_set: str | None) -> Scaling:
        """How ``feature`` is scaled with the statistics of ``data_set``; left as it is where none are stored."""
        return self.scalings.get(data_set or "", {}).get(feature, Scaling())

    def unscaled(self, feature: str, data_set: str) -> bool:
        """Whether ``feature`` should be scaled, but has no statistics."""
        kind = {**self.inputs, **self.outputs}[feature].kind
        mode = _modes(self.config).text(kind, default=IDENTITY)
        return mode != IDENTITY and not self.scaling(feature, data_set).changes

    def action_space(self, data_set: str | None, chunk: int) -> ActionSpace:
        """LeRobot's folders name neither action dimensions nor units. Limits are what the statistics tell of."""
        size, bounds = self.action_size, self.scaling(ACTION, data_set).bounds()
        low, high = bounds if bounds is not None else (np.full(size, -1.0), np.full(size, 1.0))
        low, high = (np.broadcast_to(each, (size,)) for each in (low, high))
        names = tuple(f"action {index}" for index in range(size))
        return ActionSpace(names, ("",) * size, tuple(map(float, low)), tuple(map(float, high)), chunk)

    def found_cameras(self, given: Collection[str]) -> dict[str, str]:
        """Feature -> name under which an observation has that camera, in the policy's order; absent ones are left out.

        A camera goes by its feature's full name, by its last part, and by the names that the folder's rename step maps
        to it; the only camera of a policy by any name. Raises UserError where none is found.
        """
        cameras = self.cameras
        if len(cameras) == 1 and len(given) == 1:
            return {next(iter(cameras.values())): next(iter(given))}
        found: dict[str, str] = {}
        for camera, feature in cameras.items():
            names = [name for name in self._names(camera, feature) if name in given]
            if len(names) > 1:
                raise UserError(f"the observation has the camera {camera!r} twice, as {' and '.join(names)}; pass one")
            if names:
                found[feature] = names[0]
        if not found:
            has = ", ".join(given) or "none"
            raise UserError(f"the policy reads the cameras {', '.join(cameras)}; the observation has {has}")
        return found

    def _names(self, camera: str, feature: str) -> list[str]:
        rename = self.step(RENAME)
        renamed = rename.section("rename_map").fields if rename is not None and rename.has("rename_map") else {}
        sources = [name for name, target in renamed.items() if target == feature]
        return list(dict.fromkeys((feature, camera, *sources, *map(_short, sources))))


def _short(feature: str) -> str:
    return feature.removeprefix("observation.").removeprefix("images.")


def _statistic_shape(feature: Feature) -> tuple[int, ...]:
    """One number a value; of an image, one a channel."""
    return (feature.shape[0], 1, 1) if feature.kind == "VISUAL" else feature.shape


def _features(config: ConfigSection, key: str) -> dict[str, Feature]:
    section = config.section(key)
    features: dict[str, Feature] = {}
    for name in section.fields:
        entry = section.section(name)
        shape = tuple(int(extent) for extent in entry.numbers("shape"))
        if not shape or min(shape) < 1:
            raise UserError(f"{entry.where}.shape is {list(shape)}, expected numbers of at least 1")
        features[name] = Feature(entry.text("type"), shape)
    return features


def _processor_scalings(steps: tuple[ProcessorStep, ...], config: ConfigSection) -> dict[str, dict[str, Scaling]]:
    """Inputs as the step before the policy scales them, the action as the step after it restores it."""
    scalings: dict[str, Scaling] = {}
    for step in steps:
        if step.name not in (NORMALISE, UNNORMALISE):
            continue
        modes = step.config.section("norm_map") if step.config.has("norm_map") else _modes(config)
        eps = step.config.number("eps", default=1e-8)
        only = step.config.strings(ONLY) if step.config.has(ONLY) else None
        for name, feature in _features(step.config, "features").items():
            if (name == ACTION) == (step.name == UNNORMALISE) and (only is None or name in (ACTION, *only)):
                own = {key.rpartition(".")[2]: info for key, info in step.tensors.items() if _owner(key) == name}
                values = {statistic: _of_channels(read_statistic(info), feature) for statistic, info in own.items()}
                scalings[name] = Scaling(modes.text(feature.kind, default=IDENTITY), values, eps)
    return {TRAINING_DATA: scalings} if any(each.changes for each in scalings.values()) else {}


def _buffer_scalings(
    stored: Mapping[str, TensorInfo], config: ConfigSection, features: Mapping[str, Feature]
) -> dict[str, dict[str, Scaling]]:
    """Buffers that nothing was ever put into are infinite: no statistics."""
    modes, spelled = _modes(config), {name.replace(".", "_"): name for name in features}
    values: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for name, info in sorted(stored.items(), reverse=True):  # unnormalize_outputs before normalize_targets
        match = BUFFER.fullmatch(name)
        feature = spelled.get(match[3]) if match else None
        if match is None or feature is None:
            continue
        value = read_statistic(info)
        if np.isfinite(value).all():
            own = values.setdefault(match[2] or TRAINING_DATA, {}).setdefault(feature, {})
            own.setdefault(match[4], value)
    return {
        data_set: {
            name: Scaling(modes.text(features[name].kind, default=IDENTITY), own) for name, own in sorted(each.items())
        }
        for data_set, each in sorted(values.items())
    }


def _of_channels(value: np.ndarray, feature: Feature) -> np.ndarray:
    return value.reshape(-1, 1, 1) if feature.kind == "VISUAL" and value.ndim == 1 else value


def _modes(config: ConfigSection) -> ConfigSection:
    return config.section("normalization_mapping")


def _owner(key: str) -> str:
    return key.rpartition(".")[0]
