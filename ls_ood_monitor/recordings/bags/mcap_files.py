"""MCAP files: whole ones through their index; not closed, cut or damaged ones record by record.

The format (mcap.dev/spec): a magic, then records of an opcode (1 byte), a length (8 bytes) and content. Messages are
records of the file, or of a chunk, which may be compressed. At the end a summary repeats schemas and channels and has the
place and times of each chunk. Only libraries that rosbags depends on are used; its own reader refuses files with channels
of other encodings beside those of ROS.
"""

from __future__ import annotations

import heapq
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from struct import error as struct_error
from struct import unpack_from
from typing import BinaryIO, NamedTuple

from ...errors import DataError
from .clock_steps import BACKWARD_NS, FORWARD_NS, find_steps
from .files import count_profiles
from .foxglove import PROTOBUF, PROTOBUF_IMAGE, compressed_image
from .image_messages import FOXGLOVE_IMAGES, is_image, is_known, ros2_message
from .opened import CDR, OpenedBag, RawMessage, TopicSummary
from .unpacking import zstd_library

_MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _CHUNK_INDEX, _STATISTICS, _DATA_END = 2, 3, 4, 5, 6, 8, 11, 15
#: Bytes before the content of a record, before the data of a message, and of the footer with the magic that ends a file.
_HEAD, _MESSAGE_HEAD, _FOOTER_SIZE = 9, 22, 9 + 20 + len(_MAGIC)
#: A later time is none.
_MAX_NS = 2**63 - 1
#: Encoding of messages in files of ROS 1.
_ROS1 = "ros1"


class _Block(NamedTuple):
    """A record of the file: a chunk, or one outside of chunks. The last may be cut."""

    opcode: int
    offset: int  # of its content
    size: int


class _Stretch(NamedTuple):
    """A block with messages, and when the first and the last of them were received."""

    first_ns: int
    last_ns: int
    block: _Block
    channels: frozenset[int] | None = None  # of its messages; None = not known


class _Channel(NamedTuple):
    """Topic, type and encoding of messages."""

    topic: str
    type_name: str
    encoding: str
    writers: int

    @property
    def is_readable(self) -> bool:
        return self.encoding in (CDR, PROTOBUF_IMAGE) or (self.encoding == _ROS1 and is_known(self.type_name))


@dataclass
class _Contents:
    """What is known of a file so far."""

    schemas: dict[int, str] = field(default_factory=dict)
    channels: dict[int, _Channel] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)  # by channel
    stretches: list[_Stretch] = field(default_factory=list)
    holes: int = 0
    is_cut: bool = False

    @property
    def damage(self) -> str:
        parts = ["has no end (not closed, or cut off)"] if self.is_cut else []
        if self.holes:
            parts.append(f"is damaged in {self.holes} place{'s' if self.holes > 1 else ''}")
        return " and ".join(parts) or "has no index"


def open_mcap(path: Path) -> OpenedBag:
    """Open a whole MCAP file, through its index if it has one.

    Raises:
        DataError: the file is damaged, as far as opening it shows. What only reading shows is raised by ``read``.
    """
    with path.open("rb") as file:
        contents = _indexed(file)
        if contents is None:
            contents = _walked(file, path)
            if contents.is_cut or contents.holes:
                raise DataError(f"{path.name} {contents.damage}")
        return _opened(path, file, contents, is_whole=True)


def salvage_mcap(path: Path) -> tuple[OpenedBag, str]:
    """Find the readable messages of an MCAP file.

    Returns:
        The messages, and what is wrong with the file, as the end of a sentence.

    Raises:
        DataError: the file does not begin like an MCAP file.
    """
    with path.open("rb") as file:
        contents = _walked(file, path)
        return _opened(path, file, contents, is_whole=False), contents.damage


def _opened(path: Path, file: BinaryIO, contents: _Contents, is_whole: bool) -> OpenedBag:
    stretches = sorted(contents.stretches, key=lambda entry: (entry.first_ns, entry.block.offset))
    times = _times(file, contents, stretches)
    if _goes_back(file, contents):  # the clock was set back: the order of recording is the order of time
        stretches = contents.stretches
        times = (time_ns for stretch in stretches for _, time_ns in _messages_of(file, stretch.block, contents))
        is_sorted = False
    else:
        is_sorted = True
    steps = find_steps(times, is_damaged=not is_whole)
    begin_ns, end_ns = (stretches[0].first_ns, max(entry.last_ns for entry in stretches)) if stretches else (0, 0)
    if not is_sorted:
        begin_ns = next(_messages_of(file, stretches[0].block, contents))[1]
        end_ns = [time_ns for _, time_ns in _messages_of(file, stretches[-1].block, contents)][-1]
    totals: dict[tuple[str, str, str], list[int]] = {}
    for key, channel in contents.channels.items():
        encoding = CDR if channel.is_readable else channel.encoding
        total = totals.setdefault((channel.topic, channel.type_name, encoding), [0, 0])
        total[0] += contents.counts[key]
        total[1] += channel.writers
    topics = tuple(
        TopicSummary(topic, type_name, messages, encoding, writers)
        for (topic, type_name, encoding), (messages, writers) in totals.items()
    )

    def read(wanted: Container[str], start_ns: int | None, stop_ns: int | None) -> Iterator[RawMessage]:
        keys = {key for key, channel in contents.channels.items() if channel.topic in wanted}
        chosen = [
            stretch
            for stretch in stretches
            if (stretch.channels is None or not keys.isdisjoint(stretch.channels))
            and (start_ns is None or stretch.last_ns >= start_ns)
            and (stop_ns is None or stretch.first_ns < stop_ns)
        ]
        for message in _read(path, contents.channels, chosen, wanted, is_sorted, is_whole):
            if (start_ns is None or message.stamp_ns >= start_ns) and (stop_ns is None or message.stamp_ns < stop_ns):
                yield message

    return OpenedBag(topics, begin_ns, end_ns, read, steps=steps)


def _read(
    path: Path,
    channels: dict[int, _Channel],
    stretches: list[_Stretch],
    topics: Container[str],
    is_sorted: bool,
    is_whole: bool,
) -> Iterator[RawMessage]:
    """Messages in the order of reception: those of a block wait until no later block can hold an earlier one."""
    waiting: list[tuple[int, int, RawMessage]] = []
    numbers = count()
    found = _Contents(channels=dict(channels))
    with path.open("rb") as file:
        for first_ns, _, block, _ in stretches:
            while is_sorted and waiting and waiting[0][0] < first_ns:
                yield heapq.heappop(waiting)[2]
            for opcode, content in _records_of(file, block, found):
                message = _message(content, found) if opcode == _MESSAGE else None
                if message is None or message.topic not in topics:
                    continue
                if is_sorted:
                    heapq.heappush(waiting, (message.stamp_ns, next(numbers), message))
                else:
                    yield message
            if found.holes and is_whole:
                raise DataError(f"{path.name} is damaged near byte {block.offset}")
    while waiting:
        yield heapq.heappop(waiting)[2]


def _message(content: memoryview, contents: _Contents) -> RawMessage | None:
    """A message that can be read here; None for others, and for damaged ones, which are counted."""
    if len(content) < _MESSAGE_HEAD:
        contents.holes += 1
        return None
    key, _, time_ns, _ = unpack_from("<HIQQ", content)
    channel = contents.channels.get(key)
    if channel is None or time_ns > _MAX_NS:
        contents.holes += 1
        return None
    if not channel.is_readable:
        return None
    data = bytes(content[_MESSAGE_HEAD:])
    if channel.encoding == _ROS1:
        data = ros2_message(data, channel.type_name)
    elif channel.encoding == PROTOBUF_IMAGE:
        data = compressed_image(data)
    return RawMessage(channel.topic, channel.type_name, time_ns, data)


def _times(file: BinaryIO, contents: _Contents, stretches: list[_Stretch]) -> Iterator[int]:
    """Times of reception in order, as many as show each step: a stretch that is long for a chunk is read."""
    newest_ns = 0
    for stretch in stretches:
        times = [stretch.first_ns, stretch.last_ns]
        if stretch.last_ns - stretch.first_ns > FORWARD_NS:
            times = sorted(time_ns for _, time_ns in _messages_of(file, stretch.block, contents))
        for time_ns in times:
            newest_ns = max(newest_ns, time_ns)
            yield newest_ns


def _goes_back(file: BinaryIO, contents: _Contents) -> bool:
    """Whether the images of one channel go back in time in the order of the file."""
    end_ns, suspicious = 0, contents.stretches
    for stretch in contents.stretches:
        if stretch.first_ns < end_ns - BACKWARD_NS or stretch.last_ns - stretch.first_ns > FORWARD_NS:
            break
        end_ns = max(end_ns, stretch.last_ns)
    else:
        suspicious = contents.stretches[-1:]  # in an earlier one it would show in the next
    # A file may also be written topic by topic, so only each message shows it.
    images = {key for key, channel in contents.channels.items() if is_image(channel.type_name)}
    last_ns: dict[int, int] = {}
    for stretch in suspicious:
        for key, time_ns in _messages_of(file, stretch.block, contents):
            if key in images:
                if time_ns < last_ns.get(key, 0) - BACKWARD_NS:
                    return True
                last_ns[key] = time_ns
    return False


def _messages_of(file: BinaryIO, block: _Block, contents: _Contents) -> Iterator[tuple[int, int]]:
    """Channel and time of reception of each message of a block."""
    for opcode, content in _records_of(file, block, _Contents(is_cut=contents.is_cut)):
        if opcode == _MESSAGE and len(content) >= _MESSAGE_HEAD:
            key, _, time_ns, _ = unpack_from("<HIQQ", content)
            if key in contents.channels and time_ns <= _MAX_NS:
                yield key, time_ns


def _indexed(file: BinaryIO) -> _Contents | None:
    """What the summary of a file says; None if it has none, or one that does not say enough."""
    end = file.seek(0, 2)
    file.seek(0)
    if file.read(len(_MAGIC)) != _MAGIC or end < len(_MAGIC) + _FOOTER_SIZE:
        return None
    file.seek(end - _FOOTER_SIZE)
    footer = file.read(_FOOTER_SIZE)
    start, _, crc = unpack_from("<QQI", footer, _HEAD)
    size = end - _FOOTER_SIZE - start
    if not footer.endswith(_MAGIC) or footer[0] != _FOOTER or start == 0 or size <= 0:
        return None
    file.seek(start)
    summary = file.read(size)
    if crc and zlib.crc32(summary + footer[: _HEAD + 16]) != crc:
        return None
    contents, chunks, channels = _Contents(), -1, set[int]()
    position = 0
    try:
        while position + _HEAD <= size:
            opcode, length = unpack_from("<BQ", summary, position)
            content = memoryview(summary)[position + _HEAD : position + _HEAD + length]
            position += _HEAD + length
            if opcode == _CHUNK_INDEX:
                first_ns, last_ns, offset, chunk_size, indexes = unpack_from("<QQQQI", content)
                own = frozenset(unpack_from("<HQ", content, 36 + place)[0] for place in range(0, indexes, 10))
                channels |= own
                if (
                    not len(_MAGIC) <= offset < start
                    or offset + chunk_size > start
                    or not first_ns <= last_ns <= _MAX_NS
                    or not own  # not said, or without messages
                ):
                    return None
                block = _Block(_CHUNK, offset + _HEAD, chunk_size - _HEAD)
                contents.stretches.append(_Stretch(first_ns, last_ns, block, own))
            elif opcode == _STATISTICS:
                chunks, stated = unpack_from("<I16xI", content, 22)
                contents.counts = Counter(
                    dict(unpack_from("<HQ", content, 46 + place) for place in range(0, stated, 10))
                )
            else:
                _learn(opcode, content, contents)
    except struct_error:
        return None
    contents.stretches.sort(key=lambda entry: entry.block.offset)
    is_complete = chunks == len(contents.stretches) > 0 and channels | set(contents.counts) <= set(contents.channels)
    return contents if is_complete and position == size else None


def _walked(file: BinaryIO, path: Path) -> _Contents:
    """What all records of a file say. Raises ``DataError`` if it does not begin like an MCAP file."""
    contents = _Contents()
    file.seek(0)
    if file.read(len(_MAGIC)) != _MAGIC:
        raise DataError(f"{path} is no MCAP file: it does not begin as one.")
    for block in _walk(file, contents):
        times = []
        for opcode, content in _records_of(file, block, contents):
            try:
                _learn(opcode, content, contents)
            except struct_error:  # shorter than a record of this kind must be
                contents.holes += 1
                continue
            if opcode != _MESSAGE:
                continue
            key, _, time_ns = unpack_from("<HIQ", content) if len(content) >= _MESSAGE_HEAD else (-1, 0, 0)
            if key not in contents.channels or time_ns > _MAX_NS:
                contents.holes += 1
                continue
            times.append(int(time_ns))
            contents.counts[key] += 1
        if times:
            contents.stretches.append(_Stretch(min(times), max(times), block))
    return contents


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
        return bytes(zstd_library().ZstdDecompressor().decompress(data))
    if compression:
        raise ValueError(compression)
    return data


def _learn(opcode: int, content: memoryview, contents: _Contents) -> None:
    """Remember a schema or a channel."""
    if opcode == _SCHEMA:
        (key,) = unpack_from("<H", content)
        contents.schemas[key] = _text(content, 2)
    elif opcode == _CHANNEL:
        key, schema = unpack_from("<HH", content)
        topic, type_name = _text(content, 4), contents.schemas.get(schema, "")
        place = 8 + unpack_from("<I", content, 4)[0]
        encoding, facts = _text(content, place), content[place + 4 + unpack_from("<I", content, place)[0] :]
        if encoding == _ROS1 and type_name.count("/") == 1:
            type_name = type_name.replace("/", "/msg/")
        if encoding == PROTOBUF and type_name == PROTOBUF_IMAGE:
            type_name, encoding = FOXGLOVE_IMAGES[0], PROTOBUF_IMAGE  # read as its message of ROS 2
        # One writer is no evidence: tools that write MCAP have one channel for a topic, whoever published.
        contents.channels[key] = _Channel(
            topic, type_name, encoding, count_profiles(str(bytes(facts), "utf-8", "replace"))
        )


def _text(content: memoryview, offset: int) -> str:
    (length,) = unpack_from("<I", content, offset)
    return bytes(content[offset + 4 : offset + 4 + length]).decode("utf-8", "replace")


def _is_opcode(opcode: int) -> bool:
    """Opcodes of the format, and those that it reserves for others."""
    return 0 < opcode <= _DATA_END or opcode >= 0x80
