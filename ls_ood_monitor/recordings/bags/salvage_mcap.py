"""MCAP files that were not closed, were cut off or have holes: their records are read one by one, without the index.

The format (mcap.dev/spec): a magic, then records of an opcode (1 byte), a length (8 bytes) and content. Messages are
records of the file, or of a chunk, which may be compressed. Only libraries that rosbags depends on are used.
"""

from __future__ import annotations

import heapq
import sys
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from struct import error as struct_error
from struct import unpack_from
from typing import BinaryIO, NamedTuple

from ...errors import DataError
from .opened import OpenedBag, RawMessage, TopicSummary, limit_time

_MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _CHUNK_INDEX, _DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x08, 0x0F
#: Bytes before the content of a record, before the data of a message, and of the footer with the magic that ends a file.
_HEAD, _MESSAGE_HEAD, _FOOTER_SIZE = 9, 22, 9 + 20 + len(_MAGIC)


class _Block(NamedTuple):
    """A record of the file: a chunk, or one outside of chunks. The last may be cut."""

    opcode: int
    offset: int  # of its content
    size: int


@dataclass
class _Contents:
    """What a walk through the file has met so far."""

    schemas: dict[int, str] = field(default_factory=dict)
    #: Channel -> topic and type name.
    channels: dict[int, tuple[str, str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    #: With messages, and when the first of them was received.
    blocks: list[tuple[int, _Block]] = field(default_factory=list)
    end_ns: int = 0
    holes: int = 0
    is_cut: bool = False

    @property
    def damage(self) -> str:
        parts = ["has no end (not closed, or cut off)"] if self.is_cut else []
        if self.holes:
            parts.append(f"is damaged in {self.holes} place{'s' if self.holes > 1 else ''}")
        return " and ".join(parts) or "has no index"


def salvage_mcap(path: Path) -> tuple[OpenedBag, str]:
    """Find the readable messages of an MCAP file.

    Returns:
        The messages, and what is wrong with the file, as the end of a sentence.

    Raises:
        DataError: the file does not begin like an MCAP file.
    """
    contents = _Contents()
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise DataError(f"{path} is no MCAP file: it does not begin as one.")
        for block in _walk(file, contents):
            times = []
            for opcode, content in _records_of(file, block, contents):
                try:
                    message = _parse(opcode, content, contents)
                except struct_error:  # shorter than a record of this kind must be
                    contents.holes += 1
                    continue
                if message is not None:
                    times.append(message.stamp_ns)
                    contents.counts[message.topic] += 1
            if times:
                contents.blocks.append((min(times), block))
                contents.end_ns = max(contents.end_ns, *times)
    contents.blocks.sort(key=lambda entry: (entry[0], entry[1].offset))
    begin_ns = contents.blocks[0][0] if contents.blocks else 0
    types = {topic: type_name for topic, type_name in contents.channels.values() if type_name}
    topics = tuple(TopicSummary(topic, type_name, contents.counts[topic]) for topic, type_name in types.items())
    opened = OpenedBag(topics, begin_ns, contents.end_ns, limit_time(partial(_read, path, contents)))
    return opened, contents.damage


def _read(path: Path, contents: _Contents, topics: Container[str]) -> Iterator[RawMessage]:
    """Messages in the order of reception: those of a block wait until no later block can hold an earlier one."""
    waiting: list[tuple[int, int, RawMessage]] = []
    numbers = count()
    with path.open("rb") as file:
        for first_ns, block in contents.blocks:
            while waiting and waiting[0][0] < first_ns:
                yield heapq.heappop(waiting)[2]
            for opcode, content in _records_of(file, block, _Contents()):
                message = _parse(opcode, content, contents) if opcode == _MESSAGE else None
                if message is not None and message.topic in topics:
                    heapq.heappush(waiting, (message.stamp_ns, next(numbers), message))
    while waiting:
        yield heapq.heappop(waiting)[2]


def _walk(file: BinaryIO, contents: _Contents) -> Iterator[_Block]:
    """Each record. After a hole, go on at the next known chunk."""
    end = file.seek(0, 2)
    known = _indexed_chunks(file, end)
    position = len(_MAGIC)
    while position + _HEAD <= end:
        file.seek(position)
        opcode, size = unpack_from("<BQ", file.read(_HEAD))
        is_whole = position + _HEAD + size <= end
        behind = bisect_right(known, position)
        next_chunk = known[behind] if behind < len(known) else None
        if not _is_opcode(opcode) or (not is_whole and next_chunk is not None):
            contents.holes += 1
            if next_chunk is None:
                contents.is_cut = True
                return
            position = next_chunk
            continue
        if opcode == _DATA_END:
            return
        contents.is_cut = not is_whole
        if contents.is_cut and opcode != _CHUNK:
            return
        yield _Block(opcode, position + _HEAD, min(size, end - position - _HEAD))
        position += _HEAD + size
    contents.is_cut = True


def _indexed_chunks(file: BinaryIO, end: int) -> list[int]:
    """Where chunks start, according to the index at the end of the file; empty if there is no index."""
    if end < len(_MAGIC) + _FOOTER_SIZE:
        return []
    file.seek(end - _FOOTER_SIZE)
    footer = file.read(_FOOTER_SIZE)
    if not footer.endswith(_MAGIC) or footer[0] != _FOOTER:
        return []
    (position,) = unpack_from("<Q", footer, _HEAD)
    starts = []
    while 0 < position < end - _FOOTER_SIZE:
        file.seek(position)
        opcode, size = unpack_from("<BQ", file.read(_HEAD))
        if opcode == _CHUNK_INDEX:
            starts.append(int(unpack_from("<Q", file.read(24), 16)[0]))
        position += _HEAD + size
    return sorted(starts)


def _records_of(file: BinaryIO, block: _Block, contents: _Contents) -> Iterator[tuple[int, memoryview]]:
    """Opcode and content of the records in a chunk, or of the one record outside of chunks, as far as they are whole."""
    if block.opcode not in (_CHUNK, _SCHEMA, _CHANNEL, _MESSAGE):
        return
    file.seek(block.offset)
    content = file.read(block.size)
    if block.opcode != _CHUNK:
        yield block.opcode, memoryview(content)
        return
    chunk = memoryview(_unpack(content, contents))
    position = 0
    while position + _HEAD <= len(chunk):
        opcode, size = unpack_from("<BQ", chunk, position)
        begin = position + _HEAD
        position = begin + size
        if not _is_opcode(opcode) or position > len(chunk):
            contents.holes += not contents.is_cut
            return
        yield opcode, chunk[begin:position]


def _unpack(content: bytes, contents: _Contents) -> bytes:
    """Records of a chunk. A cut chunk gives its beginning, a chunk with a wrong checksum nothing."""
    if len(content) < 32:
        return b""
    size, crc, length = unpack_from("<QII", content, 16)
    compression = content[32 : 32 + length].decode("ascii", "replace")
    with suppress(Exception):  # each compression library has errors of its own
        data = _decompress(compression, content[32 + length + 8 :])
        if not crc or len(data) != size or zlib.crc32(data) == crc:
            return data
    contents.holes += 1
    return b""


def _decompress(compression: str, data: bytes) -> bytes:
    """Decompress as much as there is: a stream that ends early is no error."""
    if compression == "lz4":
        from lz4.frame import LZ4FrameDecompressor

        return bytes(LZ4FrameDecompressor().decompress(data))
    if compression == "zstd":
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        return bytes(zstd.ZstdDecompressor().decompress(data))
    if compression:
        raise ValueError(compression)
    return data


def _parse(opcode: int, content: memoryview, contents: _Contents) -> RawMessage | None:
    """A message; None for a cut one, or one of an unknown channel. A schema or a channel is remembered."""
    if opcode == _SCHEMA:
        (key,) = unpack_from("<H", content)
        contents.schemas[key] = _text(content, 2)
    elif opcode == _CHANNEL:
        key, schema = unpack_from("<HH", content)
        contents.channels[key] = (_text(content, 4), contents.schemas.get(schema, ""))
    elif opcode == _MESSAGE and len(content) >= _MESSAGE_HEAD:
        channel, _, time_ns, _ = unpack_from("<HIQQ", content)
        if channel in contents.channels:
            return RawMessage(*contents.channels[channel], time_ns, bytes(content[_MESSAGE_HEAD:]))
    return None


def _text(content: memoryview, offset: int) -> str:
    (length,) = unpack_from("<I", content, offset)
    return bytes(content[offset + 4 : offset + 4 + length]).decode("utf-8", "replace")


def _is_opcode(opcode: int) -> bool:
    """Opcodes of the format, and those that it reserves for others."""
    return 0 < opcode <= _DATA_END or opcode >= 0x80
