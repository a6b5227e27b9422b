"""The time of a recording that is played, and /clock, which nodes with use_sim_time follow."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import isfinite
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from ..errors import ConfigError, DataError
from .conversions import ns_to_stamp

CLOCK_TOPIC = "/clock"
#: Period of /clock, seconds; that of 'ros2 bag play --clock 100'.
_TICK_S = 0.01
#: Pause between the clock's start, or its jump back, and the first message, which could otherwise arrive first, seconds.
_SETTLE_S = 0.1


class BagClock:
    """Time that passes at a rate of its own once it is started.

    Args:
        rate: 2.0 = twice as fast.
        publish: called with the time (ns) a hundred times a second during a wait; None = not published.

    Raises:
        ConfigError: the rate is not a number above 0.
    """

    def __init__(self, rate: float = 1.0, publish: Callable[[int], None] | None = None) -> None:
        if not (rate > 0.0 and isfinite(rate)):
            raise ConfigError(f"rate is {rate}; it must be a number larger than 0.")
        self._rate, self._publish = rate, publish
        self._begin: tuple[int, float] | None = None
        self._published_s = 0.0

    def start(self, bag_ns: int) -> None:
        """Set the time to ``bag_ns``; a later call makes it jump."""
        self._begin = (bag_ns, time.monotonic() + (_SETTLE_S if self._publish is not None else 0.0))
        self._publish_now()

    def now_ns(self, ago_ns: int = 0) -> int:
        """Time of the recording, now or ``ago_ns`` real nanoseconds ago; 0 until it is started, and never before its start."""
        return 0 if self._begin is None else self._begin[0] + max(0, self._passed_ns(self._begin[1], ago_ns))

    def wait_until(self, bag_ns: int) -> None:
        """Sleep until a time of the recording. The clock must have been started."""
        if self._begin is None:
            raise RuntimeError("the clock was not started.")
        first_ns, started = self._begin
        while (left_s := (bag_ns - first_ns - self._passed_ns(started)) / 1e9 / self._rate) > 0.0:
            tick_s = self._published_s + _TICK_S - time.monotonic() if self._publish is not None else left_s
            time.sleep(max(0.0, min(left_s, tick_s)))
            self._publish_if_due()
        self._publish_if_due()

    def go_on(self, seconds: float) -> None:
        """Let real seconds pass, for the effects of the last message."""
        self.wait_until(self.now_ns() + round(seconds * self._rate * 1e9))

    def _passed_ns(self, started: float, ago_ns: int = 0) -> int:
        return round((time.monotonic() - ago_ns / 1e9 - started) * self._rate * 1e9)

    def _publish_if_due(self) -> None:
        if time.monotonic() - self._published_s >= _TICK_S:
            self._publish_now()

    def _publish_now(self) -> None:
        if self._publish is not None:
            self._published_s = time.monotonic()
            self._publish(self.now_ns())


def clock_publisher(node: Node) -> Publisher[Any]:
    """Publisher of /clock; reliable, which best-effort subscribers accept, too."""
    return node.create_publisher(Clock, CLOCK_TOPIC, QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE))


def clock_message(bag_ns: int) -> Clock:
    """rosgraph_msgs/Clock of a time in nanoseconds."""
    return Clock(clock=ns_to_stamp(bag_ns))


def check_only_clock(node: Node) -> None:
    """Raise ``DataError`` if another node publishes /clock, too: time would jump back and forth."""
    if (others := node.count_publishers(CLOCK_TOPIC) - 1) > 0:
        raise DataError(
            f"{CLOCK_TOPIC} has {others} other publishers; end them (another player, a simulator), or play without --clock."
        )
