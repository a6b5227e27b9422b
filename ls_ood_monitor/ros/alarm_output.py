"""The alarm topic of perception: every alarm goes out here, and is kept for diagnostics and for a clip."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import nan
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Empty

from ..core.input_validation import SANE_AGE_NS
from ..core.types import Alarm, Verdict
from .conversions import alarm_message
from .heartbeat import heartbeat_publisher
from .worker import Arrival

if TYPE_CHECKING:
    from .clip_recorder.recorder import ClipRecorder

_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


@dataclass
class CameraReport:
    """What diagnostics shows of a camera beside the state of its input.

    Attributes:
        alarm: the last one; None before the first.
        latency_ms: arrival of the last image to its alarm.
        send_ms: time that the last alarm of a judged image took to be built and published.
        has_foreign_clock: stamps are of another clock (a recording), so that the age of an image is not known.
    """

    alarm: Alarm | None = None
    latency_ms: float = nan
    send_ms: float = nan
    has_foreign_clock: bool = False


class AlarmOutput:
    """Publishes alarms, and the sign of life beside them.

    Attributes:
        source: name of this process in its alarms: host and process for people, and a drawn part, because two containers
            may share both.
        reports: by camera.
        recorder: of clips; None while none are recorded.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "~/ood_alarm", _RELIABLE)
        self._heartbeat = heartbeat_publisher(node, self._publisher.topic_name)
        self.source = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.reset()
        self.record_to(None)

    def reset(self, bundle_id: str = "") -> None:
        """Forget the reports; ``bundle_id`` is that of the bundle in force from now on, empty while there is none."""
        self._bundle_id = bundle_id
        self.reports: dict[str, CameraReport] = {}

    def record_to(self, recorder: ClipRecorder | None) -> None:
        """Hand every alarm to a recorder from now on."""
        self.recorder = recorder

    @property
    def topic_name(self) -> str:
        """Resolved name of the alarm topic."""
        return str(self._publisher.topic_name)

    def beat(self) -> None:
        """Give a sign of life."""
        self._heartbeat.publish(Empty())

    def publish(
        self,
        alarm: Alarm,
        facts: Mapping[str, Any],
        arrival: Arrival | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        """Publish one alarm, with further ``facts`` among its values; ``verdict`` is on the image that arrived."""
        began_ns = time.monotonic_ns()
        report = self.reports.setdefault(alarm.camera, CameraReport())
        report.alarm = alarm
        values, age, frame_id = dict(facts), {}, ""
        if verdict is not None:
            values["send_ms"] = round(report.send_ms, 3)  # of the alarm before
        if arrival is not None:
            report.latency_ms = (time.monotonic_ns() - arrival.arrived_ns) / 1e6
            values["latency_ms"] = round(report.latency_ms, 3)
            age_ns = int(self._node.get_clock().now().nanoseconds) - alarm.stamp_ns
            report.has_foreign_clock = alarm.stamp_ns > 0 and age_ns > SANE_AGE_NS
            if 0 <= age_ns <= SANE_AGE_NS:
                age = {"age_ms": round(age_ns / 1e6, 3)}
            frame_id = arrival.message.header.frame_id
        values |= {"bundle_sha256": self._bundle_id, **age}
        sent = replace(alarm, source=self.source, sent_ns=time.monotonic_ns())
        message = alarm_message(sent, values, self._node.get_name(), frame_id)
        self._publisher.publish(message)
        recorder = self.recorder  # timer and worker both publish, and deactivation takes it away
        if recorder is not None:
            recorder.on_alarm(sent, message, arrival, verdict)
        if verdict is not None:
            report.send_ms = (time.monotonic_ns() - began_ns) / 1e6
