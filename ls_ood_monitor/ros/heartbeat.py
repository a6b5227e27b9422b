"""Perception's sign of life, which DDS itself watches, in addition to the supervisor's own timeouts.

DDS connects a subscriber only to publishers that offer what it requests. If the supervisor requested liveliness of the
alarm, it could not hear a foreign publisher with default settings. So the sign of life has a topic of its own:
``<alarm topic>/alive`` (std_msgs/Empty, ten times a second). A sender without it is judged by its alarm alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import LivelinessPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Empty

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # humble has them elsewhere
    from rclpy.qos_event import SubscriptionEventCallbacks

#: Lease of the publisher, seconds. The middleware's own threads assert it, also while Python is busy.
_OFFERED_LEASE_S = 0.2
#: Five beats, seconds. A process whose callbacks are stuck still asserts its liveliness, but misses this deadline.
_DEADLINE_S = 0.5


def _profile(lease_s: float) -> QoSProfile:
    return QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        liveliness=LivelinessPolicy.AUTOMATIC,
        liveliness_lease_duration=Duration(seconds=lease_s),
        deadline=Duration(seconds=_DEADLINE_S),
    )


def alive_topic(alarm_topic: str) -> str:
    """Topic of the sign of life that goes with an alarm topic."""
    return f"{alarm_topic}/alive"


def heartbeat_publisher(node: Node, alarm_topic: str) -> Publisher[Any]:
    """A publisher of the sign of life; ``publish(Empty())`` must be called ten times a second."""
    return node.create_publisher(Empty, alive_topic(alarm_topic), _profile(_OFFERED_LEASE_S))


class HeartbeatWatch:
    """Reports a process whose sign of life has ended, and missed deadlines.

    Args:
        node: owns the subscription.
        alarm_topic: fully resolved.
        lease_s: time without a sign of life after which a process counts as dead, seconds; at least 0.2, as offered.
        on_gone: called when a process is dead.
        on_late: called at the first deadline that is missed in a row, with the number of missed ones so far.
    """

    def __init__(
        self, node: Node, alarm_topic: str, lease_s: float, on_gone: Callable[[], None], on_late: Callable[[int], None]
    ) -> None:
        self._on_gone, self._on_late, self._is_late = on_gone, on_late, False
        callbacks = SubscriptionEventCallbacks(liveliness=self._liveliness, deadline=self._deadline)
        self._subscription = node.create_subscription(
            Empty, alive_topic(alarm_topic), self._on_beat, _profile(lease_s), event_callbacks=callbacks
        )

    def _on_beat(self, _message: Empty) -> None:
        self._is_late = False

    def _deadline(self, event: Any) -> None:
        if not self._is_late:  # once until the next beat
            self._is_late = True
            self._on_late(event.total_count)

    def _liveliness(self, event: Any) -> None:
        if event.alive_count_change < 0:  # DDS does not say which process it was
            self._on_gone()
