"""MCAP files that were not closed, cut off or holed: their records are walked one by one, without the index at the end.

The format (mcap.dev/spec): a magic, then records of an opcode (1 byte), a length (8) and so many bytes. Messages lie in
chunks, which may be compressed, or bare. Only the libraries that rosbags brings along are needed.
"""

from __future__ import annotations

import heapq
import sys
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import error as struct_error
from struct import unpack, unpack_from
from typing import BinaryIO

from ...errors import DataError
from .salvage import Salvage

_MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _CHUNK_INDEX, _DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x08, 0x0F
_HEAD = 9
_FOOTER_BYTES = _HEAD + 20 + len(_MAGIC)


@dataclass
class _Found:
    """What a walk through the file has met so far."""

    schemas: dict[int, str] = field(default_factory=dict)
    channels: dict[int, tuple[str, str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    #: First reception in a block (a chunk or a bare message), where its record starts, opcode, bytes that are there.
    blocks: list[tuple[int, int, int, int]] = field(default_factory=list)
    begin_ns: int = 2**63
    end_ns: int = 0
    holes: int = 0
    cut: bool = False


def salvage_mcap(path: Path) -> Salvage:
    """Find what can be read of an MCAP file. Raises ``DataError`` where it is none."""
    found = _Found()
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise DataError(f"{path} is no MCAP file: it does not begin as one.")
        for code, offset, size in _walk(file, found):
            times = []
            for inner, content in _records_of(file, code, offset, size, found):
                try:
                    _learn(inner, content, found)
                except struct_error:  # shorter than its kind of record must be
                    found.holes += 1
                if inner == _MESSAGE and (message := _message(content, found)):
                    times.append(message[1])
                    found.counts[message[0]] += 1
            if times:
                found.blocks.append((min(times), offset, code, size))
                found.begin_ns, found.end_ns = min(found.begin_ns, *times), max(found.end_ns, *times)
    found.blocks.sort()
    damage = " and ".join(
        [
            *(["has no end (not closed, or cut off)"] if found.cut else []),
            *([f"is damaged in {found.holes} place{'s' * (found.holes > 1)}"] if found.holes else []),
        ]
    )
    begin_ns = found.begin_ns if found.blocks else 0
    types = {topic: kind for topic, kind in found.channels.values() if kind}
    return Salvage(
        types, found.counts, begin_ns, found.end_ns, lambda topics: _read(path, found, topics), damage or "has no index"
    )


def _read(path: Path, found: _Found, topics: Container[str]) -> Iterator[tuple[str, int, bytes]]:
    """Messages in the order of reception: those of a block wait until no later block can hold an earlier one."""
    waiting: list[tuple[int, int, str, bytes]] = []
    number = 0
    with path.open("rb") as file:
        for first_ns, offset, code, size in found.blocks:
            while waiting and waiting[0][0] < first_ns:
                time_ns, _, topic, data = heapq.heappop(waiting)
                yield topic, time_ns, data
            for inner, content in _records_of(file, code, offset, size, _Found()):
                if inner == _MESSAGE and (message := _message(content, found)) and message[0] in topics:
                    heapq.heappush(waiting, (message[1], number, message[0], bytes(content[22:])))
                    number += 1
    while waiting:
        time_ns, _, topic, data = heapq.heappop(waiting)
        yield topic, time_ns, data


def _walk(file: BinaryIO, found: _Found) -> Iterator[tuple[int, int, int]]:
    """Opcode, offset and size of the content of each record; the last may be cut. Past a hole at the next known chunk."""
    end = file.seek(0, 2)
    known = _known_chunks(file, end)
    position = len(_MAGIC)
    while position + _HEAD <= end:
        file.seek(position)
        code, size = unpack("<BQ", file.read(_HEAD))
        whole = position + _HEAD + size <= end
        behind = bisect_right(known, position)
        later = known[behind] if behind < len(known) else None
        if not _is_opcode(code) or (not whole and later is not None):
            found.holes += 1
            if later is None:
                found.cut = True
                return
            position = later
            continue
        if code == _DATA_END:
            return
        found.cut = not whole
        if found.cut and code != _CHUNK:
            return
        yield code, position + _HEAD, min(size, end - position - _HEAD)
        position += _HEAD + size
    found.cut = True


def _known_chunks(file: BinaryIO, end: int) -> list[int]:
    """Where chunks start, by the index at the end of the file; empty where that is gone."""
    if end < len(_MAGIC) + _FOOTER_BYTES:
        return []
    file.seek(end - _FOOTER_BYTES)
    tail = file.read(_FOOTER_BYTES)
    if not tail.endswith(_MAGIC) or tail[0] != _FOOTER:
        return []
    (position,) = unpack_from("<Q", tail, _HEAD)
    starts = []
    while 0 < position < end - _FOOTER_BYTES:
        file.seek(position)
        code, size = unpack("<BQ", file.read(_HEAD))
        if code == _CHUNK_INDEX:
            starts.append(int(unpack_from("<Q", file.read(24), 16)[0]))
        position += _HEAD + size
    return sorted(starts)


def _records_of(file: BinaryIO, code: int, offset: int, size: int, found: _Found) -> Iterator[tuple[int, memoryview]]:
    """The records in a chunk, or the one bare record; as far as they are whole."""
    if code not in (_CHUNK, _SCHEMA, _CHANNEL, _MESSAGE):
        return
    file.seek(offset)
    content = file.read(size)
    if code != _CHUNK:
        yield code, memoryview(content)
        return
    inner = memoryview(_unpacked(content, found))
    position = 0
    while position + _HEAD <= len(inner):
        code, size = unpack_from("<BQ", inner, position)
        begin = position + _HEAD
        if not _is_opcode(code) or begin + size > len(inner):
            found.holes += not found.cut
            return
        yield code, inner[begin : begin + size]
        position = begin + size


def _unpacked(content: bytes, found: _Found) -> bytes:
    """Content of a chunk; of one that is cut the beginning, of one that does not match its checksum nothing."""
    if len(content) < 32:
        return b""
    (whole, crc, length) = unpack_from("<QII", content, 16)
    compression = content[32 : 32 + length].decode("ascii", "replace")
    data = content[32 + length + 8 :]
    try:
        inner = _inflate(compression, data)
    # Each compression library has errors of its own.
    except Exception:
        found.holes += 1
        return b""
    if crc and len(inner) == whole and zlib.crc32(inner) != crc:
        found.holes += 1
        return b""
    return inner


def _inflate(compression: str, data: bytes) -> bytes:
    """As much as the data give: a stream that ends early is no error."""
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


def _learn(code: int, content: memoryview, found: _Found) -> None:
    """Remember a schema or a channel."""
    if code == _SCHEMA:
        (key,) = unpack_from("<H", content)
        found.schemas[key] = _text(content, 2)
    elif code == _CHANNEL:
        key, schema = unpack_from("<HH", content)
        found.channels[key] = (_text(content, 4), found.schemas.get(schema, ""))


def _message(content: memoryview, found: _Found) -> tuple[str, int] | None:
    """Topic and time of reception; None for a message of an unknown channel, or one that is cut."""
    if len(content) < 22:
        return None
    channel, _, time_ns, _ = unpack_from("<HIQQ", content)
    known = found.channels.get(channel)
    return (known[0], time_ns) if known else None


def _text(content: memoryview, offset: int) -> str:
    (length,) = unpack_from("<I", content, offset)
    return bytes(content[offset + 4 : offset + 4 + length]).decode("utf-8", "replace")


def _is_opcode(code: int) -> bool:
    """Known ones, and those that the format leaves to others."""
    return 0 < code <= _DATA_END or code >= 0x80
