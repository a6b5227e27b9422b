"""A bag that is open for reading, whatever its format and whether it is whole or damaged."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class RawMessage:
    """One message as recorded, not decoded."""

    topic: str
    type_name: str  # in ROS 2 notation, such as ``sensor_msgs/msg/Image``
    stamp_ns: int  # time at which the recorder received the message
    data: bytes  # serialised (CDR)


@dataclass(frozen=True)
class TopicSummary:
    """One topic of a bag, its type, and how many messages it should hold."""

    topic: str
    type_name: str
    messages: int


#: Starts an iteration over the messages of some topics, received from ``start_ns`` until before ``stop_ns``.
ReadMessages = Callable[[Container[str], int | None, int | None], Iterator[RawMessage]]


@dataclass(frozen=True)
class OpenedBag:
    """A bag that is open for reading."""

    topics: tuple[TopicSummary, ...]
    begin_ns: int  # first reception; 0 in an empty bag
    end_ns: int  # last reception; 0 in an empty bag
    read: ReadMessages  # in order of reception
    damage: str = ""  # as in ``BagInfo``


def limit_time(read_all: Callable[[Container[str]], Iterator[RawMessage]]) -> ReadMessages:
    """Add a time range to a reader that only reads from begin to end."""

    def read(topics: Container[str], start_ns: int | None, stop_ns: int | None) -> Iterator[RawMessage]:
        for message in read_all(topics):
            if (start_ns is None or message.stamp_ns >= start_ns) and (stop_ns is None or message.stamp_ns < stop_ns):
                yield message

    return read
