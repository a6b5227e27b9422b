"""One camera's way from arrival to alarm, around the network: what the vehicle does, and what an evaluation repeats.

Two clocks: *steady* is the caller's own, which never jumps, and times silence and delay; the other is the clock of the
stamps, which may.
"""

from __future__ import annotations

from math import nan

from ..config import AlarmSettings, HealthSettings
from .alarm import AlarmFilter
from .input_validation import ArrivalMonitor, Fault, FrameValidator, InputFault
from .types import Alarm, AlarmState, Frame, FrameResult


class CameraWatch:
    """Guard of the input, watch of its arrivals, and alarm of one camera.

    Not safe for threads: of several, only one at a time may call it.

    Args:
        camera: name.
        alarm: what raises and clears its alarm.
        clean_median: median clean score.
        health: limits of its input.
        timeout_s: silence after which it is stale.
    """

    def __init__(
        self, camera: str, alarm: AlarmSettings, clean_median: float, health: HealthSettings, timeout_s: float
    ) -> None:
        self.camera = camera
        self.guard = FrameValidator(camera, health)
        self.arrivals = ArrivalMonitor(health, timeout_s)
        self.alarm_filter = AlarmFilter(alarm, camera, clean_median)

    def start(self, steady_ns: int) -> None:
        """Forget the past and begin to wait for images."""
        self.guard.reset()
        self.alarm_filter.reset()
        self.arrivals.start(steady_ns)

    def examine(self, frame: Frame, encoding: str, arrived_ns: int, now_ns: int) -> InputFault | None:
        """Why the network need not look at the frame, or None.

        Args:
            frame: the next one of this camera.
            encoding: of a raw image; empty where there is none.
            arrived_ns: when it came, steady.
            now_ns: time on the clock of the stamps; 0 = unknown.
        """
        return self.guard.check(frame, now_ns) or self.guard.check_encoding(encoding) or self.arrivals.check(arrived_ns)

    def judged(self, result: FrameResult, held_ns: int, now_ns: int) -> Alarm:
        """Count a frame that the network has judged; a verdict that comes too late is a fault.

        Args:
            result: of the frame.
            held_ns: from its arrival to the verdict, steady.
            now_ns: time on the clock of the stamps; 0 = unknown.
        """
        late = self.guard.check_age(result.frame.stamp_ns, now_ns, held_ns)
        if late is not None:  # what the network says is of a world that has moved on
            return self.fault(result.frame.stamp_ns, late)
        return self.alarm_filter.update(result.frame.stamp_ns, result.score, result.threshold)

    def fault(self, stamp_ns: int, finding: InputFault) -> Alarm:
        """Count a frame that could not be judged."""
        return self.alarm_filter.fault(stamp_ns, finding)

    def silence(self, steady_ns: int, topic: str) -> InputFault | None:
        """A silence of the camera, if there is one; a camera that is too slow is told by its own frames."""
        found = self.arrivals.check(steady_ns)
        if found is None or found.fault is not Fault.STALE:
            return None
        finding = InputFault(Fault.STALE, f"{found.reason} on {topic}")
        self.lose(finding)
        return finding

    def lose(self, finding: InputFault) -> None:
        """The camera is silent, or the node cannot judge it: its alarm is RAISED, and good frames must clear it."""
        self.alarm_filter.lose(finding.reason)


def alarm_without_frame(camera: str, finding: InputFault) -> Alarm:
    """RAISED without a frame: a camera that is silent, or a node that cannot judge it."""
    return Alarm(
        camera, 0, AlarmState.RAISED, nan, nan, f"camera {camera}: {finding.reason}", True, finding.fault.value
    )
