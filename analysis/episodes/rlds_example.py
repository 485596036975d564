"""tf.train.Example without TensorFlow: where each feature lies in a payload, and the values of those that are wanted.

The outer levels are walked on the wire, so that camera images are stepped over and not read; the features that are
wanted are parsed by the protobuf library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from jaxtyping import Float32, Int64

from analysis.episodes.tfrecord import Malformed, Payload

MAX_FIELDS = 1_000_000  # of one message: frames of a camera, features of a record
MAX_FEATURE_BYTES = 64 << 20  # of a feature that is parsed; a camera's may be larger, its frames are read one by one
VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5  # wire types

Range = tuple[int, int]  # [start, stop) in the payload
Values = Float32[np.ndarray, " n"] | Int64[np.ndarray, " n"] | list[bytes]
_Type = descriptor_pb2.FieldDescriptorProto


def _field(message: Any, number: int, name: str, kind: int, of: str | None = None, repeated: bool = True) -> Any:
    label = _Type.LABEL_REPEATED if repeated else _Type.LABEL_OPTIONAL
    return message.field.add(name=name, number=number, type=kind, label=label, type_name=of)


def _messages() -> Mapping[str, Any]:
    """The message classes of TensorFlow's example.proto and feature.proto, by name."""
    file = descriptor_pb2.FileDescriptorProto(name="vla_lens/example.proto", package="vla_lens", syntax="proto3")
    _field(file.message_type.add(name="BytesList"), 1, "value", _Type.TYPE_BYTES)
    _field(file.message_type.add(name="FloatList"), 1, "value", _Type.TYPE_FLOAT)
    _field(file.message_type.add(name="Int64List"), 1, "value", _Type.TYPE_INT64)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, kind in enumerate(("Bytes", "Float", "Int64"), start=1):
        added = _field(feature, number, f"{kind.lower()}_list", _Type.TYPE_MESSAGE, f".vla_lens.{kind}List", False)
        added.oneof_index = 0
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _field(entry, 1, "key", _Type.TYPE_STRING, repeated=False)
    _field(entry, 2, "value", _Type.TYPE_MESSAGE, ".vla_lens.Feature", False)
    _field(features, 1, "feature", _Type.TYPE_MESSAGE, ".vla_lens.Features.FeatureEntry")
    _field(file.message_type.add(name="Example"), 1, "features", _Type.TYPE_MESSAGE, ".vla_lens.Features", False)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClassesForFiles([file.name], pool)


MESSAGES = _messages()
Example = MESSAGES["vla_lens.Example"]
Feature = MESSAGES["vla_lens.Feature"]


def feature_ranges(payload: Payload) -> dict[str, Range]:
    """Where each feature of the example lies, by name. Raises Malformed if the payload is no tf.train.Example."""
    found: dict[str, Range] = {}
    for features in _fields(payload, (0, payload.length), 1):
        for entry in _fields(payload, features, 1):
            name = b"".join(_read(payload, key) for key in _fields(payload, entry, 1))
            for value in _fields(payload, entry, 2):
                found[name.decode("utf-8", "replace")] = value
    if not found:
        raise Malformed("it has no feature")
    return found


def items(payload: Payload, feature: Range) -> list[Range]:
    """Where each entry of a bytes feature lies; the entries themselves are not read.

    Raises Malformed for a feature of another kind.
    """
    return list(_items(payload, feature))


def first_item(payload: Payload, feature: Range) -> Range | None:
    """Where the first entry of a bytes feature lies, or None if it has none or is of another kind."""
    return next(_items(payload, feature), None)


def values(payload: Payload, feature: Range, name: str) -> Values:
    """What a feature holds: floats, integers or texts. Raises Malformed if it cannot be parsed or is too large."""
    try:
        parsed = Feature.FromString(_read(payload, feature, name))
    except DecodeError:
        raise Malformed(f"its feature {name!r} cannot be parsed") from None
    kind = parsed.WhichOneof("kind")
    if kind == "bytes_list":
        return list(parsed.bytes_list.value)
    if kind == "float_list":
        return np.array(parsed.float_list.value, np.float32)
    return np.array(parsed.int64_list.value, np.int64)


def _items(payload: Payload, feature: Range) -> Iterator[Range]:
    for listed in _fields(payload, feature, 1):
        yield from _fields(payload, listed, 1)


def _read(payload: Payload, range: Range, name: str = "") -> bytes:
    start, stop = range
    limit = MAX_FEATURE_BYTES if name else 10_000  # a name of a feature has a few dozen bytes
    if stop - start > limit:
        raise Malformed(f"its feature {name!r} claims {stop - start:,} bytes; at most {limit:,} are read")
    return payload.read(start, stop)


def _fields(payload: Payload, within: Range, wanted: int) -> Iterator[Range]:
    """Contents of the length-delimited fields with the number ``wanted`` of the message that lies ``within``."""
    at, stop = within
    for _ in range(MAX_FIELDS):
        if at >= stop:
            return
        tag, at = _varint(payload, at, stop)
        kind = tag & 7
        size = {FIXED64: 8, FIXED32: 4}.get(kind, 0)
        if kind == DELIMITED:
            size, at = _varint(payload, at, stop)
        elif kind == VARINT:
            _, at = _varint(payload, at, stop)
        elif not size:
            raise Malformed(f"it is no tf.train.Example: byte {at:,} should begin a field and does not")
        if size > stop - at:
            raise Malformed(f"it is no tf.train.Example: a field claims {size:,} bytes where {stop - at:,} are left")
        if kind == DELIMITED and tag >> 3 == wanted:
            yield at, at + size
        at += size
    raise Malformed(f"a part of it has more than {MAX_FIELDS:,} fields")


def _varint(payload: Payload, at: int, stop: int) -> tuple[int, int]:
    """A number in base 128, least significant digits first, and the position after it."""
    value = 0
    for count, byte in enumerate(payload.read(at, min(at + 10, stop))):
        value |= (byte & 127) << 7 * count
        if byte < 128:
            return value, at + count + 1
    raise Malformed(f"it is no tf.train.Example: no number ends at byte {at:,}")
