"""The monitor's logic without ROS: images, verdicts and ticks in; alarms and decisions out.

``PerceptionPipeline`` turns images into alarms, and ``SupervisorLoop`` turns alarms into decisions; each node runs one of
them. ``VehiclePipeline`` runs both on one clock, for a recording. The caller gives every time, from two clocks: the
*steady* clock never jumps and measures silence and delay; the clock of the stamps may jump.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from math import nan

from ..config import AlarmSettings, HealthSettings
from .alarm import AlarmFilter, LastingLevels
from .causes import Cause, CauseKind
from .input_validation import ArrivalMonitor, FrameValidator
from .supervision import Supervisor
from .types import Alarm, AlarmState, Decision, FallbackMode, Frame, Verdict

#: Period at which perception reports each silent camera.
SILENCE_PERIOD_NS = 100_000_000


class _Camera:
    def __init__(
        self, name: str, alarm: AlarmSettings, levels: LastingLevels, health: HealthSettings, timeout_s: float
    ) -> None:
        self.validator = FrameValidator(name, health)
        self.arrivals = ArrivalMonitor(health, timeout_s)
        self.alarm_filter = AlarmFilter(alarm, name, levels)
        self.lock = threading.Lock()  # one thread counts frames, another reports silence


class PerceptionPipeline:
    """Turns images and verdicts of all cameras into alarms.

    An image is checked, and then counted with its verdict or its fault. ``on_arrival``, ``on_tick``, and ``check`` with the
    counts may run in three different threads.

    Args:
        cameras: names.
        alarm: settings of the alarm.
        levels: of the lasting path.
        health: limits of the input.
        timeout_s: silence after which a camera is stale.

    Attributes:
        topics: camera -> topic of its images, named in the alarm of a silent camera.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        alarm: AlarmSettings,
        levels: LastingLevels,
        health: HealthSettings,
        timeout_s: float,
    ) -> None:
        self._cameras = {name: _Camera(name, alarm, levels, health, timeout_s) for name in cameras}
        self.topics: dict[str, str] = {}

    def start(self, steady_ns: int) -> None:
        """Reset all cameras and start to measure their silence."""
        for camera in self._cameras.values():
            camera.validator.reset()
            camera.alarm_filter.reset()
            camera.arrivals.start(steady_ns)

    def on_arrival(self, camera: str, steady_ns: int) -> None:
        """Count an image message, even if it will be dropped before the network judges it."""
        self._cameras[camera].arrivals.arrived(steady_ns)

    def received(self, camera: str) -> int:
        """Image messages so far."""
        return self._cameras[camera].arrivals.received

    def repeated(self, camera: str) -> int:
        """Images so far whose picture equals the one before."""
        return self._cameras[camera].validator.repeated

    def silent_s(self, camera: str, steady_ns: int) -> float:
        """Seconds since the camera's last image message, or since the start."""
        return self._cameras[camera].arrivals.silent_s(steady_ns)

    def check(self, frame: Frame, encoding: str, arrived_ns: int, now_ns: int) -> Cause | None:
        """Why a frame cannot be judged, or None.

        ``arrived_ns`` is on the steady clock, ``now_ns`` on the clock of the stamps (0 = unknown).
        """
        camera = self._cameras[frame.camera]
        return (
            camera.validator.check(frame, now_ns)
            or camera.validator.check_encoding(encoding)
            or camera.arrivals.check(arrived_ns)
        )

    def count(self, frame: Frame, verdict: Verdict, held_ns: int, now_ns: int) -> Alarm:
        """Alarm after a judged frame. A verdict too late, ``held_ns`` after arrival, is a fault: the world has moved on."""
        camera = self._cameras[frame.camera]
        with camera.lock:
            late = camera.validator.check_age(frame.stamp_ns, now_ns, held_ns)
            if late is not None:
                return camera.alarm_filter.fault(frame.stamp_ns, late)
            return camera.alarm_filter.update(frame.stamp_ns, verdict.score, verdict.threshold)

    def count_fault(self, camera: str, stamp_ns: int, cause: Cause) -> Alarm:
        """Alarm after an image that could not be judged."""
        with self._cameras[camera].lock:
            return self._cameras[camera].alarm_filter.fault(stamp_ns, cause)

    def on_tick(self, steady_ns: int, problem: Cause | None = None) -> list[Alarm]:
        """Alarms of the cameras that are silent, or, with a problem of the node itself, of all; due ten times a second."""
        alarms = []
        for name, camera in self._cameras.items():
            cause = problem or self._silence(name, steady_ns)
            if cause is not None:
                with camera.lock:
                    camera.alarm_filter.mark_unavailable(cause)
                alarms.append(alarm_without_frame(name, cause))
        return alarms

    def _silence(self, name: str, steady_ns: int) -> Cause | None:
        """Cause if the camera is silent, else None. A low image rate is no silence: each image's own check reports it."""
        cause = self._cameras[name].arrivals.check(steady_ns)
        if cause is None or cause.kind is not CauseKind.STALE:
            return None
        topic = self.topics.get(name, f"{name}/image")
        return Cause(cause.kind, value=cause.value, limit=cause.limit, detail=topic)


def alarm_without_frame(camera: str, cause: Cause) -> Alarm:
    """A RAISED alarm without a frame, for a silent camera or for a node that cannot judge."""
    named = Cause(cause.kind, camera, cause.value, cause.limit, cause.detail)
    return Alarm(camera, 0, AlarmState.RAISED, nan, nan, named)


class SupervisorLoop:
    """Reports the supervisor's decision at every tick, and at once when it changes to STOP."""

    def __init__(self, supervisor: Supervisor, on_decision: Callable[[Decision, int], None]) -> None:
        self.supervisor = supervisor
        self._on_decision = on_decision
        self._mode: FallbackMode | None = None

    def observe(self, alarms: Sequence[Alarm], now_ns: int) -> Decision:
        """Take in alarms; returns the decision after them."""
        for alarm in alarms:
            self.supervisor.observe(alarm, now_ns)
        return self.decide(now_ns)

    def forget_alarms(self, cause: Cause, now_ns: int) -> None:
        """The sender of the alarms is gone (``Supervisor.forget_alarms``)."""
        self.supervisor.forget_alarms(cause, now_ns)
        self.decide(now_ns)

    def decide(self, now_ns: int) -> Decision:
        """The decision at this time; a new STOP is handed out at once."""
        decision = self.supervisor.decide(now_ns)
        is_new_stop = decision.mode is FallbackMode.STOP and self._mode is not decision.mode
        self._mode = decision.mode
        if is_new_stop:
            self._on_decision(decision, now_ns)
        return decision

    def tick(self, now_ns: int) -> None:
        """Hand out the decision at this time."""
        decision = self.supervisor.decide(now_ns)
        self._mode = decision.mode
        self._on_decision(decision, now_ns)


class VehiclePipeline:
    """Perception and supervisor of a vehicle with their timers, on one clock.

    Args:
        perception: of all cameras; started here.
        supervisor: of the same cameras.
        publish_rate_hz: ticks of the supervisor, a second.
        begin_ns: when time begins.
        on_silence: called with the alarm of a silent camera, the decision after it, and its time.
        on_decision: as ``SupervisorLoop``.
    """

    def __init__(
        self,
        perception: PerceptionPipeline,
        supervisor: Supervisor,
        publish_rate_hz: float,
        begin_ns: int,
        on_silence: Callable[[Alarm, Decision, int], None],
        on_decision: Callable[[Decision, int], None],
    ) -> None:
        self._perception = perception
        self._loop = SupervisorLoop(supervisor, on_decision)
        self._on_silence = on_silence
        self._period_ns = round(1e9 / publish_rate_hz)
        self._next_decision_ns, self._next_silence_ns = begin_ns, begin_ns + SILENCE_PERIOD_NS
        perception.start(begin_ns)

    def advance(self, until_ns: int) -> None:
        """Let all timers up to ``until_ns`` fire, in their order."""
        while min(self._next_decision_ns, self._next_silence_ns) <= until_ns:
            if self._next_silence_ns <= self._next_decision_ns:
                now_ns = self._next_silence_ns
                for alarm in self._perception.on_tick(now_ns):
                    self._on_silence(alarm, self._loop.observe([alarm], now_ns), now_ns)
                self._next_silence_ns += SILENCE_PERIOD_NS
            else:
                self._loop.tick(self._next_decision_ns)
                self._next_decision_ns += self._period_ns

    def observe(self, alarm: Alarm, now_ns: int) -> Decision:
        """Take in the alarm of a frame; returns the decision after it."""
        return self._loop.observe([alarm], now_ns)
