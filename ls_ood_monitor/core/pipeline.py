"""The monitor of a vehicle without input and output: images, verdicts and ticks in, alarms and decisions out.

``PerceptionPipeline`` turns images into alarms, ``SupervisorLoop`` turns alarms into decisions; each node runs one of them.
``VehiclePipeline`` runs both on one clock, for a recording. Every time comes from the caller: *steady* is a clock that
never jumps, and times silence and delay; the other one is the clock of the stamps, which may jump.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import nan
from typing import Generic, TypeVar

from ..config import AlarmSettings, HealthSettings
from .alarm import AlarmFilter, LastingLevels
from .causes import Cause, CauseKind
from .input_validation import ArrivalMonitor, FrameValidator
from .supervision import Supervisor
from .types import Alarm, AlarmState, Decision, FallbackMode, Frame, Verdict

#: Perception looks for silent cameras, and reports each of them, once in this time.
SILENCE_PERIOD_NS = 100_000_000


@dataclass(frozen=True)
class InputImage:
    """One image message that was read, or could not be.

    Attributes:
        camera: name.
        stamp_ns: time of capture, nanoseconds; 0 = none.
        arrived_ns: when it arrived, steady.
        frame: its picture; None where it could not be read.
        encoding: of a raw image; empty where there is none.
        fault: why it could not be read.
    """

    camera: str
    stamp_ns: int
    arrived_ns: int
    frame: Frame | None
    encoding: str = ""
    fault: Cause | None = None


Image = TypeVar("Image", bound=InputImage)
Result = TypeVar("Result", bound=Verdict)
#: Judges frames, in their order; a cause instead means that it failed for all of them.
Network = Callable[[Sequence[Frame]], Sequence[Result] | Cause]


@dataclass(frozen=True)
class Clock:
    """The two clocks, in nanoseconds: ``steady_ns()`` and ``stamp_ns()``, which is 0 where it has not begun."""

    steady_ns: Callable[[], int]
    stamp_ns: Callable[[], int]


@dataclass(frozen=True)
class Outcome(Generic[Image, Result]):
    """What one image came to: its alarm, and the verdict where the network judged it."""

    image: Image
    alarm: Alarm
    verdict: Result | None


class _Camera:
    def __init__(
        self, name: str, alarm: AlarmSettings, levels: LastingLevels, health: HealthSettings, timeout_s: float
    ) -> None:
        self.validator = FrameValidator(name, health)
        self.arrivals = ArrivalMonitor(health, timeout_s)
        self.alarm_filter = AlarmFilter(alarm, name, levels)
        self.lock = threading.Lock()  # frames count in one thread, silence in another


class PerceptionPipeline:
    """Images and verdicts of all cameras -> alarms.

    ``on_arrival``, ``judge`` and ``on_tick`` may be called by three threads.

    Args:
        cameras: names.
        alarm: what raises and clears an alarm.
        levels: of the lasting path.
        health: limits of the input.
        timeout_s: silence after which a camera is stale.

    Attributes:
        topics: camera -> topic of its images, for people who read that it is silent.
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
        """Forget the past and begin to wait for images."""
        for camera in self._cameras.values():
            camera.validator.reset()
            camera.alarm_filter.reset()
            camera.arrivals.start(steady_ns)

    def on_arrival(self, camera: str, steady_ns: int) -> None:
        """Count an image message, whether or not the network will have time for it."""
        self._cameras[camera].arrivals.arrived(steady_ns)

    def received(self, camera: str) -> int:
        """Image messages so far."""
        return self._cameras[camera].arrivals.received

    def silent_s(self, camera: str, steady_ns: int) -> float:
        """Seconds since the camera's last image message, or since the start."""
        return self._cameras[camera].arrivals.silent_s(steady_ns)

    def judge(
        self, images: Iterable[Image], network: Network[Result], clock: Clock
    ) -> Iterator[Outcome[Image, Result]]:
        """Check the images, let the network judge those that pass, all at once, and yield each image's alarm.

        Images that fail a check come first. A verdict that comes too late is a fault: the world has moved on.
        """
        passed: list[Image] = []
        frames: list[Frame] = []
        for image in images:
            fault = image.fault or self._check(image, clock)
            if image.frame is None or fault is not None:
                fault = fault or Cause(CauseKind.UNREADABLE, detail="there is no picture")
                yield Outcome(image, self._count_fault(image, fault), None)
            else:
                passed.append(image)
                frames.append(image.frame)
        if not passed:
            return
        verdicts = network(frames)
        if isinstance(verdicts, Cause):
            for image in passed:
                yield Outcome(image, self._count_fault(image, verdicts), None)
            return
        for image, verdict in zip(passed, verdicts, strict=True):
            yield Outcome(image, self._count_verdict(image, verdict, clock), verdict)

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

    def _check(self, image: InputImage, clock: Clock) -> Cause | None:
        camera = self._cameras[image.camera]
        if image.frame is None:
            return None
        return (
            camera.validator.check(image.frame, clock.stamp_ns())
            or camera.validator.check_encoding(image.encoding)
            or camera.arrivals.check(image.arrived_ns)
        )

    def _count_verdict(self, image: InputImage, verdict: Verdict, clock: Clock) -> Alarm:
        camera = self._cameras[image.camera]
        with camera.lock:
            held_ns = clock.steady_ns() - image.arrived_ns
            late = camera.validator.check_age(image.stamp_ns, clock.stamp_ns(), held_ns)
            if late is not None:
                return camera.alarm_filter.fault(image.stamp_ns, late)
            return camera.alarm_filter.update(image.stamp_ns, verdict.score, verdict.threshold)

    def _count_fault(self, image: InputImage, cause: Cause) -> Alarm:
        camera = self._cameras[image.camera]
        with camera.lock:
            return camera.alarm_filter.fault(image.stamp_ns, cause)

    def _silence(self, name: str, steady_ns: int) -> Cause | None:
        """A silence of the camera, if there is one; a camera that is too slow is reported with its own frames."""
        cause = self._cameras[name].arrivals.check(steady_ns)
        if cause is None or cause.kind is not CauseKind.STALE:
            return None
        topic = self.topics.get(name, f"{name}/image")
        return Cause(cause.kind, value=cause.value, limit=cause.limit, detail=topic)


def alarm_without_frame(camera: str, cause: Cause) -> Alarm:
    """RAISED without a frame: a camera that is silent, or a node that cannot judge it."""
    named = Cause(cause.kind, camera, cause.value, cause.limit, cause.detail)
    return Alarm(camera, 0, AlarmState.RAISED, nan, nan, named)


class SupervisorLoop:
    """A supervisor whose decision is handed out at every tick, and at once when it turns to STOP.

    Args:
        supervisor: decides.
        on_decision: called with each decision that is due, and its time.
    """

    def __init__(self, supervisor: Supervisor, on_decision: Callable[[Decision, int], None]) -> None:
        self.supervisor = supervisor
        self._on_decision = on_decision
        self._mode: FallbackMode | None = None

    def observe(self, alarms: Sequence[Alarm], now_ns: int) -> Decision:
        """Take in alarms; returns the decision after them."""
        for alarm in alarms:
            self.supervisor.observe(alarm, now_ns)
        return self.decide(now_ns)

    def forget(self, cause: Cause, now_ns: int) -> None:
        """The sender of the alarms is gone (``Supervisor.forget``)."""
        self.supervisor.forget(cause, now_ns)
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

    def judge(self, image: Image, network: Network[Result]) -> tuple[Outcome[Image, Result], Decision]:
        """The outcome of an image, and the decision after it, at the time of its arrival."""
        now_ns = image.arrived_ns
        self.advance(now_ns)
        self._perception.on_arrival(image.camera, now_ns)
        clock = Clock(lambda: now_ns, lambda: now_ns)
        (outcome,) = self._perception.judge([image], network, clock)
        return outcome, self._loop.observe([outcome.alarm], now_ns)
