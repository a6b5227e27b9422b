"""Records what the nodes of the monitor publish, as it was serialised."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from ..errors import DataError
from .player import message_class
from .raw_bag import RawBagWriter

_DIAGNOSTICS, _IMAGE = "diagnostic_msgs/msg/DiagnosticArray", "sensor_msgs/msg/Image"
#: Last part of a topic, and its type; whatever namespace and name the nodes have.
OUTPUTS = {
    "ood_alarm": _DIAGNOSTICS,
    "ood_score": "std_msgs/msg/Float64",
    "state": _DIAGNOSTICS,
    "stop": "std_msgs/msg/Bool",
    "diagnostics": _DIAGNOSTICS,
}
PICTURES = ("segmentation", "confidence", "overlay", "anomaly_map")
#: How often new topics are looked for.
_LOOK_S = 0.2
_SETTLE_S = 0.5


class OutputRecorder(Node):
    """Subscribes to every output that there is, and to those that appear later; to be spun in a thread of its own.

    Args:
        path: folder to create.
        pictures: of ``PICTURES``, those wanted.
        clock_ns: stamps what arrives; what arrives while it is 0 is left out.
        leave_out: topics that are no output, whatever they are called.

    Raises:
        DataError: the folder cannot be made.
    """

    def __init__(
        self,
        path: Path,
        pictures: Collection[str],
        clock_ns: Callable[[], int],
        leave_out: Collection[str] = (),
        **options: Any,
    ) -> None:
        self._bag = RawBagWriter(path)
        super().__init__("ls_ood_recorder", **options)
        self._wanted = {**OUTPUTS, **dict.fromkeys(pictures, _IMAGE)}
        self._clock_ns, self._leave_out = clock_ns, frozenset(leave_out)
        self._is_recording = False
        self._failure = ""
        self._heard: set[str] = set()
        self._found = time.monotonic()
        self.counts: Counter[str] = Counter()
        self._timer = self.create_timer(_LOOK_S, self._look)

    def is_ready(self) -> bool:
        """Whether an alarm was found, and the last output long enough ago for both sides of DDS to know of each other."""
        has_alarm = any(topic.rsplit("/", 1)[-1] == "ood_alarm" for topic in self._heard)
        return has_alarm and time.monotonic() - self._found > _SETTLE_S

    def begin(self) -> None:
        """Record from now on."""
        self._is_recording = True

    def check(self) -> None:
        """Raise ``DataError`` once something could not be written."""
        if self._failure:
            raise DataError(self._failure)

    def close(self) -> None:
        """Finish the recording, or remove it if it was never begun; nobody may spin the node any more. Raises ``DataError``."""
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

    def _look(self) -> None:
        for topic, types in self.get_topic_names_and_types():
            kind = self._wanted.get(topic.rsplit("/", 1)[-1])
            if kind in types and topic not in self._heard and topic not in self._leave_out:
                self._listen(topic, kind)

    def _listen(self, topic: str, kind: str) -> None:
        offered = [end.qos_profile for end in self.get_publishers_info_by_topic(topic)]
        if not offered:  # subscribed to, but nobody publishes it yet
            return
        is_reliable = all(one.reliability is ReliabilityPolicy.RELIABLE for one in offered)
        profile = QoSProfile(
            depth=10 if kind == _IMAGE else 200,
            reliability=ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT,
        )

        def receive(data: bytes) -> None:
            self._write(topic, kind, data, offered[0])

        self.create_subscription(message_class(kind), topic, receive, profile, raw=True)
        self._heard.add(topic)
        self._found = time.monotonic()

    def _write(self, topic: str, kind: str, data: bytes, offered: QoSProfile) -> None:
        stamp_ns = self._clock_ns()
        if not self._is_recording or stamp_ns <= 0 or self._failure:
            return
        try:
            self._bag.write(topic, kind, stamp_ns, bytes(data), offered)
        except (
            Exception
        ) as error:  # whatever it is must not end the thread that listens, and pass for a whole recording
            reason = getattr(error, "strerror", None) or error or repr(error)
            self._failure = f"recording {self._bag.path} ended early: {reason}."
            return
        self.counts[topic] += 1
