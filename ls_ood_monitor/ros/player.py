"""Publishes recorded messages over DDS in real time, in their serialised form."""

from __future__ import annotations

import importlib
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy

from ..errors import DataError
from .bag_clock import CLOCK_TOPIC, BagClock

_CURE = "check the perception node's cameras and transport, and ROS_DOMAIN_ID"


class Recorded(Protocol):
    """One message of a recording."""

    @property
    def topic(self) -> str:
        """Topic name."""

    @property
    def type_name(self) -> str:
        """Type, such as ``sensor_msgs/msg/Image``."""

    @property
    def stamp_ns(self) -> int:
        """Time of recording, nanoseconds."""

    @property
    def data(self) -> bytes:
        """Serialised message, CDR."""


#: Types that begin with std_msgs/Header: the stamp follows the four bytes of CDR encapsulation.
_STAMPED = frozenset(
    {"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "diagnostic_msgs/msg/DiagnosticArray"}
)


def message_class(type_name: str) -> type[Any]:
    """``sensor_msgs/msg/Image`` -> the class. Raises ``DataError`` when the package is not installed."""
    package, _, name = type_name.split("/")
    try:
        message_type: type[Any] = getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise DataError(
            f"message type {type_name} is not installed here; install package {package} or leave its topic out."
        ) from error
    return message_type


def make_publishers(node: Node, topics: Mapping[str, str]) -> dict[str, Publisher[Any]]:
    """One publisher for each topic -> type. They are reliable, which best-effort subscribers accept, too."""
    profile = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
    return {
        topic: node.create_publisher(message_class(type_name), topic, profile) for topic, type_name in topics.items()
    }


def wait_for_subscribers(publishers: Mapping[str, Publisher[Any]], timeout_s: float) -> None:
    """Return once every topic has a subscriber. Raises ``DataError``, which names those without one, after the timeout."""
    deadline = time.monotonic() + timeout_s
    while missing := [topic for topic, publisher in publishers.items() if publisher.get_subscription_count() == 0]:
        if time.monotonic() > deadline:
            cure = "start the nodes with use_sim_time:=true" if missing == [CLOCK_TOPIC] else _CURE
            raise DataError(f"nobody subscribed to {', '.join(missing)} within {timeout_s:g} s; {cure}.")
        time.sleep(0.02)


def play(
    messages: Iterable[Recorded],
    publishers: Mapping[str, Publisher[Any]],
    *,
    clock: BagClock | None = None,
    restamp: bool = False,
    on_message: Callable[[Recorded, float], None] | None = None,
) -> None:
    """Publish each message at its recorded time after the first.

    Args:
        messages: in the order of recording; those without a publisher are skipped.
        publishers: from ``make_publishers``.
        clock: paces the playing; None = real time.
        restamp: write the present time into the header of image messages.
        on_message: called after each with the message and its time in the recording, seconds.
    """
    clock = clock if clock is not None else BagClock()
    first_ns: int | None = None
    for message in messages:
        publisher = publishers.get(message.topic)
        if publisher is None:
            continue
        if first_ns is None:
            first_ns = message.stamp_ns
            clock.start(first_ns)
        clock.wait_until(message.stamp_ns)
        data = _restamped(message.data, time.time_ns()) if restamp and message.type_name in _STAMPED else message.data
        publisher.publish(data)
        if on_message is not None:
            on_message(message, (message.stamp_ns - first_ns) / 1e9)


def _restamped(data: bytes, now_ns: int) -> bytes:
    order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
    return data[:4] + struct.pack(f"{order}iI", seconds, nanoseconds) + data[12:]
