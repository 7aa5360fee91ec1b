"""The two forms of the protobuf wire format that are put together by hand: varints and length-delimited fields.

Used by ``encode`` for whole messages, and by ``snapshot`` and ``protocol`` to wrap bytes that are ready in the few
fields around them, instead of copying them through a message. Depends on nothing.
Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

VARINT, I64, LEN, I32 = 0, 1, 2, 5
"""Wire types."""

_ONE_BYTE = tuple(bytes((value,)) for value in range(0x80))


def varint(value: int) -> bytes:
    """A base-128 varint; a negative *value* as its 64-bit two's complement, as int32, int64 and enums are written."""
    if 0 <= value <= 0x7F:
        return _ONE_BYTE[value]
    if value < 0:
        value += 1 << 64
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number: int, wire_type: int) -> bytes:
    """What stands before the value of field *number*."""
    return varint(number << 3 | wire_type)


_SHORT_TAGS = tuple(tag(number, LEN) for number in range(16))


def delimited(number: int, body: bytes) -> bytes:
    """Field *number* with *body* as its value: a message, a string, bytes, a map entry or a packed list."""
    size = len(body)
    if number < 16 and size < 0x80:  # nearly always, and once for each response
        return _SHORT_TAGS[number] + _ONE_BYTE[size] + body
    return tag(number, LEN) + varint(size) + body
