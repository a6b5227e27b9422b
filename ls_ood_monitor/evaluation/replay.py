"""A recording through the vehicle's own checks, network, alarm and supervisor, on the recording's clock.

Every frame is judged, in the order of reception, and nothing is lost: a vehicle whose network is slower than its cameras
judges fewer. The verdict is taken to be there when the frame is received, so times to stop lack the network's own time,
which is reported beside them. Time passes as in the nodes: perception looks for silence ten times a second, the
supervisor decides at every alarm and at every tick.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from ..core.camera_watch import CameraWatch, alarm_without_frame
from ..core.input_validation import Fault, InputFault
from ..core.supervision import Supervisor
from ..core.types import Decision, FallbackMode, Frame, FrameResult
from ..monitor import OodMonitor
from ..parameter_file import VehicleSettings
from ..recordings.bags import ImageArrival
from .commands import Decisions, Stops
from .judged_images import FrameRecord, JudgedImages
from .silence import SILENCE_TICK_NS


def timed(monitor: OodMonitor, frame: Frame) -> tuple[FrameResult, float]:
    """The network's result, and its time in ms."""
    started = time.perf_counter()
    result = monitor.process([frame])[0]
    return result, (time.perf_counter() - started) * 1e3


class Replay:
    """The nodes of a vehicle, without their processes.

    Args:
        monitor: with a bundle.
        cameras: all of the recording; each must be clear for the vehicle to move.
        settings: of the vehicle.
        begin_ns: when the recording starts.
        network: judges a frame, result and time in ms; None = the monitor, and measure it.

    Attributes:
        silences: alarms of silent cameras, which no image brings: ten a second while the silence lasts.
        decisions: every tick's, and every change's.
    """

    def __init__(
        self,
        monitor: OodMonitor,
        cameras: Sequence[str],
        settings: VehicleSettings,
        begin_ns: int,
        network: Callable[[Frame], tuple[FrameResult, float]] | None = None,
    ) -> None:
        self._network = network or partial(timed, monitor)
        self._begin_ns, self._started_ns = begin_ns, time.monotonic_ns()
        alarm = settings.alarm.of(monitor.alarm)
        self._watches = {
            camera: CameraWatch(camera, alarm, monitor.clean_median, settings.health, settings.image_timeout_s)
            for camera in cameras
        }
        for watch in self._watches.values():
            watch.start(begin_ns)
        self._supervisor = Supervisor(settings.supervisor, tuple(cameras))
        self._period_ns = round(1e9 / settings.publish_rate_hz)
        self._next_tick_ns, self._next_silence_ns = begin_ns, begin_ns + SILENCE_TICK_NS
        self._topics: dict[str, str] = {}
        self._mode: FallbackMode | None = None
        self.silences = JudgedImages(monitor.detector, ())
        self.decisions = Decisions()

    def run(self, arrivals: Iterable[ImageArrival]) -> Iterator[FrameRecord]:
        """Judge every image message, in order."""
        for arrival in arrivals:
            yield self._judge(arrival)

    @property
    def stops(self) -> Stops:
        """The stop command of the decisions' moments."""
        return self.decisions.stops

    @property
    def speed(self) -> float:
        """Seconds of the recording judged in a second of work."""
        return (self._next_tick_ns - self._begin_ns) / max(1, time.monotonic_ns() - self._started_ns)

    def finish(self, end_ns: int) -> None:
        """Let time pass until the end of the recording."""
        self._pass_time(end_ns)

    def _judge(self, arrival: ImageArrival) -> FrameRecord:
        now_ns = arrival.received_ns
        self._pass_time(now_ns)
        watch = self._watches[arrival.camera]
        self._topics[arrival.camera] = arrival.topic
        watch.arrivals.arrived(now_ns)
        result, latency_ms = None, float("nan")
        if arrival.image is None:
            finding: InputFault | None = InputFault(Fault.UNREADABLE, arrival.error)
        else:
            frame = Frame(arrival.image, arrival.stamp_ns, arrival.camera)
            finding = watch.examine(frame, arrival.encoding, now_ns, now_ns)
        if finding is None:
            result, latency_ms = self._network(frame)
            alarm = watch.judged(result, 0, now_ns)
        else:
            alarm = watch.fault(arrival.stamp_ns, finding)
        self._supervisor.observe(alarm, now_ns)
        decision = self._decide(now_ns)
        return FrameRecord((now_ns - self._begin_ns) / 1e9, alarm, decision.mode, result, latency_ms)

    def _pass_time(self, until_ns: int) -> None:
        """All ticks up to ``until_ns``, in their order."""
        while min(self._next_tick_ns, self._next_silence_ns) <= until_ns:
            if self._next_silence_ns <= self._next_tick_ns:
                self._look_for_silence(self._next_silence_ns)
                self._next_silence_ns += SILENCE_TICK_NS
            else:
                self._keep(self._supervisor.decide(self._next_tick_ns), self._next_tick_ns)
                self._next_tick_ns += self._period_ns

    def _look_for_silence(self, now_ns: int) -> None:
        for camera, watch in self._watches.items():
            finding = watch.silence(now_ns, self._topics.get(camera, f"{camera}/image"))
            if finding is not None:
                alarm = alarm_without_frame(camera, finding)
                self._supervisor.observe(alarm, now_ns)
                mode = self._decide(now_ns).mode
                self.silences.append(FrameRecord((now_ns - self._begin_ns) / 1e9, alarm, mode, None, float("nan")))

    def _decide(self, now_ns: int) -> Decision:
        """As in the node: a new stop does not wait for the next tick."""
        decision = self._supervisor.decide(now_ns)
        if decision.mode is FallbackMode.STOP and self._mode is not decision.mode:
            self._keep(decision, now_ns)
        self._mode = decision.mode
        return decision

    def _keep(self, decision: Decision, now_ns: int) -> None:
        self._mode = decision.mode
        self.decisions.append((now_ns - self._begin_ns) / 1e9, decision.mode, decision.reason)
