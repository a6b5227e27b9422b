"""Reading a bag that is whole, through the ``rosbags`` library."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rosbags import rosbag1
from rosbags.rosbag2 import Reader

from ...errors import DataError
from .files import is_ros1, storage_files
from .image_messages import typestore
from .opened import OpenedBag, RawMessage, TopicSummary
from .salvage_sqlite import ends_with_a_page


def open_whole_bag(bag: Path, stack: ExitStack) -> OpenedBag:
    """Open a bag; ``stack`` closes it. Of ROS 1, only topics whose type also exists in ROS 2 are kept.

    Raises:
        DataError: the bag is damaged, as far as opening it shows. Damage that only reading shows is raised by ``read``.
    """
    for storage in storage_files(bag):
        if storage.suffix == ".db3" and not ends_with_a_page(storage):
            raise _damaged(bag, DataError(f"{storage.name} ends within a page"))
    try:
        reader = rosbag1.Reader(bag) if is_ros1(bag) else Reader(bag)
        reader.open()
    # A damaged file raises whatever error the storage library meets first; they share no base class.
    except Exception as error:
        raise _damaged(bag, error) from error
    stack.callback(reader.close)
    topics = [TopicSummary(name, entry.msgtype or "", entry.msgcount) for name, entry in reader.topics.items()]
    if is_ros1(bag):
        topics = [entry for entry in topics if entry.type_name in typestore().types]
    # rosbags' end_time is one nanosecond past the last message.
    begin_ns = reader.start_time if reader.message_count else 0
    end_ns = max(begin_ns, reader.end_time - 1) if reader.message_count else 0
    return OpenedBag(tuple(topics), begin_ns, end_ns, partial(_messages, bag, reader))


def _messages(
    bag: Path, reader: Reader | rosbag1.Reader, topics: Container[str], start_ns: int | None, stop_ns: int | None
) -> Iterator[RawMessage]:
    connections = [entry for entry in reader.connections if entry.topic in topics]
    if not connections:
        return
    messages = reader.messages(connections, start_ns, stop_ns)
    while True:
        try:
            connection, stamp_ns, data = next(messages)
            if isinstance(reader, rosbag1.Reader):
                data = bytes(typestore().ros1_to_cdr(data, connection.msgtype))
        except StopIteration:
            return
        # As in open_whole_bag: the storage libraries share no error class.
        except Exception as error:
            raise _damaged(bag, error) from error
        yield RawMessage(connection.topic, connection.msgtype, stamp_ns, bytes(data))


def _damaged(bag: Path, error: Exception) -> DataError:
    text = str(error).replace("('", "").replace("',)", "")  # rosbags puts the arguments of one error into another
    detail = " ".join(text.split()).rstrip(".") or "its parts do not fit together"
    tool = "rosbag reindex" if is_ros1(bag) else "ros2 bag reindex"
    return DataError(f"Bag {bag} is truncated or damaged ({detail}); copy it again or run '{tool} {bag}'.")
