"""Foxglove's compressed image, as its tools write it into MCAP files without ROS: in protobuf.

The fields are those of foxglove/schemas, CompressedImage.proto: timestamp 1 (seconds 1, nanoseconds 2), data 2, format 3,
frame_id 4. The encoding is that of protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import error as struct_error
from struct import pack
from typing import Any

#: Schema of an MCAP file, and encoding of its messages.
PROTOBUF_IMAGE, PROTOBUF = "foxglove.CompressedImage", "protobuf"
_NUMBER, _BYTES = 0, 2
#: Kind of a field of fixed size -> bytes.
_SIZES = {1: 8, 5: 4}


def compressed_image(data: bytes) -> bytes:
    """A protobuf image as ROS 2 serialises ``foxglove_msgs/msg/CompressedImage``; empty if it is damaged."""
    try:
        parts = dict(_fields(data))
        times = dict(_fields(parts.get(1, b"")))
        stamp = pack("<iI", times.get(1, 0), times.get(2, 0))
        frame, image, form = (
            _sized(parts.get(4, b"") + b"\0"),
            _sized(parts.get(2, b"")),
            _sized(parts.get(3, b"") + b"\0"),
        )
    except (IndexError, ValueError, TypeError, struct_error):
        return b""
    return b"\0\1\0\0" + _padded(stamp + frame) + _padded(image) + form


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: an integer, or bytes."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        if key & 7 == _NUMBER:
            number, position = _varint(data, position)
            yield key >> 3, number
            continue
        if key & 7 == _BYTES:
            size, position = _varint(data, position)
        else:
            size = _SIZES.get(key & 7, len(data))
        if position + size > len(data):
            raise ValueError("a field is cut, or of no known kind")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """An integer of seven bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        value, position = value | (byte & 0x7F) << shift, position + 1
        if byte < 0x80:
            return value, position
    raise ValueError("an integer is longer than ten bytes")


def _sized(data: bytes) -> bytes:
    return pack("<I", len(data)) + data


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
