"""What perception reports of itself and of each camera on ``/diagnostics``, once a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import nan

from diagnostic_msgs.msg import DiagnosticStatus

from ..core.pipeline import PerceptionPipeline
from ..monitor import OodMonitor
from ..wording import sentence
from .alarm_output import CameraReport
from .conversions import status

_LEVELS = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR)


def monitor_status(node: str, monitor: OodMonitor | None, problem: str, uncalibrated: str) -> DiagnosticStatus:
    """State of the node as a whole. ``problem`` and ``uncalibrated`` are sentences, empty where all is well."""
    level = DiagnosticStatus.ERROR if problem else DiagnosticStatus.WARN if uncalibrated else DiagnosticStatus.OK
    facts = {"bundle_sha256": "", "detector": "", "device": "", "engine": ""}
    if monitor is not None:
        facts = {
            "bundle_sha256": monitor.bundle_id,
            "detector": monitor.detector,
            "device": str(monitor.device),
            "engine": monitor.engine_label,
        }
    text = problem or (f"running; {uncalibrated}" if uncalibrated else "running")
    return status(level, f"{node}: monitor", "perception", text, facts)


class CameraDiagnostics:
    """Rate, drops, age and alarm of each camera; the rate is that since the last report, first since ``steady_ns``."""

    def __init__(
        self,
        cameras: Sequence[str],
        pipeline: PerceptionPipeline,
        timeout_s: float,
        dropped: Callable[[str], int],
        steady_ns: int,
    ) -> None:
        self._pipeline, self._timeout_s, self._dropped = pipeline, timeout_s, dropped
        self._received_before = {camera: pipeline.received(camera) for camera in cameras}
        self._before_ns = steady_ns

    def statuses(self, node: str, reports: dict[str, CameraReport], steady_ns: int) -> list[DiagnosticStatus]:
        """A status for each camera at ``steady_ns``."""
        elapsed_s = max(1e-3, (steady_ns - self._before_ns) / 1e9)
        self._before_ns = steady_ns
        return [
            self._status(node, camera, reports.get(camera, CameraReport()), elapsed_s, steady_ns)
            for camera in self._received_before
        ]

    def _status(
        self, node: str, camera: str, report: CameraReport, elapsed_s: float, steady_ns: int
    ) -> DiagnosticStatus:
        received, age_s = self._pipeline.received(camera), self._pipeline.silent_s(camera, steady_ns)
        rate_hz = (received - self._received_before[camera]) / elapsed_s
        self._received_before[camera] = received
        alarm = report.alarm
        if received == 0 or age_s > self._timeout_s:
            level, text = DiagnosticStatus.STALE, f"no image for {age_s:.1f} s"
        elif alarm is None:
            level, text = DiagnosticStatus.WARN, "no frame judged yet"
        else:
            level, text = _LEVELS[alarm.state.severity], sentence(alarm.cause)
            if report.has_foreign_clock:
                level = max(level, DiagnosticStatus.WARN)
                text = f"{text}; its stamps are of another clock, so its age is known by arrival alone"
        facts = {
            "rate_hz": round(rate_hz, 2),
            "frames": received,
            "dropped": self._dropped(camera),
            "age_s": round(age_s, 3),
            "latency_ms": round(report.latency_ms, 2) if report.latency_ms == report.latency_ms else nan,
            "state": alarm.state.value if alarm else "",
            "fault": alarm.fault if alarm else "",
            "cause": alarm.cause.kind.value if alarm else "",
        }
        return status(level, f"{node}: {camera}", camera, text, facts)
