"""Fault campaign: faults of camera, network and processes, injected into the real nodes again and again, and timed.

Each repetition waits for NOMINAL and injects the fault at a random moment. Measured over DDS, in another process than either
node: the time until STOP arrives; whether STOP holds while the fault lasts (any other command is a false clear); the reason;
and the time until NOMINAL after the fault has ended. STOP is due within the time that the settings allow (a timeout, or the
frames that raise the alarm) plus 0.5 s. The pictures are of the procedural (synthetic) street.
"""

from __future__ import annotations

import json
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray

from ls_ood_monitor.anomalies import apply_anomaly
from ls_ood_monitor.bundle import EMBEDDED_BUNDLE, MANIFEST, manifest_checksum
from ls_ood_monitor.cli.console import progress_bar
from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode
from ls_ood_monitor.errors import DataError
from ls_ood_monitor.ros.conversions import alarm_message, ns_to_stamp
from ls_ood_monitor.ros.processes import wait_until
from ls_ood_monitor.wording import sentence

from .camera_messages import Picture
from .rig import Rig, Spoil, clean_pictures

CAMERAS = ("front", "left")
RATE_HZ = 10.0
#: What an integrator would set for cameras of 10 Hz.
PERCEPTION = {
    "image_timeout_s": 0.5,
    "max_age_s": 0.4,
    "expected_width": 320,
    "expected_height": 242,
    "trigger_consecutive_frames": 3,
    "release_consecutive_frames": 5,
}
SUPERVISOR = {"alarm_timeout_s": 0.5}
#: STOP is due this long after what the settings allow.
MARGIN_S = 0.5
#: The stop command must come ten times a second; this is twice that, because the campaign itself keeps the machine busy.
MAX_SILENCE_S = 0.2
#: Ends a fault.
End = Callable[[], object]
#: Injects a fault; returns what ends it, and when the fault began (monotonic ns) where that is later than the call.
Begin = Callable[[Rig], tuple[End, int | None]]


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: in the table.
        setting: what determines the allowed time.
        allowed_s: that time.
        begin: injects the fault.
        rig: kind of rig that it needs.
        lasts: STOP must hold until the fault ends; otherwise the fault is a moment, and one STOP is enough.
        from_start: any command but STOP is a false clear from the beginning, not from the first STOP.
        must_stop: STOP is due; otherwise good frames still arrive, and the nodes must go on.
        hold_s: how long the fault lasts after the first STOP.
    """

    name: str
    setting: str
    allowed_s: float
    begin: Begin
    rig: str = "raw"
    lasts: bool = True
    must_stop: bool = True
    from_start: bool = False
    hold_s: float = 1.5


@dataclass
class Outcome:
    """Results of all repetitions of a fault."""

    name: str
    setting: str
    allowed_s: float
    to_stop_s: list[float] = field(default_factory=list)
    recovery_s: list[float] = field(default_factory=list)
    missed: int = 0
    false_clears: int = 0
    longest_silence_s: float = 0.0
    reason: str = ""
    because: str = ""

    @property
    def passed(self) -> bool:
        """STOP in time in every repetition, no false clear, and a command that never fell silent."""
        in_time = all(delay <= self.allowed_s + MARGIN_S for delay in self.to_stop_s)
        return in_time and not self.missed and not self.false_clears and self.longest_silence_s <= MAX_SILENCE_S


# Faults of a camera: what happens to its messages. Every injection makes a new ``Spoil``, which may hold state.


def _messages(make_spoil: Callable[[], Spoil]) -> Begin:
    def begin(rig: Rig) -> tuple[End, None]:
        source = rig.sources["front"]
        source.spoil = make_spoil()
        return lambda: setattr(source, "spoil", None), None

    return begin


def _pictures(change: Callable[[Picture], Picture], clean_every: int = 0) -> Begin:
    """A fault that is seen in the picture, but not in every so manyth one; only for raw images."""

    def spoil(message: Any, number: int) -> list[Any]:
        if clean_every and number % clean_every == 0:
            return [message]
        picture = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        changed = np.ascontiguousarray(change(picture))
        message.height, message.width, message.step = changed.shape[0], changed.shape[1], 3 * changed.shape[1]
        message.data = changed.tobytes()
        return [message]

    return _messages(lambda: spoil)


def _data(change: Callable[[bytes, int], bytes]) -> Begin:
    """A fault of the message's bytes, by the number of the message."""

    def spoil(message: Any, number: int) -> list[Any]:
        message.data = change(bytes(message.data), number)
        return [message]

    return _messages(lambda: spoil)


def _frozen() -> Spoil:
    first: list[Any] = []

    def spoil(message: Any, _number: int) -> list[Any]:
        first.append(message.data)
        message.data = first[0]
        return [message]

    return spoil


def _repeated() -> Spoil:
    """Every third picture replaces the two after it."""
    last: list[Any] = []

    def spoil(message: Any, number: int) -> list[Any]:
        if number % 3 == 0 or not last:
            last[:] = [message.data]
        message.data = last[0]
        return [message]

    return spoil


def _stamps(shift_s: Callable[[int], float]) -> Begin:
    """Stamps shifted by a function of the number of messages since the fault began."""

    def make_spoil() -> Spoil:
        numbers = count(1)

        def spoil(message: Any, _number: int) -> list[Any]:
            message.header.stamp = ns_to_stamp(time.time_ns() + round(shift_s(next(numbers)) * 1e9))
            return [message]

        return spoil

    return _messages(make_spoil)


def _corrupt(data: bytes, number: int) -> bytes:
    """Cut off, replaced by noise, or with a lost block."""
    random = np.random.default_rng(number)
    cut = int(random.integers(2, len(data) - 200))
    noise = random.integers(0, 256, len(data), dtype=np.uint8).tobytes()
    return (data[:cut], noise, data[:cut] + bytes(200) + data[cut + 200 :])[int(random.integers(3))]


def _jump(shift_s: float) -> Begin:
    """The clock of the cameras, and simulated time where the nodes follow it, jumps and goes on from there."""

    def begin(rig: Rig) -> tuple[End, None]:
        for clock in [rig.clock] if rig.clock else rig.sources.values():
            clock.offset_s += shift_s
        return lambda: None, None

    return begin


# Faults of the processes


def _killed(rig: Rig) -> tuple[End, None]:
    rig.perception.signal(signal.SIGKILL)
    return rig.start_perception, None


def _hung(rig: Rig) -> tuple[End, None]:
    rig.perception.signal(signal.SIGSTOP)
    return lambda: rig.perception.signal(signal.SIGCONT), None


def _stalled_supervisor(rig: Rig) -> tuple[End, int]:
    """The supervisor's process is stopped while perception dies; what it finds in its queue afterwards is old."""
    rig.supervisor.signal(signal.SIGSTOP)
    time.sleep(0.3)
    rig.perception.signal(signal.SIGKILL)
    time.sleep(3.0)
    continued_ns = time.monotonic_ns()
    rig.supervisor.signal(signal.SIGCONT)
    return rig.start_perception, continued_ns


def _network(name: str) -> Begin:
    def begin(rig: Rig) -> tuple[End, None]:
        rig.network_fault(name)
        return lambda: rig.network_fault(""), None

    return begin


def _supervisor_restarted(rig: Rig) -> tuple[End, int]:
    rig.supervisor.signal(signal.SIGKILL)
    rig.supervisor.wait(5.0)
    gone_ns = time.monotonic_ns()
    rig.start_supervisor()
    return lambda: None, gone_ns


def _second_perception(rig: Rig) -> tuple[End, int]:
    alarms_before = rig.observer.alarms()
    sources_before = {heard.alarm.source for heard in alarms_before}
    second = rig.start_second_perception()

    def times_ns() -> list[int]:
        newer = rig.observer.alarms(len(alarms_before))
        return [heard.at_ns for heard in newer if heard.alarm.source not in sources_before]

    wait_until(times_ns, "the second perception", 60.0)
    return second.stop, times_ns()[0]


def _bundle_of_another_camera(rig: Rig) -> tuple[End, int]:
    """Perception restarts with a bundle that was calibrated on other cameras."""
    with tempfile.TemporaryDirectory() as folder:
        for path in EMBEDDED_BUNDLE.iterdir():
            (Path(folder) / path.name).write_bytes(path.read_bytes())
        manifest = Path(folder) / MANIFEST
        content = json.loads(manifest.read_text())
        content["provenance"]["calibration"]["cameras"] = {"periscope": 100}
        content["checksum"] = manifest_checksum(content)
        manifest.write_text(json.dumps(content))
        begun_ns = time.monotonic_ns()
        rig.perception.signal(signal.SIGKILL)
        rig.perception.wait(5.0)
        before = len(rig.observer.alarms())
        rig.start_perception(bundle_path=folder, require_calibrated_cameras=True)
        reason = "not on front, left"
        wait_until(
            lambda: any(reason in sentence(heard.alarm.cause) for heard in rig.observer.alarms(before)), reason, 60.0
        )

    def end() -> None:
        rig.perception.stop()
        rig.start_perception()

    return end, begun_ns


def _forged_alarms(rig: Rig) -> tuple[End, int]:
    """Another process floods the supervisor with a thousand clear alarms a second."""
    publisher = rig.observer.create_publisher(DiagnosticArray, "/perception_node/ood_alarm", 10)
    wait_until(publisher.get_subscription_count, "the supervisor to discover the second publisher")
    ended = threading.Event()

    def flood() -> None:
        while not ended.wait(0.001):
            cause = Cause(CauseKind.IN_DISTRIBUTION, "front", 0.0, 1.0)
            alarm = Alarm("front", time.time_ns(), AlarmState.CLEAR, 0.0, 1.0, cause, source="forger:1")
            publisher.publish(alarm_message(alarm, {}, "perception_node"))

    thread = threading.Thread(target=flood, daemon=True)
    begun_ns = time.monotonic_ns()
    thread.start()

    def end() -> None:
        ended.set()
        thread.join(5.0)
        rig.observer.destroy_publisher(publisher)

    return end, begun_ns


_FRAME_S = 1.0 / RATE_HZ
_THREE_FRAMES = ("3 frames", 3 * _FRAME_S)
_ONE_FRAME = ("1 frame", _FRAME_S)
_ALARM_TIMEOUT = ("alarm_timeout_s", SUPERVISOR["alarm_timeout_s"])
_AT_ONCE = ("at once", 0.0)
#: Two of three frames fill half of the lasting window of 5 s in three quarters of its length.
_LASTING = ("lasting_window_s", 3.75)


def _fog(picture: Picture) -> Picture:
    return apply_anomaly("fog", picture, 4, seed=0)


FAULTS = (
    Fault("scene out of distribution (fog 4)", *_THREE_FRAMES, _pictures(_fog)),
    Fault("fog 4 in two of three frames", *_LASTING, _pictures(_fog, clean_every=3), hold_s=4.0),
    Fault("camera silent", "image_timeout_s", 0.5, _messages(lambda: lambda message, number: [])),
    Fault("camera frozen", "frozen_s and 3 frames", 0.5 + 3 * _FRAME_S, _messages(_frozen)),
    Fault("each picture three times", "no stop", 0.0, _messages(_repeated), lasts=False, must_stop=False),
    Fault("camera black", *_THREE_FRAMES, _pictures(np.zeros_like)),
    Fault("every other frame black", "6 frames", 6 * _FRAME_S, _data(lambda d, n: bytes(len(d)) if n % 2 else d)),
    Fault("half frames", *_THREE_FRAMES, _data(lambda data, _number: data[: len(data) // 2])),
    Fault("another size", *_THREE_FRAMES, _pictures(lambda p: cv2.resize(p, None, fx=0.5, fy=0.5))),
    Fault("corrupt JPEG storm", *_THREE_FRAMES, _data(_corrupt), rig="compressed"),
    Fault("stamps run backwards", *_THREE_FRAMES, _stamps(lambda number: -0.2 * number)),
    Fault("stamps an hour ahead", *_THREE_FRAMES, _stamps(lambda _number: 3600.0)),
    Fault("looped recording", *_ONE_FRAME, _jump(-7.0), rig="recording", lasts=False),
    Fault("clock jumps back 100 s", *_ONE_FRAME, _jump(-100.0), rig="simulated", lasts=False),
    Fault("clock jumps ahead 100 s", *_ONE_FRAME, _jump(100.0), rig="simulated", lasts=False, must_stop=False),
    Fault(
        "flood of 500 images a second", "9 frames", 9 * _FRAME_S, _messages(lambda: lambda message, number: [message] * 50),
        lasts=False, must_stop=False,
    ),
    Fault("flood of 1000 forged alarms a second", *_AT_ONCE, _forged_alarms),
    Fault("inference out of memory", *_THREE_FRAMES, _network("out_of_memory"), rig="faulty"),
    Fault("weights NaN", *_THREE_FRAMES, _network("nan_weights"), rig="faulty"),
    Fault("inference takes 0.8 s", *_ALARM_TIMEOUT, _network("slow"), rig="faulty", hold_s=4.0),
    Fault("perception killed (SIGKILL)", *_ALARM_TIMEOUT, _killed),
    Fault("perception hung (SIGSTOP)", *_ALARM_TIMEOUT, _hung),
    # Until the supervisor has discovered the second one it receives the first alone, as if there were no other.
    Fault("two perceptions on one topic", "DDS discovery", 1.0, _second_perception),
    Fault("bundle of another camera", *_ALARM_TIMEOUT, _bundle_of_another_camera),
    Fault("supervisor killed and restarted", "its start", 5.0, _supervisor_restarted, lasts=False, from_start=True),
    # It had commanded NOMINAL before the fault; its first command after the stall must be STOP.
    Fault(
        "supervisor stalled (SIGSTOP), perception killed", *_AT_ONCE, _stalled_supervisor, from_start=True, hold_s=4.0
    ),
)  # fmt: skip


def measure(rig: Rig, fault: Fault, outcome: Outcome, random: np.random.Generator) -> None:
    """Run one repetition and add it to ``outcome``."""
    rig.wait_for(FallbackMode.NOMINAL, "the repetition before", 60.0)
    time.sleep(0.3 + float(random.uniform(0.0, 1.0 / RATE_HZ)))
    decisions_before, stops_before = len(rig.observer.decisions()), len(rig.observer.stops())
    called_ns = time.monotonic_ns()
    end, later_ns = fault.begin(rig)
    begun_ns = called_ns if later_ns is None else later_ns

    def stop_times_ns() -> list[int]:
        return [heard.at_ns for heard in rig.observer.stops(stops_before) if heard.stop and heard.at_ns >= begun_ns]

    try:
        wait_until(stop_times_ns, "STOP", fault.allowed_s + (5.0 if fault.must_stop else fault.hold_s))
    except DataError:
        outcome.missed += fault.must_stop
    if stop_ns := next(iter(stop_times_ns()), None):
        outcome.to_stop_s.append((stop_ns - begun_ns) / 1e9)
        if fault.lasts:
            time.sleep(fault.hold_s)
    end_ns = time.monotonic_ns()
    stops = rig.observer.stops(stops_before)
    decisions = [heard for heard in rig.observer.decisions(decisions_before) if heard.at_ns >= begun_ns]
    end()
    if fault.from_start or (stop_ns and fault.lasts):
        first_ns = begun_ns if fault.from_start else stop_ns or end_ns
        last_ns = end_ns if fault.lasts else stop_ns or end_ns
        outcome.false_clears += any(not heard.stop for heard in stops if first_ns <= heard.at_ns <= last_ns)
    # By the supervisor's own stamps: a flood keeps this process busy too, and commands would seem late.
    times_ns = [heard.at_ns if rig.clock else heard.stamp_ns for heard in decisions]
    outcome.longest_silence_s = max([outcome.longest_silence_s, *((b - a) / 1e9 for a, b in pairwise(times_ns))])
    # A lasting fault is named by the last reason: the first may be of the silence that it began with.
    worst = max((heard.mode for heard in decisions), default=FallbackMode.NOMINAL)
    of_worst = [heard for heard in decisions if heard.mode is worst]
    if of_worst:
        named = of_worst[-1 if fault.lasts else 0]
        outcome.reason, outcome.because = f"{worst.name}: {named.reason}", named.because
    recovered_ns = rig.wait_for(FallbackMode.NOMINAL, f"the end of {fault.name}", 90.0)
    outcome.recovery_s.append(max(0.0, (recovered_ns - end_ns) / 1e9))


@contextmanager
def rig_of(kind: str, pictures: dict[str, list[Picture]], out: Path, environment: dict[str, str]) -> Iterator[Rig]:
    """The rig that a fault needs."""
    options = {option: kind == option for option in ("compressed", "simulated", "faulty")}
    with Rig(pictures, out, environment, PERCEPTION, SUPERVISOR, RATE_HZ, **options) as rig:
        if kind == "recording":  # its stamps are of another day: they jump back once before the fault
            for source in rig.sources.values():
                source.offset_s = -1e6
            time.sleep(1.0)
        yield rig


def run_campaign(faults: Sequence[Fault], repeats: int, out: Path, environment: dict[str, str]) -> list[Outcome]:
    """Run all faults, grouped by the rig that they need; rclpy must be initialised in ``environment``."""
    random = np.random.default_rng(0)
    pictures = clean_pictures(CAMERAS, 40)
    outcomes = {fault.name: Outcome(fault.name, fault.setting, fault.allowed_s) for fault in faults}
    done = 0
    with progress_bar("Faults", len(faults) * repeats) as update:
        for kind in dict.fromkeys(fault.rig for fault in faults):
            with rig_of(kind, pictures, out / kind, environment) as rig:
                for fault in (fault for fault in faults if fault.rig == kind):
                    for _ in range(repeats):
                        measure(rig, fault, outcomes[fault.name], random)
                        done += 1
                        update(done, fault.name)
    return list(outcomes.values())
