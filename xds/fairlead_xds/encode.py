"""Turns ``envoy-data-plane`` messages into bytes: the only module that does.

Called by ``translate`` for whole resources and by ``features`` for what travels inside an ``Any``.

``bytes(message)`` of betterproto2 builds a pydantic validator for each message in the tree on every call: 1 ms for a
Cluster. Here every message class is compiled once, on first use, from the metadata of its fields.

The result is the same bytes: fields in the order of the class (not by number), maps in insertion order, so a caller
who wants equal resources to be equal bytes fills maps in sorted order. A float -0.0 without presence counts as zero
and is not written.

It differs from ``bytes(message)`` in two places, where that is wrong:

* a ``Duration`` is computed with integers: betterproto2 writes -0.5 s as +0.5 s, and rounds from 290 years on;
* a single ``sfixed32`` or ``sfixed64`` is written: betterproto2 raises ``NotImplementedError`` (none is in use).

A message is validated by pydantic when it is constructed. What is assigned to a field later is not validated, here
neither: a value of a wrong type then raises ``TypeError``, ``AttributeError`` or ``struct.error``, or gives wrong
bytes. Build messages in one expression.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import betterproto2 as bp
from envoy_data_plane.google import protobuf
from envoy_data_plane.message_pool import default_message_pool

from fairlead_xds.wire import I32, I64, LEN, VARINT, delimited, tag, varint

_ToBytes = Callable[[Any], bytes]

field = delimited
"""``field(number, body)``: a field of ready bytes, so that a message can be put together from encoded parts.

``encode(RouteConfiguration(name="web")) + field(2, host_1) + field(2, host_2)`` is a RouteConfiguration with two
virtual hosts: protobuf takes fields in any order.
"""


def encode(message: bp.Message) -> bytes:
    """The protobuf wire format of *message*; unknown fields that it was parsed with come last."""
    cls = type(message)
    try:
        compiled = _COMPILED[cls]
    except KeyError:
        # Two threads may both compile a class; they get the same result.
        compiled = _COMPILED[cls] = _compile(cls)
    values = vars(message)
    parts = [
        write(value)
        for name, keep_zero, write in compiled
        if (value := values[name]) is not None and (keep_zero or value)
    ]
    parts.append(values["_unknown_fields"])
    return b"".join(parts)


def type_url(cls: type[bp.Message]) -> str:
    """``type.googleapis.com/`` and the full protobuf name of *cls*; ``KeyError`` if it is no generated class."""
    return default_message_pool.type_to_url[cls]


def any_of(message: bp.Message) -> protobuf.Any:
    """*message* as an ``Any``: a typed extension config, a filter's ``typed_config``."""
    return protobuf.Any(type_url=type_url(type(message)), value=encode(message))


class _Field(NamedTuple):
    """How one field of a class is written.

    Attributes:
        name: the attribute.
        keep_zero: has presence (oneof, optional, message): everything but ``None`` is written.
        write: value -> tag and value; of a repeated field or map, the whole list or dict -> all of its entries.
    """

    name: str
    keep_zero: bool
    write: _ToBytes


_COMPILED: dict[type[bp.Message], tuple[_Field, ...]] = {}


def _compile(cls: type[Any]) -> tuple[_Field, ...]:
    # Not cls._betterproto, which holds the same metadata but first resolves every type hint of the class.
    return tuple(_compile_field(item.name, bp.FieldMetadata.get(item)) for item in dataclasses.fields(cls))


def _compile_field(name: str, meta: bp.FieldMetadata) -> _Field:
    if meta.map_meta:
        return _Field(name, keep_zero=False, write=_map(meta.number, *meta.map_meta))
    if meta.repeated:
        write = _packed(meta) if meta.proto_type in bp.PACKED_TYPES else _repeated(meta)
        return _Field(name, keep_zero=False, write=write)
    has_presence = bool(meta.optional or meta.group) or meta.proto_type == bp.TYPE_MESSAGE
    return _Field(name, keep_zero=has_presence, write=_single(meta))


def _single(meta: bp.FieldMetadata) -> _ToBytes:
    wire_type, to_bytes = _value(meta)
    key = tag(meta.number, wire_type)
    if wire_type != LEN:
        return lambda value: key + to_bytes(value)

    def write(value: Any) -> bytes:
        body = to_bytes(value)
        return key + varint(len(body)) + body

    return write


def _repeated(meta: bp.FieldMetadata) -> _ToBytes:
    write = _single(meta)
    return lambda items: b"".join([write(item) for item in items])


def _packed(meta: bp.FieldMetadata) -> _ToBytes:
    _, to_bytes = _value(meta)
    return lambda items: delimited(meta.number, b"".join([to_bytes(item) for item in items]))


def _map(number: int, key_meta: bp.FieldMetadata, value_meta: bp.FieldMetadata) -> _ToBytes:
    key, value = _single(key_meta), _single(value_meta)
    return lambda entries: b"".join([delimited(number, key(k) + value(v)) for k, v in entries.items()])


def _value(meta: bp.FieldMetadata) -> tuple[int, _ToBytes]:
    """The wire type of a field, and how one value of it is written without tag and length."""
    if meta.unwrap:
        return LEN, _unwrapped(meta.unwrap())
    return _VALUES[meta.proto_type]


def _unwrapped(cls: type[Any]) -> _ToBytes:
    """A message whose field holds a plain Python value: ``UInt32Value`` an int, ``Duration`` a timedelta."""
    if cls is protobuf.Duration:
        return _duration
    if cls is protobuf.Timestamp:
        return lambda value: encode(cls.from_wrapped(value))
    (only,) = _compile(cls)  # Each of wrappers.proto has the one field ``value``.
    return lambda value: only.write(value) if value else b""


_MICROSECOND = dt.timedelta(microseconds=1)


def _duration(value: dt.timedelta) -> bytes:
    """``google.protobuf.Duration``: seconds = 1, nanos = 2, both with the sign of the whole."""
    seconds, micros = divmod(abs(value) // _MICROSECOND, 1_000_000)
    sign = -1 if value.days < 0 else 1
    return (b"\x08" + varint(sign * seconds) if seconds else b"") + (
        b"\x10" + varint(sign * micros * 1_000) if micros else b""
    )


def _zigzag(value: int) -> bytes:
    return varint(value << 1 if value >= 0 else ~(value << 1))


_VALUES: dict[str, tuple[int, _ToBytes]] = {
    bp.TYPE_ENUM: (VARINT, varint),
    bp.TYPE_BOOL: (VARINT, varint),
    bp.TYPE_INT32: (VARINT, varint),
    bp.TYPE_INT64: (VARINT, varint),
    bp.TYPE_UINT32: (VARINT, varint),
    bp.TYPE_UINT64: (VARINT, varint),
    bp.TYPE_SINT32: (VARINT, _zigzag),
    bp.TYPE_SINT64: (VARINT, _zigzag),
    bp.TYPE_FLOAT: (I32, struct.Struct("<f").pack),
    bp.TYPE_DOUBLE: (I64, struct.Struct("<d").pack),
    bp.TYPE_FIXED32: (I32, struct.Struct("<I").pack),
    bp.TYPE_FIXED64: (I64, struct.Struct("<Q").pack),
    bp.TYPE_SFIXED32: (I32, struct.Struct("<i").pack),
    bp.TYPE_SFIXED64: (I64, struct.Struct("<q").pack),
    bp.TYPE_STRING: (LEN, str.encode),
    bp.TYPE_BYTES: (LEN, bytes),
    bp.TYPE_MESSAGE: (LEN, encode),
}
