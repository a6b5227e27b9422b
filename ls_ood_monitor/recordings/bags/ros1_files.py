"""ROS 1 bags that were not closed, were cut off or are damaged: their chunks are read one by one, without the index.

The format (wiki.ros.org/Bags/Format/2.0): a line with the version, then records of a header (its length, then fields of a
length and ``name=value``) and data (its length, then bytes). Messages are records within chunks.
"""

from __future__ import annotations

import bz2
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from struct import error as struct_error
from struct import unpack, unpack_from
from typing import BinaryIO

from rosbags.typesys.msg import normalize_msgtype

from ...errors import DataError
from .clock_steps import find_steps
from .image_messages import is_known, ros2_message
from .opened import CDR, OpenedBag, RawMessage, TopicSummary, limit_time

_MAGIC = b"#ROSBAG V2.0\n"
_MESSAGE, _INDEX, _CHUNK, _CONNECTION = b"\x02", b"\x04", b"\x05", b"\x07"
_Fields = dict[bytes, bytes]


@dataclass
class _Contents:
    """What a walk through the file has met so far."""

    topics: dict[bytes, tuple[str, str]] = field(default_factory=dict)  # connection -> topic, type
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    holes: int = 0
    is_cut: bool = False


def salvage_ros1(path: Path) -> tuple[OpenedBag, str]:
    """Find the readable messages of a ROS 1 bag.

    Returns:
        The messages, and what is wrong with the file, as the end of a sentence.

    Raises:
        DataError: the file does not begin like a bag of ROS 1.
    """
    contents = _Contents()
    chunks: list[tuple[int, int, int]] = []  # first and last reception, place
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise DataError(f"{path} is no bag of ROS 1: it does not begin as one.")
        for place in _chunks(file, contents):
            times = []
            for message in _messages(file, place, contents):
                times.append(message.stamp_ns)
                contents.counts[message.topic, message.type_name] += 1
            if times:
                chunks.append((min(times), max(times), place))
    chunks.sort()
    summaries = tuple(
        TopicSummary(topic, type_name, contents.counts[topic, type_name], CDR if is_known(type_name) else "ros1")
        for topic, type_name in dict.fromkeys(contents.topics.values())
    )

    def read(wanted: Container[str]) -> Iterator[RawMessage]:
        with path.open("rb") as file:
            for *_, place in chunks:
                found = sorted(_messages(file, place, contents), key=lambda message: message.stamp_ns)
                for message in found:
                    if message.topic in wanted and is_known(message.type_name):
                        data = ros2_message(message.data, message.type_name)
                        yield RawMessage(message.topic, message.type_name, message.stamp_ns, data)

    parts = ["has no end (not closed, or cut off)"] if contents.is_cut else []
    if contents.holes:
        parts.append(f"is damaged in {contents.holes} place{'s' if contents.holes > 1 else ''}")
    begin_ns, end_ns = (chunks[0][0], max(last_ns for _, last_ns, _ in chunks)) if chunks else (0, 0)
    times_ns = accumulate((time_ns for first_ns, last_ns, _ in chunks for time_ns in (first_ns, last_ns)), max)
    steps = find_steps(times_ns, is_damaged=True)
    opened = OpenedBag(summaries, begin_ns, end_ns, limit_time(read), steps=steps)
    return opened, " and ".join(parts) or "has no usable index"


def count_indexes(path: Path, chunks: Iterable[int]) -> dict[int, int]:
    """Number of topics that are indexed behind each chunk, by the chunk's place."""
    counts = {}
    with path.open("rb") as file:
        end = file.seek(0, 2)
        for chunk in chunks:
            record, counts[chunk] = _record(file, chunk, end), -1
            while record is not None and (counts[chunk] < 0 or record[0].get(b"op") == _INDEX):
                counts[chunk] += 1
                record = _record(file, record[1] + record[2], end)
    return counts


def _chunks(file: BinaryIO, contents: _Contents) -> Iterator[int]:
    """Place of each chunk's record; connections outside of chunks are remembered."""
    end = file.seek(0, 2)
    place = len(_MAGIC)
    while place < end:
        record = _record(file, place, end)
        if record is None:
            contents.is_cut = True
            return
        fields, begin, size = record
        if fields.get(b"op") == _CHUNK:
            contents.is_cut = begin + size > end
            yield place
        elif fields.get(b"op") == _CONNECTION and begin + size <= end:
            file.seek(begin)
            _learn(fields, file.read(size), contents)
        place = begin + size
    contents.is_cut = contents.is_cut or not contents.topics


def _record(file: BinaryIO, place: int, end: int) -> tuple[_Fields, int, int] | None:
    """Fields of a record's header, and place and size of its data; None if the header is cut or damaged."""
    file.seek(place)
    head = file.read(4)
    size = unpack("<I", head)[0] if len(head) == 4 else end
    if place + 8 + size > end:
        return None
    fields, data_size = _fields(file.read(size)), file.read(4)
    return None if fields is None else (fields, place + 8 + size, unpack("<I", data_size)[0])


def _fields(header: bytes) -> _Fields | None:
    fields: _Fields = {}
    position = 0
    while position + 4 <= len(header):
        (size,) = unpack_from("<I", header, position)
        name, sign, value = header[position + 4 : position + 4 + size].partition(b"=")
        if not sign or position + 4 + size > len(header):
            return None
        fields[name] = value
        position += 4 + size
    return fields


def _messages(file: BinaryIO, place: int, contents: _Contents) -> Iterator[RawMessage]:
    """Messages of a chunk, as ROS 1 serialised them; of a cut or damaged one those before the damage."""
    record = _record(file, place, file.seek(0, 2))
    if record is None:
        return
    fields, begin, size = record
    file.seek(begin)
    chunk = _unpacked(fields.get(b"compression", b""), file.read(size))
    position = 0
    try:
        while position < len(chunk):
            (length,) = unpack_from("<I", chunk, position)
            own = _fields(chunk[position + 4 : position + 4 + length])
            (data_size,) = unpack_from("<I", chunk, position + 4 + length)
            begin = position + 8 + length
            position = begin + data_size
            if own is None or position > len(chunk):
                contents.holes += not contents.is_cut
                return
            data = chunk[begin:position]
            if own.get(b"op") == _CONNECTION:
                _learn(own, data, contents)
            elif own.get(b"op") == _MESSAGE and own.get(b"conn") in contents.topics:
                seconds, nanoseconds = unpack("<II", own[b"time"])
                yield RawMessage(*contents.topics[own[b"conn"]], seconds * 10**9 + nanoseconds, data)
            elif own.get(b"op") == _MESSAGE:
                contents.holes += 1
    except (struct_error, KeyError):
        contents.holes += 1


def _learn(fields: _Fields, data: bytes, contents: _Contents) -> None:
    """Remember a connection."""
    facts = _fields(data) or {}
    key = fields.get(b"conn")
    if key is not None and b"topic" in fields and b"type" in facts:
        topic = "/" + "/".join(part for part in fields[b"topic"].decode("utf-8", "replace").split("/") if part)
        contents.topics[key] = topic, normalize_msgtype(facts[b"type"].decode("utf-8", "replace"))


def _unpacked(compression: bytes, data: bytes) -> bytes:
    """As much of a chunk as can be unpacked."""
    try:
        if compression == b"bz2":
            return bz2.BZ2Decompressor().decompress(data)
        if compression == b"lz4":
            from lz4.frame import LZ4FrameDecompressor

            return bytes(LZ4FrameDecompressor().decompress(data))
    except Exception:  # each compression library has errors of its own
        return b""
    return data
