"""Writes small RLDS data sets in the layout that TFDS publishes: TFRecord shards, features.json, dataset_info.json."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from analysis.episodes.hdf5_writer import encode_image
from analysis.episodes.rlds_example import Example
from tests.tiny_episode import action, frame

STEPS = 6
MODULE = "tensorflow_datasets.core.features"
BRIDGE = "bridge_dataset"


def masked(crc: int) -> int:
    """TFRecord's masked checksum, written down a second time so that a test can compare."""
    rotated = (crc >> 15) | ((crc << 17) & 0xFFFFFFFF)
    return (rotated + 0xA282EAD8) % 2**32


def framed(payload: bytes) -> bytes:
    """One TFRecord record."""
    length = struct.pack("<Q", len(payload))
    crcs = [struct.pack("<I", masked(google_crc32c.value(part))) for part in (length, payload)]
    return length + crcs[0] + payload + crcs[1]


def example(features: Mapping[str, Any]) -> bytes:
    """A tf.train.Example; lists of bytes stay bytes, arrays of floats are floats, all else is integers."""
    message = Example()
    for name, values in features.items():
        feature = message.features.feature[name]
        if isinstance(values, list) and (not values or isinstance(values[0], bytes)):
            feature.bytes_list.value.extend(values)
        elif np.asarray(values).dtype.kind == "f":
            feature.float_list.value.extend(np.asarray(values, np.float64).ravel().tolist())
        else:
            feature.int64_list.value.extend(np.asarray(values).ravel().astype(np.int64).tolist())
    return message.SerializeToString(deterministic=True)


def flags(steps: int) -> dict[str, Any]:
    """What every step of an RLDS data set has; as in the published Bridge, none of them marks the end."""
    zeros = np.zeros(steps, np.int64)
    first = zeros.copy()
    first[:1] = 1
    return {
        "steps/is_first": first,
        "steps/is_last": zeros,
        "steps/is_terminal": zeros,
        "steps/reward": np.zeros(steps, np.float32),
        "steps/discount": np.ones(steps, np.float32),
    }


def bridge_episode(number: int = 0, steps: int = STEPS) -> dict[str, Any]:
    """Features of an episode as in BridgeData V2: two cameras with something to see, one black."""
    black = encode_image(np.zeros((48, 64, 3), np.uint8), "jpeg", 92)
    return flags(steps) | {
        "steps/action": np.array([action(step) + number for step in range(steps)], np.float32),
        "steps/language_instruction": [f"put block {number} on the towel".encode()] * steps,
        "steps/language_embedding": np.zeros(steps * 512, np.float32),
        "steps/observation/image_0": [encode_image(frame(step), "jpeg", 92) for step in range(steps)],
        "steps/observation/image_1": [encode_image(frame(step)[:, ::-1], "png", 92) for step in range(steps)],
        "steps/observation/image_3": [black] * steps,
        "steps/observation/state": np.full((steps, 7), 0.25, np.float32),
        "episode_metadata/file_path": [f"/data/{number}/out.npy".encode()],
        "episode_metadata/episode_id": [number],
        "episode_metadata/has_image_0": [0],
    }


def tensor(dtype: str, *shape: int, encoding: str = "none") -> dict[str, Any]:
    dimensions = {"dimensions": [str(side) for side in shape]} if shape else {}
    kind = "tensor_feature.Tensor" if shape else "scalar.Scalar"
    return {
        "pythonClassName": f"{MODULE}.{kind}",
        "tensor": {"shape": dimensions, "dtype": dtype, "encoding": encoding},
    }


def image(encoding: str, *shape: int, dtype: str = "uint8") -> dict[str, Any]:
    said = {"shape": {"dimensions": [str(side) for side in shape]}, "dtype": dtype, "encodingFormat": encoding}
    return {"pythonClassName": f"{MODULE}.image_feature.Image", "image": said}


def text() -> dict[str, Any]:
    return {"pythonClassName": f"{MODULE}.text_feature.Text", "text": {}}


def dictionary(**features: Any) -> dict[str, Any]:
    return {"pythonClassName": f"{MODULE}.features_dict.FeaturesDict", "featuresDict": {"features": features}}


def specification(step: Mapping[str, Any], **beside: Any) -> dict[str, Any]:
    """features.json of a data set whose steps have these features."""
    scalars = {name: tensor("bool") for name in ("is_first", "is_last", "is_terminal")}
    scalars |= {name: tensor("float32") for name in ("reward", "discount")}
    steps = {
        "pythonClassName": f"{MODULE}.dataset_feature.Dataset",
        "sequence": {"feature": dictionary(**scalars, **step), "length": "-1"},
    }
    return dictionary(steps=steps, **beside)


def bridge_specification() -> dict[str, Any]:
    observation = dictionary(
        image_0=image("jpeg", 48, 64, 3),
        image_1=image("png", 48, 64, 3),
        image_3=image("jpeg", 48, 64, 3),
        state=tensor("float32", 7),
    )
    metadata = dictionary(file_path=text(), episode_id=tensor("int32"), has_image_0=tensor("bool"))
    step = {
        "action": tensor("float32", 7),
        "language_instruction": text(),
        "language_embedding": tensor("float32", 512),
        "observation": observation,
    }
    return specification(step, episode_metadata=metadata)


def write_rlds(
    folder: Path,
    splits: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]],
    features: Mapping[str, Any] | None,
    name: str = BRIDGE,
) -> Path:
    """``splits``: name -> shards -> episodes -> features. ``features``: content of features.json, None for no file."""
    folder.mkdir(parents=True, exist_ok=True)
    said = []
    for split, shards in splits.items():
        for number, episodes in enumerate(shards):
            path = shard_path(folder, split, number, len(shards), name)
            path.write_bytes(b"".join(framed(example(episode)) for episode in episodes))
        said.append({"name": split, "shardLengths": [str(len(episodes)) for episodes in shards]})
    info = {"name": name, "version": "1.0.0", "fileFormat": "tfrecord", "splits": said}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    if features is not None:
        (folder / "features.json").write_text(json.dumps(features))
    return folder


def shard_path(folder: Path, split: str, number: int = 0, count: int = 1, name: str = BRIDGE) -> Path:
    return folder / f"{name}-{split}.tfrecord-{number:05d}-of-{count:05d}"


def write_bridge(folder: Path, splits: Mapping[str, Sequence[int]] | None = None) -> Path:
    """A data set like BridgeData V2; ``splits``: name -> episodes in each shard. Returns the version folder."""
    count = 0
    content: dict[str, list[list[Mapping[str, Any]]]] = {}
    for split, lengths in (splits or {"train": [2]}).items():
        content[split] = []
        for length in lengths:
            content[split].append([bridge_episode(count + k) for k in range(length)])
            count += length
    return write_rlds(folder / BRIDGE / "1.0.0", content, bridge_specification())
