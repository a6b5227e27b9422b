"""Records what the nodes of the monitor publish, in its serialised form."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Empty

from ..errors import DataError
from .heartbeat import alive_topic
from .output_counts import OutputCounts, last_part
from .player import message_class
from .raw_bag import RawBagWriter, load_types

_DIAGNOSTICS, _IMAGE = "diagnostic_msgs/msg/DiagnosticArray", "sensor_msgs/msg/Image"
#: Last part of a topic's name -> type; namespace and node name do not matter.
OUTPUTS = {
    "ood_alarm": _DIAGNOSTICS,
    "ood_score": "std_msgs/msg/Float64",
    "state": _DIAGNOSTICS,
    "stop": "std_msgs/msg/Bool",
    "diagnostics": _DIAGNOSTICS,
}
#: Period of the search for new topics, seconds.
_SEARCH_PERIOD_S = 0.2
#: Time to wait for nodes that send no sign of life, seconds.
_SETTLE_S = 3.0
#: Queue while this process is busy: some seconds of everything that four fast cameras cause.
_DEPTH, _IMAGE_DEPTH = 2000, 10
#: A longer wait in the queue, or a negative one, means that a clock was set.
_MAX_WAIT_NS = 60_000_000_000


class OutputRecorder(Node):
    """Subscribes to every output that exists or appears later; must be spun in a thread of its own.

    Args:
        path: folder to create.
        pictures: names of ``PICTURES`` to record, too.
        clock_ns: the time a number of real nanoseconds ago, which stamps messages; those that it gives 0 are not recorded.
        leave_out: topics that are not recorded, whatever their name.

    Attributes:
        counts: of the recorded messages.

    Raises:
        DataError: the folder cannot be made.
    """

    def __init__(
        self,
        path: Path,
        pictures: Collection[str],
        clock_ns: Callable[[int], int],
        leave_out: Collection[str] = (),
        **options: Any,
    ) -> None:
        load_types()  # takes tenths of a second, which the first messages would have to wait
        self._bag = RawBagWriter(path)
        super().__init__("ls_ood_recorder", **options)
        self._wanted = {**OUTPUTS, **dict.fromkeys(pictures, _IMAGE)}
        self._clock_ns, self._leave_out = clock_ns, frozenset(leave_out)
        self._is_recording = False
        self._failure = ""
        self._subscribed: set[str] = set()
        self._last_found = time.monotonic()
        self._probes: dict[str, Any] = {}  # alarm topic -> subscription to its sign of life
        self._alive: set[str] = set()
        self.counts = OutputCounts()
        self._timer = self.create_timer(_SEARCH_PERIOD_S, self._search)

    def is_ready(self) -> bool:
        """Whether an alarm topic was found, and every node that sends alarms knows all subscriptions so far."""
        has_settled = time.monotonic() - self._last_found > _SETTLE_S
        return bool(self._probes) and (self._alive >= set(self._probes) or has_settled)

    def begin(self) -> None:
        """Record from now on."""
        self._is_recording = True

    def check(self) -> None:
        """Raise ``DataError`` if a message could not be written."""
        if self._failure:
            raise DataError(self._failure)

    def close(self) -> None:
        """Finish the recording, or remove it if it was never begun. The node must not be spun any more.

        Raises:
            DataError: the recording is not complete.
        """
        if not self._is_recording:
            self._bag.abort()
            shutil.rmtree(self._bag.path, ignore_errors=True)
            return
        self._is_recording = False
        try:
            self._bag.close()
        except OSError as error:
            raise DataError(f"recording {self._bag.path} cannot be finished: {error.strerror or error}.") from error
        self.check()

    def _search(self) -> None:
        known = len(self._subscribed)
        for topic, types in self.get_topic_names_and_types():
            type_name = self._wanted.get(last_part(topic))
            is_new = topic not in self._subscribed and topic not in self._leave_out
            if type_name is not None and type_name in types and is_new:
                self._subscribe(topic, type_name)
        if len(self._subscribed) > known:
            self._last_found = time.monotonic()
            self._probe()

    def _subscribe(self, topic: str, type_name: str) -> None:
        offered = [endpoint.qos_profile for endpoint in self.get_publishers_info_by_topic(topic)]
        if not offered:  # somebody subscribes to it, but nobody publishes it yet
            return
        is_reliable = all(profile.reliability is ReliabilityPolicy.RELIABLE for profile in offered)
        profile = QoSProfile(
            depth=_IMAGE_DEPTH if type_name == _IMAGE else _DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT,
        )

        # rclpy recognises by the two parameters that it has to pass the message's info.
        def receive(data: Any, info: Any) -> None:
            self._write(topic, type_name, bytes(data), time.time_ns() - info["received_timestamp"], offered[0])

        self.create_subscription(message_class(type_name), topic, receive, profile, raw=True)
        self._subscribed.add(topic)
        self.counts.expect(topic)

    def _probe(self) -> None:
        """Subscribe to the signs of life again, and wait for the next ones.

        DDS tells a publishing process of subscriptions in their order: a process that sends to the last one knows those
        before. A score sent earlier would be lost, and on a busy machine no fixed waiting time is long enough.
        """
        alive: set[str] = set()  # a new set: an old probe may still add to the old one
        self._alive = alive
        for probe in self._probes.values():
            self.destroy_subscription(probe)

        def probe_of(alarm_topic: str) -> Any:
            return self.create_subscription(Empty, alive_topic(alarm_topic), lambda _message: alive.add(alarm_topic), 1)

        self._probes = {topic: probe_of(topic) for topic in self._subscribed if last_part(topic) == "ood_alarm"}

    def _write(self, topic: str, type_name: str, data: bytes, waited_ns: int, offered: QoSProfile) -> None:
        """Record a message that waited ``waited_ns`` in the queue."""
        if last_part(topic) == "diagnostics":
            self.counts.add_diagnostics(data, self._is_recording)
        stamp_ns = self._clock_ns(waited_ns if 0 <= waited_ns < _MAX_WAIT_NS else 0)
        if not self._is_recording or stamp_ns <= 0 or self._failure:
            return
        try:
            self._bag.write(topic, type_name, stamp_ns, data, offered)
        except Exception as error:  # the thread must go on, and the recording must not pass for complete
            reason = getattr(error, "strerror", None) or error or repr(error)
            self._failure = f"recording {self._bag.path} ended early: {reason}."
            return
        self.counts.add(topic, data)
