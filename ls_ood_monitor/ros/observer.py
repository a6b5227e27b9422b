"""Listens to both nodes: hears what they say, with the time it was heard; and keeps it, for a demo or a test."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Bool

from ..core.types import Alarm, FallbackMode
from ..vision.image_codec import decode_image
from .conversions import alarms_of, decision_of, number_of, stamp_to_ns, values_of


@dataclass(frozen=True)
class HeardAlarm:
    """An alarm, when it was heard (monotonic ns), and all values of its status as texts."""

    at_ns: int
    alarm: Alarm
    values: Mapping[str, str]

    @property
    def latency_ms(self) -> float:
        """Arrival of the image to publication of the alarm, milliseconds; NaN when unknown."""
        return number_of(self.values, "latency_ms")


@dataclass(frozen=True)
class HeardDecision:
    """A decision, when it was heard (monotonic ns), whose alarms the supervisor had heard by then, and its own stamp (ns).

    ``demands`` is what each camera calls for.
    """

    at_ns: int
    mode: FallbackMode
    reason: str
    cameras_heard: frozenset[str] = frozenset()
    stamp_ns: int = 0
    demands: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HeardStop:
    """A stop command and when it was heard (monotonic ns)."""

    at_ns: int
    stop: bool


class MonitorListener(Node):
    """Subscribes to alarm, state and stop, and calls ``heard_alarm``, ``heard_decision`` and ``heard_stop``.

    Args:
        name: of this node.
        of_namespace: namespace of the nodes to listen to; empty = none, None = this node's own.
    """

    def __init__(self, name: str, of_namespace: str | None = "", **options: Any) -> None:
        super().__init__(name, **options)
        namespace = (self.get_namespace() if of_namespace is None else of_namespace).strip("/")
        base = f"/{namespace}" if namespace else ""
        self.perception, self.supervisor = f"{base}/perception_node", f"{base}/supervisor_node"
        deep = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
        self.create_subscription(DiagnosticArray, f"{self.perception}/ood_alarm", self._on_alarm, deep)
        self.create_subscription(DiagnosticArray, f"{self.supervisor}/state", self._on_state, deep)
        self.create_subscription(Bool, f"{self.supervisor}/stop", self._on_stop, deep)

    def heard_alarm(self, heard: HeardAlarm) -> None:
        """An alarm was heard."""

    def heard_decision(self, heard: HeardDecision) -> None:
        """A decision was heard."""

    def heard_stop(self, heard: HeardStop) -> None:
        """A stop command was heard."""

    def _on_alarm(self, message: DiagnosticArray) -> None:
        at_ns = time.monotonic_ns()
        values = [values_of(one) for one in message.status] or [{}]
        for pair in zip(alarms_of(message), values, strict=False):
            self.heard_alarm(HeardAlarm(at_ns, *pair))

    def _on_state(self, message: DiagnosticArray) -> None:
        at_ns = time.monotonic_ns()
        mode, reason = decision_of(message)
        cameras = {one.hardware_id: values_of(one) for one in message.status[1:]}
        heard = frozenset(camera for camera, values in cameras.items() if isfinite(number_of(values, "age_s")))
        demands = {camera: values["mode"] for camera, values in cameras.items() if "mode" in values}
        self.heard_decision(HeardDecision(at_ns, mode, reason, heard, stamp_to_ns(message.header.stamp), demands))

    def _on_stop(self, message: Bool) -> None:
        self.heard_stop(HeardStop(time.monotonic_ns(), bool(message.data)))


class MonitorObserver(MonitorListener):
    """Keeps all that is heard; lists grow until ``snapshot`` callers are done with them.

    Args:
        overlays: cameras whose overlay pictures are wanted too; only the newest of each is kept.
    """

    def __init__(self, overlays: tuple[str, ...] = (), **options: Any) -> None:
        self._lock = threading.Lock()
        self._alarms: list[HeardAlarm] = []
        self._decisions: list[HeardDecision] = []
        self._stops: list[HeardStop] = []
        self._overlays: dict[str, NDArray[np.uint8]] = {}
        super().__init__("monitor_observer", **options)
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        for camera in overlays:
            self.create_subscription(
                Image, f"{self.perception}/{camera}/overlay", self._overlay_receiver(camera), newest
            )

    def alarms(self, since: int = 0) -> list[HeardAlarm]:
        """Alarms heard, from index ``since`` on."""
        with self._lock:
            return self._alarms[since:]

    def decisions(self, since: int = 0) -> list[HeardDecision]:
        """Decisions heard, from index ``since`` on."""
        with self._lock:
            return self._decisions[since:]

    def stops(self, since: int = 0) -> list[HeardStop]:
        """Stop commands heard, from index ``since`` on."""
        with self._lock:
            return self._stops[since:]

    def overlay(self, camera: str) -> NDArray[np.uint8] | None:
        """Newest overlay picture of a camera, BGR."""
        with self._lock:
            return self._overlays.get(camera)

    def heard_alarm(self, heard: HeardAlarm) -> None:
        """Keep it."""
        with self._lock:
            self._alarms.append(heard)

    def heard_decision(self, heard: HeardDecision) -> None:
        """Keep it."""
        with self._lock:
            self._decisions.append(heard)

    def heard_stop(self, heard: HeardStop) -> None:
        """Keep it."""
        with self._lock:
            self._stops.append(heard)

    def _overlay_receiver(self, camera: str) -> Any:
        def receive(message: Image) -> None:
            picture = decode_image(message).copy()
            with self._lock:
                self._overlays[camera] = picture

        return receive
