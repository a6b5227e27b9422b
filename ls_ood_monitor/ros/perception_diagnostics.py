"""What perception reports of itself and of each camera on ``/diagnostics``, once a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import nan

from diagnostic_msgs.msg import DiagnosticStatus

from ..core.pipeline import PerceptionPipeline
from ..monitor import OodMonitor
from ..wording import camera_sentence, node_sentence
from .alarm_output import CameraReport
from .conversions import STATE_LEVELS, status


def monitor_status(node: str, monitor: OodMonitor | None, problem: str, uncalibrated: str) -> DiagnosticStatus:
    """State of the node as a whole. ``problem`` and ``uncalibrated`` are sentences, empty where all is well."""
    level = DiagnosticStatus.ERROR if problem else DiagnosticStatus.WARN if uncalibrated else DiagnosticStatus.OK
    facts = {
        "bundle_sha256": monitor.bundle_id if monitor else "",
        "detector": monitor.detector if monitor else "",
        "device": str(monitor.device) if monitor else "",
        "engine": monitor.engine_label if monitor else "",
    }
    return status(level, f"{node}: monitor", "perception", node_sentence(problem, uncalibrated), facts)


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

    def statuses(
        self, node: str, reports: dict[str, CameraReport], publishers: Mapping[str, int], steady_ns: int
    ) -> list[DiagnosticStatus]:
        """A status for each camera at ``steady_ns``; ``publishers`` of its images by camera."""
        elapsed_s = max(1e-3, (steady_ns - self._before_ns) / 1e9)
        self._before_ns = steady_ns
        return [
            self._status(
                node, camera, reports.get(camera, CameraReport()), publishers.get(camera, 1), elapsed_s, steady_ns
            )
            for camera in self._received_before
        ]

    def _status(
        self, node: str, camera: str, report: CameraReport, publishers: int, elapsed_s: float, steady_ns: int
    ) -> DiagnosticStatus:
        received, age_s = self._pipeline.received(camera), self._pipeline.silent_s(camera, steady_ns)
        rate_hz = (received - self._received_before[camera]) / elapsed_s
        self._received_before[camera] = received
        alarm, is_silent = report.alarm, received == 0 or age_s > self._timeout_s
        level = DiagnosticStatus.STALE if is_silent else DiagnosticStatus.WARN
        if alarm is not None and not is_silent:
            level = max(STATE_LEVELS[alarm.state], level if report.has_foreign_clock else DiagnosticStatus.OK)
        if publishers > 1:
            level = max(level, DiagnosticStatus.WARN)
        text = camera_sentence(alarm, age_s if is_silent else None, report.has_foreign_clock, publishers)
        facts = {
            "rate_hz": round(rate_hz, 2),
            "frames": received,
            "publishers": publishers,
            "dropped": self._dropped(camera),
            "repeated": self._pipeline.repeated(camera),
            "age_s": round(age_s, 3),
            "latency_ms": round(report.latency_ms, 2) if report.latency_ms == report.latency_ms else nan,
            "state": alarm.state.value if alarm else "",
            "fault": alarm.fault if alarm else "",
            "cause": alarm.cause.kind.value if alarm else "",
        }
        return status(level, f"{node}: {camera}", camera, text, facts)
