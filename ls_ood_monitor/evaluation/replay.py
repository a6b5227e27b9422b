"""A recording through the vehicle's own checks, network, alarm and supervisor, on the recording's clock.

Every frame is judged, in the order of reception, and nothing is lost: a vehicle whose network is slower than its cameras
judges fewer. The verdict is taken to be there when the frame is received, so times to stop lack the network's own time,
which is reported beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from math import nan

from ..core.causes import Cause, CauseKind
from ..core.pipeline import PerceptionPipeline, VehiclePipeline
from ..core.supervision import Supervisor
from ..core.types import Alarm, Decision, FallbackMode, Frame, Verdict
from ..monitor import OodMonitor
from ..parameter_file import VehicleSettings
from ..recordings.bags import ImageArrival
from .replay_tables import ReplayRecorder


@dataclass(frozen=True)
class TimedVerdict(Verdict):
    """A verdict, and what it took."""

    latency_ms: float = field(default=nan, kw_only=True)  # the network's time for it
    is_recalled: bool = field(default=False, kw_only=True)  # its scores come from a file: its anomaly map is not known


def judge_timed(monitor: OodMonitor, frame: Frame) -> TimedVerdict:
    """The network's verdict, without the segmentation."""
    started = time.perf_counter()
    result = monitor.process([frame])[0]
    latency_ms = (time.perf_counter() - started) * 1e3
    return TimedVerdict(**{spec.name: getattr(result, spec.name) for spec in fields(Verdict)}, latency_ms=latency_ms)


@dataclass(frozen=True)
class FrameRecord:
    """What one image message came to."""

    time_s: float  # reception, from the start of the recording
    alarm: Alarm  # of its camera, after it
    mode: FallbackMode  # of the supervisor's decision, after it
    verdict: TimedVerdict | None  # None where the image failed a check


class Replay:
    """The nodes of a vehicle, without their processes.

    Every camera must be clear for the vehicle to move. The recording starts at ``begin_ns``. ``network`` judges a frame; None
    = the monitor. ``recorder`` has a row for each alarm and each decision so far.
    """

    def __init__(
        self,
        monitor: OodMonitor,
        cameras: Sequence[str],
        settings: VehicleSettings,
        begin_ns: int,
        network: Callable[[Frame], TimedVerdict] | None = None,
    ) -> None:
        self._network = network or partial(judge_timed, monitor)
        self._begin_ns, self._started_ns, self._now_ns = begin_ns, time.monotonic_ns(), begin_ns
        self.recorder = ReplayRecorder(sorted(monitor.detectors))
        self._perception = PerceptionPipeline(
            cameras, settings.alarm.of(monitor.alarm), monitor.lasting_levels, settings.health, settings.image_timeout_s
        )
        self._vehicle = VehiclePipeline(
            self._perception,
            Supervisor(settings.supervisor, tuple(cameras)),
            settings.publish_rate_hz,
            begin_ns,
            self._on_silence,
            self._on_decision,
        )

    def run(self, arrivals: Iterable[ImageArrival]) -> Iterator[FrameRecord]:
        """Judge every image message, in order."""
        for arrival in arrivals:
            self._now_ns = arrival.received_ns
            self._perception.topics[arrival.camera] = arrival.topic
            self._vehicle.advance(arrival.received_ns)
            alarm, verdict = self._judge(arrival)
            decision = self._vehicle.observe(alarm, arrival.received_ns)
            time_s = self._seconds(arrival.received_ns)
            latency_ms = nan if verdict is None else verdict.latency_ms
            self.recorder.add_image(time_s, alarm, decision.mode, verdict, latency_ms)
            yield FrameRecord(time_s, alarm, decision.mode, verdict)

    @property
    def speed(self) -> float:
        """Seconds of the recording judged in a second of work."""
        return (self._now_ns - self._begin_ns) / max(1, time.monotonic_ns() - self._started_ns)

    def finish(self, end_ns: int) -> None:
        """Let time pass until the end of the recording."""
        self._vehicle.advance(end_ns)

    def _judge(self, arrival: ImageArrival) -> tuple[Alarm, TimedVerdict | None]:
        """The alarm after an image, and the network's verdict; None where the image failed a check."""
        camera, now_ns = arrival.camera, arrival.received_ns
        self._perception.on_arrival(camera, now_ns)
        if arrival.image is None:
            fault = Cause(CauseKind.UNREADABLE, detail=arrival.error)
            return self._perception.count_fault(camera, arrival.stamp_ns, fault), None
        frame = Frame(arrival.image, arrival.stamp_ns, camera)
        cause = self._perception.check(frame, arrival.encoding, now_ns, now_ns)
        if cause is not None:
            return self._perception.count_fault(camera, arrival.stamp_ns, cause), None
        verdict = self._network(frame)
        return self._perception.count(frame, verdict, 0, now_ns), verdict

    def _on_silence(self, alarm: Alarm, decision: Decision, now_ns: int) -> None:
        self.recorder.add_silence(self._seconds(now_ns), alarm, decision.mode)

    def _on_decision(self, decision: Decision, now_ns: int) -> None:
        self.recorder.add_decision(self._seconds(now_ns), decision)

    def _seconds(self, now_ns: int) -> float:
        return (now_ns - self._begin_ns) / 1e9
