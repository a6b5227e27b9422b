"""A bag that is open for reading, whatever its format and whether it is whole or damaged."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass

#: Serialisation of the messages of ROS 2. Messages of ROS 1 are converted to it.
CDR = "cdr"


@dataclass(frozen=True)
class RawMessage:
    """One message as recorded, not decoded."""

    topic: str
    type_name: str  # in ROS 2 notation, such as ``sensor_msgs/msg/Image``
    stamp_ns: int  # time at which the recorder received the message
    data: bytes  # serialised (CDR)


@dataclass(frozen=True)
class TopicSummary:
    """One topic of a bag, its type, and how many messages it should hold. A topic of two types has a summary for each."""

    topic: str
    type_name: str
    messages: int
    encoding: str = CDR  # serialisation; messages of any but CDR cannot be read here
    writers: int = 0  # publishers that the recorder saw; 0 = not known

    @property
    def shown_type(self) -> str:
        """The type for people, with a serialisation that is not of ROS."""
        return (
            self.type_name if self.encoding == CDR else f"{self.type_name or 'no type'} ({self.encoding or 'unknown'})"
        )


@dataclass(frozen=True)
class ClockStep:
    """Where the recorder's clock was set, or the recording was paused: no time of driving lies between the two messages."""

    before_ns: int  # reception of the last message before it
    after_ns: int  # reception of the first message after it

    @property
    def size_s(self) -> float:
        """Seconds from one message to the next; negative if the clock was set back."""
        return (self.after_ns - self.before_ns) / 1e9


#: Starts an iteration over the messages of some topics, received from ``start_ns`` until before ``stop_ns``.
ReadMessages = Callable[[Container[str], int | None, int | None], Iterator[RawMessage]]


@dataclass(frozen=True)
class OpenedBag:
    """A bag that is open for reading. Messages of other encodings than CDR are counted, and not read."""

    topics: tuple[TopicSummary, ...]
    begin_ns: int  # reception of the first message that is read; 0 in an empty bag
    end_ns: int  # of the last; 0 in an empty bag
    read: ReadMessages  # in order of reception; where the clock was set back, in the order of recording
    damage: str = ""  # as in ``BagInfo``
    steps: tuple[ClockStep, ...] = ()  # in the order of reading


def limit_time(read_all: Callable[[Container[str]], Iterator[RawMessage]]) -> ReadMessages:
    """Add a time range to a reader that only reads from begin to end."""

    def read(topics: Container[str], start_ns: int | None, stop_ns: int | None) -> Iterator[RawMessage]:
        for message in read_all(topics):
            if (start_ns is None or message.stamp_ns >= start_ns) and (stop_ns is None or message.stamp_ns < stop_ns):
                yield message

    return read
