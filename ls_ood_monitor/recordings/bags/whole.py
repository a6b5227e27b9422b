"""Reading a bag that is whole: ROS 2 by its storage files, ROS 1 through the ``rosbags`` library.

A ROS 2 bag is what its storage files hold. Of metadata.yaml only the names of the files and the counts are used, so an
edited or outdated entry (QoS, storage) hides no message.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rosbags import rosbag1

from ...errors import DataError
from .clock_steps import find_steps, join_steps
from .files import TopicKey, find_files, is_packed, is_ros1, storage_suffix
from .image_messages import is_known, typestore
from .mcap_files import open_mcap
from .opened import CDR, OpenedBag, RawMessage, TopicSummary
from .ros1_files import count_indexes
from .sqlite_files import open_sqlite
from .unpacking import unpack_file, unpack_messages


def open_whole_bag(bag: Path, stack: ExitStack) -> OpenedBag:
    """Open a bag; ``stack`` closes it.

    Raises:
        DataError: the bag is damaged, as far as opening it shows. Damage that only reading shows is raised by ``read``.
    """
    if is_ros1(bag):
        return _open_ros1(bag, stack)
    files = find_files(bag)
    try:
        if files.metadata_fault:
            raise DataError(files.metadata_fault)
        if files.missing:
            raise DataError(f"it lacks {', '.join(files.missing)}")
        parts = [open_storage(storage, stack) for storage in files.storages]
    except DataError as error:
        raise _damaged(bag, error) from error
    opened = join_parts(parts, files.expected)
    opened = unpack_messages(opened) if files.has_packed_messages else opened

    def read(topics: Container[str], start_ns: int | None, stop_ns: int | None) -> Iterator[RawMessage]:
        try:
            yield from opened.read(topics, start_ns, stop_ns)
        except DataError as error:
            raise _damaged(bag, error) from error

    return OpenedBag(opened.topics, opened.begin_ns, opened.end_ns, read, opened.damage, opened.steps)


def open_storage(storage: Path, stack: ExitStack) -> OpenedBag:
    """Open one whole storage file, packed or not, or a bag of ROS 1. Raises ``DataError``."""
    if is_ros1(storage):
        return _open_ros1(storage, stack)
    suffix = storage_suffix(storage)
    if is_packed(storage):
        storage = unpack_file(storage, stack)
    return open_mcap(storage) if suffix == ".mcap" else open_sqlite(storage, stack)


def join_parts(parts: Sequence[OpenedBag], expected: Mapping[TopicKey, int], is_damaged: bool = False) -> OpenedBag:
    """The storage files of a bag, one after the other; ``expected`` messages count where there are fewer."""
    totals: dict[TopicKey, list[int]] = {}
    for part in parts:
        for topic in part.topics:
            total = totals.setdefault((topic.topic, topic.type_name, topic.encoding), [0, 0])
            total[0] += topic.messages
            total[1] = max(total[1], topic.writers)
    for key in expected:
        totals.setdefault(key, [0, 0])
    topics = tuple(
        TopicSummary(key[0], key[1], max(count, expected.get(key, 0)), key[2], writers)
        for key, (count, writers) in totals.items()
    )
    filled = [part for part in parts if part.begin_ns or part.end_ns]
    begin_ns, end_ns = (filled[0].begin_ns, filled[-1].end_ns) if filled else (0, 0)

    def read(wanted: Container[str], start_ns: int | None, stop_ns: int | None) -> Iterator[RawMessage]:
        for part in filled:
            yield from part.read(wanted, start_ns, stop_ns)

    damage = " ".join(part.damage for part in parts if part.damage)
    return OpenedBag(topics, begin_ns, end_ns, read, damage, join_steps(filled, is_damaged))


def _open_ros1(bag: Path, stack: ExitStack) -> OpenedBag:
    try:
        reader = rosbag1.Reader(bag)
        reader.open()
        stack.callback(reader.close)
        _check_ros1_index(bag, reader)
        topics = _ros1_topics(reader)
        # rosbags' end_time is one nanosecond past the last message.
        begin_ns = reader.start_time if reader.message_count else 0
        end_ns = max(begin_ns, reader.end_time - 1) if reader.message_count else 0
        times = heapq.merge(*([entry.time for entry in index] for index in reader.indexes.values()))
        steps = find_steps(times)
    # A damaged file raises whatever error the library meets first; they share no base class.
    except Exception as error:
        raise _damaged(bag, error) from error
    return OpenedBag(topics, begin_ns, end_ns, partial(_ros1_messages, bag, reader), steps=steps)


def _check_ros1_index(bag: Path, reader: rosbag1.Reader) -> None:
    """Raise ``DataError`` where what a bag states twice differs: messages by topic and chunk."""
    stated: Counter[int] = Counter()
    for chunk in reader.chunk_infos:
        stated.update(chunk.connection_counts)
    if +stated != +Counter({entry.id: entry.msgcount for entry in reader.connections}):
        raise DataError("its index contradicts itself")
    # A topic without messages is rare; that its messages are not indexed is seen in the records behind each chunk.
    if any(not entry.msgcount for entry in reader.connections):
        stated_indexes = {chunk.pos: len(chunk.connection_counts) for chunk in reader.chunk_infos}
        if stated_indexes != count_indexes(bag, stated_indexes):
            raise DataError("its index does not name all topics of its chunks")


def _ros1_topics(reader: rosbag1.Reader) -> tuple[TopicSummary, ...]:
    """Topics by type; those whose type ROS 2 does not have cannot be converted."""
    counts: Counter[tuple[str, str]] = Counter()
    writers: dict[tuple[str, str], set[str]] = {}
    for entry in reader.connections:
        key = (entry.topic, entry.msgtype)
        counts[key] += entry.msgcount
        writers.setdefault(key, set()).add(getattr(entry.ext, "callerid", None) or "")
    return tuple(
        TopicSummary(*key, count, CDR if is_known(key[1]) else "ros1", len(writers[key] - {""}))
        for key, count in counts.items()
    )


def _ros1_messages(
    bag: Path, reader: rosbag1.Reader, topics: Container[str], start_ns: int | None, stop_ns: int | None
) -> Iterator[RawMessage]:
    connections = [entry for entry in reader.connections if entry.topic in topics and is_known(entry.msgtype)]
    if not connections:
        return
    messages = reader.messages(connections, start_ns, stop_ns)
    while True:
        try:
            connection, stamp_ns, data = next(messages)
            data = bytes(typestore().ros1_to_cdr(data, connection.msgtype))
        except StopIteration:
            return
        # As in _open_ros1: the library's errors share no base class.
        except Exception as error:
            raise _damaged(bag, error) from error
        yield RawMessage(connection.topic, connection.msgtype, stamp_ns, data)


def _damaged(bag: Path, error: Exception) -> DataError:
    text = str(error).replace("('", "").replace("',)", "")  # rosbags puts the arguments of one error into another
    detail = " ".join(text.split()).rstrip(".") or "its parts do not fit together"
    tool = "rosbag reindex" if is_ros1(bag) else "ros2 bag reindex"
    return DataError(f"Bag {bag} is truncated or damaged ({detail}); copy it again or run '{tool} {bag}'.")
