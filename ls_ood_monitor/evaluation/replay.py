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
from ..core.pipeline import InputImage, Outcome, PerceptionPipeline, VehiclePipeline
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
            cameras, settings.alarm.of(monitor.alarm), monitor.clean_median, settings.health, settings.image_timeout_s
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
            outcome, decision = self._vehicle.judge(_input_of(arrival), self._judge)
            yield self._record(outcome, decision)

    @property
    def speed(self) -> float:
        """Seconds of the recording judged in a second of work."""
        return (self._now_ns - self._begin_ns) / max(1, time.monotonic_ns() - self._started_ns)

    def finish(self, end_ns: int) -> None:
        """Let time pass until the end of the recording."""
        self._vehicle.advance(end_ns)

    def _judge(self, frames: Sequence[Frame]) -> list[TimedVerdict]:
        return [self._network(frame) for frame in frames]

    def _record(self, outcome: Outcome[InputImage, TimedVerdict], decision: Decision) -> FrameRecord:
        verdict, alarm, time_s = outcome.verdict, outcome.alarm, self._seconds(outcome.image.arrived_ns)
        self.recorder.add_image(time_s, alarm, decision.mode, verdict, nan if verdict is None else verdict.latency_ms)
        return FrameRecord(time_s, alarm, decision.mode, verdict)

    def _on_silence(self, alarm: Alarm, decision: Decision, now_ns: int) -> None:
        self.recorder.add_silence(self._seconds(now_ns), alarm, decision.mode)

    def _on_decision(self, decision: Decision, now_ns: int) -> None:
        self.recorder.add_decision(self._seconds(now_ns), decision)

    def _seconds(self, now_ns: int) -> float:
        return (now_ns - self._begin_ns) / 1e9


def _input_of(arrival: ImageArrival) -> InputImage:
    image = arrival.image
    fault = Cause(CauseKind.UNREADABLE, detail=arrival.error) if image is None else None
    frame = None if image is None else Frame(image, arrival.stamp_ns, arrival.camera)
    return InputImage(arrival.camera, arrival.stamp_ns, arrival.received_ns, frame, arrival.encoding, fault)
