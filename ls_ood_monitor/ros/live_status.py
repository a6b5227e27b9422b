"""The newest state of both nodes, and its age. Memory is bounded, so that a display can run for days."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy

from ..core.types import Alarm
from .conversions import float_value, values_of
from .observer import HeardAlarm, HeardDecision, HeardStop, MonitorListener

#: The trend: number of slices, and seconds of each.
TREND_SLICES, TREND_SLICE_S = 15, 2.0
_RATE_WINDOW_S = 5.0
_MAX_SAMPLES = 4000
_MAX_CAMERAS = 100
#: Perception publishes an alarm with every image, and ten a second without one; the supervisor publishes twenty decisions a
#: second; diagnostics come once a second.
_ALARM_SILENT_S, _DECISION_SILENT_S, _DIAGNOSTICS_SILENT_S = 1.0, 0.5, 3.0
#: A stamp farther from now belongs to another clock (a recording, a driver's own) and gives no delay.
_SANE_DELAY_S = 60.0


@dataclass(frozen=True)
class CameraView:
    """State of one camera.

    Attributes:
        camera: name.
        alarm: last alarm received; None if there was none.
        heard_s: seconds since then; NaN if there was none.
        demand: mode that the camera asks for, by the supervisor; empty if the supervisor does not name the camera.
        alarm_rate_hz: alarms received a second, over the last five seconds; NaN for fewer than two.
        delay_ms: from the image's stamp to the reception of its alarm here; NaN where the stamp is of another clock.
        latency_ms: from the image's arrival at perception to the publication of its alarm; NaN if unknown.
        image_rate_hz: images a second that reach perception; NaN if perception does not report it.
        dropped: images that perception had no time for since it was activated; NaN if it does not report it.
        trend: largest score over threshold in each slice of time, oldest first; NaN where no image could be judged, None
            where no alarm was received.
    """

    camera: str
    alarm: Alarm | None
    heard_s: float
    demand: str
    alarm_rate_hz: float
    delay_ms: float
    latency_ms: float
    image_rate_hz: float
    dropped: float
    trend: tuple[float | None, ...]

    @property
    def is_silent(self) -> bool:
        """Its last alarm is too old, or there was none."""
        return not self.heard_s <= _ALARM_SILENT_S


@dataclass(frozen=True)
class LiveView:
    """State of both nodes.

    Attributes:
        decision: last decision received; None if there was none.
        decision_s: seconds since then; NaN if there was none.
        stop: last stop command received; None if there was none.
        perception: what perception_node reports about itself; empty if it has reported nothing.
        perception_ok: it reports that it works.
        perception_s: seconds since that report; NaN if there was none.
        facts: bundle, detector and device, as it reports them.
        cameras: sorted by name.
    """

    decision: HeardDecision | None
    decision_s: float
    stop: bool | None
    perception: str
    perception_ok: bool
    perception_s: float
    facts: Mapping[str, str]
    cameras: tuple[CameraView, ...]

    @property
    def is_supervisor_silent(self) -> bool:
        """Its last decision is too old, or there was none."""
        return not self.decision_s <= _DECISION_SILENT_S

    @property
    def is_perception_silent(self) -> bool:
        """Its last report is too old, or there was none."""
        return not self.perception_s <= _DIAGNOSTICS_SILENT_S


@dataclass
class _Camera:
    last: HeardAlarm | None = None
    delay_ms: float = nan
    samples: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_MAX_SAMPLES))


class LiveStatus(MonitorListener):
    """Listens to both nodes and to ``/diagnostics``; keeps half a minute.

    Args:
        of_namespace: namespace of the nodes to listen to; empty = none, None = this node's own.
        name: of this node.
    """

    def __init__(self, of_namespace: str | None = "", name: str = "monitor_top", **options: Any) -> None:
        self._lock = threading.Lock()
        self._cameras: dict[str, _Camera] = {}
        self._decision: HeardDecision | None = None
        self._stop: HeardStop | None = None
        self._monitor: tuple[int, DiagnosticStatus] | None = None
        self._inputs: dict[str, Mapping[str, str]] = {}
        super().__init__(name, self._on_alarm, self._on_decision, self._on_stop, of_namespace, **options)
        reliable = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, reliable)

    def _on_alarm(self, heard: HeardAlarm) -> None:
        """Keep each camera's last alarm, and its score over threshold."""
        delay_s = (time.time_ns() - heard.alarm.stamp_ns) / 1e9
        with self._lock:
            if heard.alarm.camera not in self._cameras and len(self._cameras) >= _MAX_CAMERAS:
                return
            camera = self._cameras.setdefault(heard.alarm.camera, _Camera())
            camera.last = heard
            camera.delay_ms = delay_s * 1e3 if 0.0 <= delay_s < _SANE_DELAY_S else nan
            camera.samples.append((heard.at_ns, heard.alarm.ratio))

    def _on_decision(self, heard: HeardDecision) -> None:
        with self._lock:
            self._decision = heard

    def _on_stop(self, heard: HeardStop) -> None:
        with self._lock:
            self._stop = heard

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        at_ns = time.monotonic_ns()
        with self._lock:
            for entry in message.status:
                if entry.name == "perception_node: monitor":
                    self._monitor = (at_ns, entry)
                elif entry.name == "perception_node: evidence":
                    continue  # the clip recorder, not a camera
                elif entry.name == f"perception_node: {entry.hardware_id}" and len(self._inputs) < _MAX_CAMERAS:
                    self._inputs[entry.hardware_id] = values_of(entry)

    def view(self) -> LiveView:
        """The state at this moment."""
        now_ns = time.monotonic_ns()
        with self._lock:
            decision, monitor = self._decision, self._monitor
            names = sorted({*self._cameras, *self._inputs, *(decision.demands if decision else ())})
            cameras = tuple(self._view_of(name, now_ns) for name in names)
            facts = values_of(monitor[1]) if monitor else {}
            return LiveView(
                decision,
                (now_ns - decision.at_ns) / 1e9 if decision else nan,
                self._stop.stop if self._stop else None,
                monitor[1].message if monitor else "",
                monitor is not None and monitor[1].level != DiagnosticStatus.ERROR,
                (now_ns - monitor[0]) / 1e9 if monitor else nan,
                {name: facts[name] for name in ("bundle_sha256", "detector", "device") if facts.get(name)},
                cameras,
            )

    def _view_of(self, name: str, now_ns: int) -> CameraView:
        camera = self._cameras.get(name, _Camera())
        inputs = self._inputs.get(name, {})
        recent = [at_ns for at_ns, _ in camera.samples if now_ns - at_ns < _RATE_WINDOW_S * 1e9]
        last = camera.last
        return CameraView(
            name,
            last.alarm if last else None,
            (now_ns - last.at_ns) / 1e9 if last else nan,
            self._decision.demands.get(name, "") if self._decision else "",
            (len(recent) - 1) * 1e9 / (recent[-1] - recent[0]) if len(recent) > 1 and recent[-1] > recent[0] else nan,
            camera.delay_ms,
            last.latency_ms if last else nan,
            float_value(inputs, "rate_hz"),
            float_value(inputs, "dropped"),
            _trend(camera.samples, now_ns),
        )


def _trend(samples: deque[tuple[int, float]], now_ns: int) -> tuple[float | None, ...]:
    slices: list[float | None] = [None] * TREND_SLICES
    for at_ns, ratio in samples:
        index = TREND_SLICES - 1 - int((now_ns - at_ns) / (TREND_SLICE_S * 1e9))
        if index < 0:
            continue
        largest = slices[index]
        if largest is None or not isfinite(largest) or ratio > largest:
            slices[index] = ratio
    return tuple(slices)
