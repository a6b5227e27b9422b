"""Records what the nodes of the monitor publish, as it was serialised."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from std_msgs.msg import Empty

from ..errors import DataError
from .conversions import alarms_of, judged_cameras, values_of
from .heartbeat import alive_topic
from .player import message_class
from .raw_bag import RawBagWriter, load_types

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
#: For nodes that send no sign of life.
_SETTLE_S = 3.0
#: What waits while this process has no time for it: seconds of everything that four fast cameras say.
_DEPTH, _IMAGES = 2000, 10
#: A wait that is longer, or negative, is a clock that was set anew.
_MAX_WAIT_NS = 60_000_000_000


class OutputRecorder(Node):
    """Subscribes to every output that there is, and to those that appear later; to be spun in a thread of its own.

    Args:
        path: folder to create.
        pictures: of ``PICTURES``, those wanted.
        clock_ns: the time so many real nanoseconds ago, which stamps what arrived then; what it gives 0 is left out.
        leave_out: topics that are no output, whatever they are called.

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
        load_types()  # tenths of a second of Python, which the first messages would have to wait for
        self._bag = RawBagWriter(path)
        super().__init__("ls_ood_recorder", **options)
        self._wanted = {**OUTPUTS, **dict.fromkeys(pictures, _IMAGE)}
        self._clock_ns, self._leave_out = clock_ns, frozenset(leave_out)
        self._is_recording = False
        self._failure = ""
        self._heard: set[str] = set()
        self._found = time.monotonic()
        self._probes: dict[str, Any] = {}
        self._alive: set[str] = set()
        self.counts: Counter[str] = Counter()
        self._judged: Counter[str] = Counter()
        self._answers: dict[str, Counter[str]] = {}
        self._dropped: dict[str, list[int]] = {}  # camera -> first and last count of perception
        self._timer = self.create_timer(_LOOK_S, self._look)

    def is_ready(self) -> bool:
        """Whether an alarm was found, and every node that sends one has learnt of all subscriptions so far."""
        return bool(self._probes) and (self._alive >= set(self._probes) or time.monotonic() - self._found > _SETTLE_S)

    def begin(self) -> None:
        """Record from now on."""
        self._is_recording = True

    def check(self) -> None:
        """Raise ``DataError`` once something could not be written."""
        if self._failure:
            raise DataError(self._failure)

    def pairs(self) -> dict[str, tuple[int, int]]:
        """Score topic -> recorded alarms about images that were judged, and scores, of which there is one for each."""
        scores = {topic: count for topic, count in self.counts.items() if _last(topic) == "ood_score"}
        return {topic: (self._judged[topic], scores.get(topic, 0)) for topic in sorted({*self._judged, *scores})}

    def answers(self) -> dict[str, dict[str, int]]:
        """Camera -> how many of its images were ``judged``, were ``faults``, and ``dropped`` by perception for want of time."""
        return {
            camera: {
                "judged": self._answers.get(camera, Counter())["judged"],
                "faults": self._answers.get(camera, Counter())["faults"],
                "dropped": last - first,
            }
            for camera, (first, last) in sorted(self._dropped.items())
        }

    def pictures(self) -> dict[str, tuple[int, int]]:
        """Picture topic -> recorded pictures, and recorded scores of their camera, of which each has a picture.

        A detector that has no anomaly map publishes none, so a topic without any is left out.
        """
        heard = {topic for topic in self._heard if _last(topic) in PICTURES}
        found = {topic: (self.counts[topic], self.counts[f"{topic.rsplit('/', 1)[0]}/ood_score"]) for topic in heard}
        return {topic: found[topic] for topic in sorted(found) if found[topic][0] or _last(topic) != "anomaly_map"}

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
        known = len(self._heard)
        for topic, types in self.get_topic_names_and_types():
            kind = self._wanted.get(_last(topic))
            if kind in types and topic not in self._heard and topic not in self._leave_out:
                self._listen(topic, kind)
        if len(self._heard) > known:
            self._found = time.monotonic()
            self._probe()

    def _listen(self, topic: str, kind: str) -> None:
        offered = [end.qos_profile for end in self.get_publishers_info_by_topic(topic)]
        if not offered:  # subscribed to, but nobody publishes it yet
            return
        is_reliable = all(one.reliability is ReliabilityPolicy.RELIABLE for one in offered)
        profile = QoSProfile(
            depth=_IMAGES if kind == _IMAGE else _DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT,
        )

        def receive(data: bytes, info: Mapping[str, int]) -> None:
            self._write(topic, kind, data, time.time_ns() - info["received_timestamp"], offered[0])

        self.create_subscription(message_class(kind), topic, receive, profile, raw=True)
        self._heard.add(topic)

    def _probe(self) -> None:
        """Wait for a sign of life anew.

        DDS tells a publishing process of subscriptions in their order: one that sends to the last has learnt of those
        before. A score that is sent earlier would be lost, and on a busy machine no waiting time is sure to be enough.
        """
        alive: set[str] = set()  # a beat that an old probe has still taken goes into the old set
        self._alive = alive
        for probe in self._probes.values():
            self.destroy_subscription(probe)

        def probe_of(alarm: str) -> Any:
            return self.create_subscription(Empty, alive_topic(alarm), lambda _beat: alive.add(alarm), 1)

        self._probes = {topic: probe_of(topic) for topic in self._heard if _last(topic) == "ood_alarm"}

    def _write(self, topic: str, kind: str, data: bytes, waited_ns: int, offered: QoSProfile) -> None:
        """Take in a message that waited so long for this thread."""
        if _last(topic) == "diagnostics":
            with suppress(Exception):
                self._count_dropped(deserialize_message(bytes(data), DiagnosticArray))
        stamp_ns = self._clock_ns(waited_ns if 0 <= waited_ns < _MAX_WAIT_NS else 0)
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
        if _last(topic) == "ood_alarm":
            with suppress(Exception):  # whatever it was that cannot be read, it is recorded
                message = deserialize_message(bytes(data), DiagnosticArray)
                cameras = judged_cameras(message)
                self._judged.update(f"{topic.rsplit('/', 1)[0]}/{camera}/ood_score" for camera in cameras)
                for alarm in alarms_of(message):
                    if alarm.stamp_ns > 0:  # of an image; silence has none
                        self._answers.setdefault(alarm.camera, Counter())["faults" if alarm.is_fault else "judged"] += 1

    def _count_dropped(self, message: DiagnosticArray) -> None:
        """What perception says of each camera; before the recording begins it is what was dropped earlier."""
        for entry in message.status:
            values = values_of(entry)
            if {"frames", "dropped"} <= values.keys():
                count = int(values["dropped"])
                counts = self._dropped.setdefault(entry.hardware_id, [count, count])
                counts[:] = (counts[0] if self._is_recording else count), count


def _last(topic: str) -> str:
    return topic.rsplit("/", 1)[-1]
