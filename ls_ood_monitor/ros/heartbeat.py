"""Perception's sign of life, watched by DDS itself; beside the supervisor's own clock, not instead of it.

DDS connects a publisher and a subscriber only if the one offers what the other requests. Requesting liveliness of the
alarm would make every foreign publisher with default settings inaudible, so the sign of life has a topic of its own
beside the alarm: ``<alarm topic>/alive`` (std_msgs/Empty, ten times a second). Who does not send it is judged by the
alarm alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import LivelinessPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Empty

#: A live process asserts itself so often; the middleware's own threads do, whatever Python is at.
_OFFERED_LEASE_S = 0.2
#: Five beats: a process whose callbacks are stuck still asserts its liveliness, but misses this.
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
    """Tells when a process that sent a sign of life is not alive any more, and when a deadline was missed.

    Args:
        node: that listens.
        alarm_topic: fully resolved.
        lease_s: time without a sign of life after which a process is taken for dead, seconds; 0.2, as offered, at least.
        on_gone: called when one is gone.
        on_late: called with the number of deadlines missed so far.
    """

    def __init__(
        self, node: Node, alarm_topic: str, lease_s: float, on_gone: Callable[[], None], on_late: Callable[[int], None]
    ) -> None:
        self._on_gone = on_gone
        callbacks = SubscriptionEventCallbacks(
            liveliness=self._liveliness, deadline=lambda event: on_late(event.total_count)
        )
        self._subscription = node.create_subscription(
            Empty, alive_topic(alarm_topic), lambda message: None, _profile(lease_s), event_callbacks=callbacks
        )

    def _liveliness(self, event: Any) -> None:
        if event.alive_count_change < 0:  # one of several is gone: which cameras were its own is not told
            self._on_gone()
