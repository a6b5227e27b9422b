"""Receives what both nodes publish, with the time of reception; ``MonitorObserver`` keeps all of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
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
from .conversions import alarms_of, float_value, stamp_to_ns, values_of


@dataclass(frozen=True)
class HeardAlarm:
    """A received alarm.

    Attributes:
        at_ns: time of reception, monotonic clock.
        alarm: what it says.
        values: all values of its status, as texts.
    """

    at_ns: int
    alarm: Alarm
    values: Mapping[str, str]

    @property
    def latency_ms(self) -> float:
        """Time from the arrival of the image to the publication of the alarm, milliseconds; NaN if unknown."""
        return float_value(self.values, "latency_ms")


@dataclass(frozen=True)
class HeardDecision:
    """A received decision.

    Attributes:
        at_ns: time of reception, monotonic clock.
        mode: what the vehicle is asked to do.
        reason: why, as a sentence for people.
        cause: name of the cause that holds now (``CauseKind``); empty if the message names none.
        because: name of the cause behind it, such as the alarm that latched a stop.
        because_camera: camera to blame; empty if it is not a single one.
        cameras_heard: cameras whose alarms the supervisor has received.
        stamp_ns: stamp of the message.
        demands: mode that each camera asks for, by name.
    """

    at_ns: int
    mode: FallbackMode
    reason: str
    cause: str = ""
    because: str = ""
    because_camera: str = ""
    cameras_heard: frozenset[str] = frozenset()
    stamp_ns: int = 0
    demands: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, message: DiagnosticArray, at_ns: int = 0) -> HeardDecision:
        """The decision of a ``~/state`` message; STOP if it is unreadable."""
        values = values_of(message.status[0]) if message.status else {}
        cameras = {entry.hardware_id: values_of(entry) for entry in message.status[1:]}
        mode, reason = FallbackMode.STOP, "the state message is malformed"
        if values.get("mode") in FallbackMode.__members__ and "reason" in values:
            mode, reason = FallbackMode[values["mode"]], values["reason"]
        return cls(
            at_ns,
            mode,
            reason,
            values.get("cause", ""),
            values.get("because", ""),
            values.get("because_camera", ""),
            frozenset(camera for camera, demand in cameras.items() if isfinite(float_value(demand, "age_s"))),
            stamp_to_ns(message.header.stamp),
            {camera: demand["mode"] for camera, demand in cameras.items() if "mode" in demand},
        )


@dataclass(frozen=True)
class HeardStop:
    """A received stop command, with the time of reception (monotonic, ns)."""

    at_ns: int
    stop: bool


class MonitorListener(Node):
    """Subscribes to alarms, decisions and stop commands.

    Args:
        name: of this node.
        on_alarm: called with every alarm.
        on_decision: called with every decision.
        on_stop: called with every stop command.
        of_namespace: namespace of the nodes to listen to; empty = none, None = this node's own.
    """

    def __init__(
        self,
        name: str,
        on_alarm: Callable[[HeardAlarm], None],
        on_decision: Callable[[HeardDecision], None],
        on_stop: Callable[[HeardStop], None],
        of_namespace: str | None = "",
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        namespace = (self.get_namespace() if of_namespace is None else of_namespace).strip("/")
        base = f"/{namespace}" if namespace else ""
        self.perception, self.supervisor = f"{base}/perception_node", f"{base}/supervisor_node"

        def receive_alarms(message: DiagnosticArray) -> None:
            at_ns = time.monotonic_ns()
            values = [values_of(entry) for entry in message.status] or [{}]
            for alarm, alarm_values in zip(alarms_of(message), values, strict=False):
                on_alarm(HeardAlarm(at_ns, alarm, alarm_values))

        def receive_decision(message: DiagnosticArray) -> None:
            on_decision(HeardDecision.of(message, time.monotonic_ns()))

        def receive_stop(message: Bool) -> None:
            on_stop(HeardStop(time.monotonic_ns(), bool(message.data)))

        deep = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
        self.create_subscription(DiagnosticArray, f"{self.perception}/ood_alarm", receive_alarms, deep)
        self.create_subscription(DiagnosticArray, f"{self.supervisor}/state", receive_decision, deep)
        self.create_subscription(Bool, f"{self.supervisor}/stop", receive_stop, deep)


class MonitorObserver(MonitorListener):
    """Keeps everything it receives; its lists grow without limit. Any thread may read them.

    Args:
        overlays: cameras whose newest overlay picture is kept, too.
    """

    def __init__(self, overlays: tuple[str, ...] = (), **options: Any) -> None:
        self._alarms: list[HeardAlarm] = []
        self._decisions: list[HeardDecision] = []
        self._stops: list[HeardStop] = []
        self._overlays: dict[str, NDArray[np.uint8]] = {}
        keep = self._alarms.append, self._decisions.append, self._stops.append
        super().__init__("monitor_observer", *keep, **options)
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        for camera in overlays:
            self.create_subscription(
                Image, f"{self.perception}/{camera}/overlay", self._overlay_receiver(camera), newest
            )

    def alarms(self, since: int = 0) -> list[HeardAlarm]:
        """Alarms received, from index ``since`` on."""
        return self._alarms[since:]

    def decisions(self, since: int = 0) -> list[HeardDecision]:
        """Decisions received, from index ``since`` on."""
        return self._decisions[since:]

    def stops(self, since: int = 0) -> list[HeardStop]:
        """Stop commands received, from index ``since`` on."""
        return self._stops[since:]

    def overlay(self, camera: str) -> NDArray[np.uint8] | None:
        """Newest overlay picture of a camera, BGR uint8 (H, W, 3)."""
        return self._overlays.get(camera)

    def _overlay_receiver(self, camera: str) -> Callable[[Image], None]:
        def receive(message: Image) -> None:
            self._overlays[camera] = decode_image(message).copy()

        return receive
