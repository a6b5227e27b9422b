"""Fault campaign: every way an input can die, many times, against the real nodes in processes of their own.

    python benchmarks/faults.py --repeats 20 --json faults.json

Each repetition waits for NOMINAL, puts the fault in at a random moment, and measures over DDS, in another process than
either node: the time until STOP is heard; whether STOP holds while the fault lasts (a false clear is any other command);
the reason given; and the time until NOMINAL after the fault has ended. STOP is due within the time that the settings
allow (a timeout, or the frames that raise the alarm) plus 0.5 s. The pictures are of the procedural (synthetic) street.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))  # when it is loaded as a module by the tests
from rig import Picture, Rig, clean_pictures

from ls_ood_monitor.anomalies import apply_anomaly
from ls_ood_monitor.bundle import EMBEDDED_BUNDLE, MANIFEST, manifest_checksum
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode
from ls_ood_monitor.errors import DataError
from ls_ood_monitor.ros.conversions import alarm_message, ns_to_stamp
from ls_ood_monitor.ros.environment import private_domain, ros_environment
from ls_ood_monitor.ros.processes import wait_until

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
#: The frames that raise the alarm, in seconds.
_TRIGGER_S = PERCEPTION["trigger_consecutive_frames"] / RATE_HZ
#: STOP is due this long after what the settings allow.
MARGIN_S = 0.5
#: The stop command must come ten times a second; twice that, for a machine that is busy with the campaign itself.
LONGEST_SILENCE_S = 0.2
#: Puts a fault in; returns what ends it, and may return when the fault began (monotonic ns) where that is later.
Begin = Callable[[Rig], "tuple[Callable[[], None], int | None]"]


@dataclass(frozen=True)
class Fault:
    """One way to die.

    Attributes:
        name: in the table.
        setting: what sets the time that is allowed.
        allowed_s: that time.
        begin: puts it in.
        rig: kind of rig that it needs.
        lasts: STOP must hold until the fault ends; otherwise it is a moment, which must be told.
        from_start: any command but STOP is a false clear from the beginning, not from the first STOP.
        must_stop: STOP is due; otherwise good frames still come through, and the nodes must go on serving.
        hold_s: for how long it lasts after the first STOP.
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
    """What all repetitions of a fault gave."""

    name: str
    setting: str
    allowed_s: float
    to_stop_s: list[float] = field(default_factory=list)
    recovery_s: list[float] = field(default_factory=list)
    missed: int = 0
    false_clears: int = 0
    longest_silence_s: float = 0.0
    reason: str = ""

    @property
    def passed(self) -> bool:
        """STOP in time in every repetition, never a false clear, and the command always there, ten times a second."""
        in_time = all(delay <= self.allowed_s + MARGIN_S for delay in self.to_stop_s)
        return in_time and not self.missed and not self.false_clears and self.longest_silence_s <= LONGEST_SILENCE_S


# Faults of a camera: what happens to its messages


def _of_messages(change: Callable[[Any, int], list[Any]]) -> Begin:
    def begin(rig: Rig) -> tuple[Callable[[], None], int | None]:
        source = rig.sources["front"]
        source.spoil = change

        def end() -> None:
            source.spoil = None

        return end, None

    return begin


def _of_pictures(change: Callable[[Picture], Picture]) -> Begin:
    """The same for a fault that is seen in the picture; only for raw images."""

    def spoil(message: Any, _number: int) -> list[Any]:
        picture = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        changed = np.ascontiguousarray(change(picture))
        message.height, message.width, message.step = changed.shape[0], changed.shape[1], 3 * changed.shape[1]
        message.data = changed.tobytes()
        return [message]

    return _of_messages(spoil)


def _frozen() -> Begin:
    def begin(rig: Rig) -> tuple[Callable[[], None], int | None]:
        first: list[Any] = []

        def spoil(message: Any, _number: int) -> list[Any]:
            first.append(message.data)
            message.data = first[0]
            return [message]

        return _of_messages(spoil)(rig)

    return begin


def _half(message: Any, _number: int) -> list[Any]:
    message.data = message.data[: len(message.data) // 2]
    return [message]


def _stamp(shift_s: Callable[[int], float]) -> Begin:
    """Stamps shifted by a function of the messages since the fault began."""

    def begin(rig: Rig) -> tuple[Callable[[], None], int | None]:
        count = [0]

        def spoil(message: Any, _number: int) -> list[Any]:
            count[0] += 1
            now_ns = time.time_ns() + round(shift_s(count[0]) * 1e9)
            message.header.stamp = ns_to_stamp(now_ns)
            return [message]

        return _of_messages(spoil)(rig)

    return begin


def _corrupt_jpeg() -> Begin:
    random = np.random.default_rng(0)

    def spoil(message: Any, _number: int) -> list[Any]:
        data = bytes(message.data)
        cut = int(random.integers(2, len(data) - 200))
        kind = int(random.integers(3))
        message.data = (
            data[:cut],  # cut off
            random.integers(0, 256, len(data), dtype=np.uint8).tobytes(),  # noise
            data[:cut] + bytes(200) + data[cut + 200 :],  # a lost block
        )[kind]
        return [message]

    return _of_messages(spoil)


def _flood_of_images(message: Any, _number: int) -> list[Any]:
    return [message] * 50  # 500 a second, each the same frame again and again


def _jump(shift_s: float) -> Begin:
    """The cameras' clock, and simulated time where the nodes follow it, jumps and goes on from there."""

    def begin(rig: Rig) -> tuple[Callable[[], None], int | None]:
        if rig.clock is not None:
            rig.clock.offset_s += shift_s
        else:
            for source in rig.sources.values():
                source.offset_s += shift_s
        return lambda: None, None

    return begin


# Faults of the processes


def _killed(rig: Rig) -> tuple[Callable[[], None], int | None]:
    rig.perception.signal(signal.SIGKILL)
    return rig.start_perception, None


def _hung(rig: Rig) -> tuple[Callable[[], None], int | None]:
    rig.perception.signal(signal.SIGSTOP)
    return lambda: rig.perception.signal(signal.SIGCONT), None


def _stalled_supervisor(rig: Rig) -> tuple[Callable[[], None], int | None]:
    """The supervisor's process stands still while perception dies; what it finds in its queue afterwards is old."""
    rig.supervisor.signal(signal.SIGSTOP)
    time.sleep(0.3)
    rig.perception.signal(signal.SIGKILL)
    time.sleep(3.0)
    go_on_ns = time.monotonic_ns()
    rig.supervisor.signal(signal.SIGCONT)
    return rig.start_perception, go_on_ns


def _every_other_black(message: Any, number: int) -> list[Any]:
    if number % 2:
        message.data = bytes(len(message.data))
    return [message]


def _network(name: str) -> Begin:
    def begin(rig: Rig) -> tuple[Callable[[], None], int | None]:
        rig.network_fault(name)
        return lambda: rig.network_fault(""), None

    return begin


def _supervisor_restarted(rig: Rig) -> tuple[Callable[[], None], int | None]:
    rig.supervisor.signal(signal.SIGKILL)
    rig.supervisor.wait(5.0)
    gone_ns = time.monotonic_ns()
    rig.start_supervisor()
    return lambda: None, gone_ns


def _second_perception(rig: Rig) -> tuple[Callable[[], None], int | None]:
    begun = len(rig.observer.alarms())
    before = {heard.alarm.source for heard in rig.observer.alarms()}
    second = rig.start_second_perception()

    def strangers() -> list[int]:
        return [heard.at_ns for heard in rig.observer.alarms(begun) if heard.alarm.source not in before]

    wait_until(strangers, "the second perception", 60.0)

    def end() -> None:
        second.stop()

    return end, strangers()[0]


def _bundle_of_another_camera(rig: Rig) -> tuple[Callable[[], None], int | None]:
    """The bundle is exchanged for one that was calibrated on other cameras; perception starts again with it."""
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
        begun = len(rig.observer.alarms())
        rig.start_perception(bundle_path=folder, require_calibrated_cameras=True)
        refused = "not on front, left"
        wait_until(lambda: any(refused in heard.alarm.reason for heard in rig.observer.alarms(begun)), refused, 60.0)

    def end() -> None:
        rig.perception.stop()
        rig.start_perception()

    return end, begun_ns


def _forged_alarms(rig: Rig) -> tuple[Callable[[], None], int | None]:
    """Another process floods the supervisor with a thousand clear alarms a second."""
    publisher = rig.observer.create_publisher(DiagnosticArray, "/perception_node/ood_alarm", 10)
    wait_until(publisher.get_subscription_count, "the supervisor to hear the second publisher")
    ended = threading.Event()

    def flood() -> None:
        while not ended.wait(0.001):
            alarm = Alarm("front", time.time_ns(), AlarmState.CLEAR, 0.0, 1.0, "all is well", source="forger:1")
            publisher.publish(alarm_message(alarm, {}, "perception_node"))

    thread = threading.Thread(target=flood, daemon=True)
    begun_ns = time.monotonic_ns()
    thread.start()

    def end() -> None:
        ended.set()
        thread.join(5.0)
        rig.observer.destroy_publisher(publisher)

    return end, begun_ns


FAULTS = (
    Fault(
        "scene out of distribution (fog 4)",
        "3 frames",
        _TRIGGER_S,
        _of_pictures(lambda p: apply_anomaly("fog", p, 4, seed=0)),
    ),
    Fault("camera silent", "image_timeout_s", 0.5, _of_messages(lambda message, number: [])),
    Fault("camera frozen", "3 frames", _TRIGGER_S, _frozen()),
    Fault("camera black", "3 frames", _TRIGGER_S, _of_pictures(np.zeros_like)),
    Fault("every other frame black", "6 frames", 2 * _TRIGGER_S, _of_messages(_every_other_black)),
    Fault("half frames", "3 frames", _TRIGGER_S, _of_messages(_half)),
    Fault("another size", "3 frames", _TRIGGER_S, _of_pictures(lambda p: cv2.resize(p, None, fx=0.5, fy=0.5))),
    Fault("corrupt JPEG storm", "3 frames", _TRIGGER_S, _corrupt_jpeg(), rig="compressed"),
    Fault("stamps run backwards", "3 frames", _TRIGGER_S, _stamp(lambda count: -0.2 * count)),
    Fault("stamps an hour ahead", "3 frames", _TRIGGER_S, _stamp(lambda count: 3600.0)),
    Fault("looped recording", "1 frame", 0.1, _jump(-7.0), rig="recording", lasts=False),
    Fault("clock jumps back 100 s", "1 frame", 0.1, _jump(-100.0), rig="simulated", lasts=False),
    Fault("clock jumps ahead 100 s", "1 frame", 0.1, _jump(100.0), rig="simulated", lasts=False, must_stop=False),
    Fault(
        "flood of 500 images a second",
        "9 frames",
        3 * _TRIGGER_S,
        _of_messages(_flood_of_images),
        lasts=False,
        must_stop=False,
    ),
    Fault("flood of 1000 forged alarms a second", "at once", 0.0, _forged_alarms),
    Fault("inference out of memory", "3 frames", _TRIGGER_S, _network("out_of_memory"), rig="faulty"),
    Fault("weights NaN", "3 frames", _TRIGGER_S, _network("nan_weights"), rig="faulty"),
    Fault("inference takes 0.8 s", "alarm_timeout_s", 0.5, _network("slow"), rig="faulty", hold_s=4.0),
    Fault("perception killed (SIGKILL)", "alarm_timeout_s", 0.5, _killed),
    Fault("perception hung (SIGSTOP)", "alarm_timeout_s", 0.5, _hung),
    # Until the supervisor has discovered the second one it hears the first alone, as if there were no other.
    Fault("two perceptions on one topic", "DDS discovery", 1.0, _second_perception),
    Fault("bundle of another camera", "alarm_timeout_s", 0.5, _bundle_of_another_camera),
    Fault("supervisor killed and restarted", "its start", 5.0, _supervisor_restarted, lasts=False, from_start=True),
    # By the time of the fault it had commanded NOMINAL; its first word after the stall must be STOP.
    Fault(
        "supervisor stalled (SIGSTOP), perception killed",
        "at once",
        0.0,
        _stalled_supervisor,
        from_start=True,
        hold_s=4.0,
    ),
)


def measure(rig: Rig, fault: Fault, outcome: Outcome, random: np.random.Generator) -> None:
    """One repetition, appended to ``outcome``."""
    rig.wait_for(FallbackMode.NOMINAL, "the repetition before", 60.0)
    time.sleep(0.3 + float(random.uniform(0.0, 1.0 / RATE_HZ)))
    decisions, stops = len(rig.observer.decisions()), len(rig.observer.stops())
    asked_ns = time.monotonic_ns()
    end, later_ns = fault.begin(rig)
    begun_ns = asked_ns if later_ns is None else later_ns

    def stopped() -> list[int]:
        return [heard.at_ns for heard in rig.observer.stops(stops) if heard.stop and heard.at_ns >= begun_ns]

    try:
        wait_until(stopped, "STOP", fault.allowed_s + (5.0 if fault.must_stop else fault.hold_s))
    except DataError:
        outcome.missed += fault.must_stop
    if stop_ns := next(iter(stopped()), None):
        outcome.to_stop_s.append((stop_ns - begun_ns) / 1e9)
        if fault.lasts:
            time.sleep(fault.hold_s)
    end_ns = time.monotonic_ns()
    heard = rig.observer.stops(stops)
    told = [one for one in rig.observer.decisions(decisions) if one.at_ns >= begun_ns]
    end()
    if fault.from_start:
        first_ns = begun_ns
        last_ns = end_ns if fault.lasts else stop_ns or end_ns
        outcome.false_clears += any(not one.stop for one in heard if first_ns <= one.at_ns <= last_ns)
    elif stop_ns and fault.lasts:
        outcome.false_clears += any(not one.stop for one in heard if one.at_ns >= stop_ns)
    # By the supervisor's own stamps: this process, too, is busy under a flood, and would hear the command late.
    times = [one.at_ns if rig.clock else one.stamp_ns for one in told]
    outcome.longest_silence_s = max([outcome.longest_silence_s, *((b - a) / 1e9 for a, b in pairwise(times))])
    # Of a lasting fault the sentence at the end, which names it: the first may be of the silence that it began with.
    worst = max((one.mode for one in told), default=FallbackMode.NOMINAL)
    told = [one for one in told if one.mode is worst]
    outcome.reason = f"{worst.name}: {told[-1 if fault.lasts else 0].reason}" if told else ""
    recovered_ns = rig.wait_for(FallbackMode.NOMINAL, f"the end of {fault.name}", 90.0)
    outcome.recovery_s.append(max(0.0, (recovered_ns - end_ns) / 1e9))


@contextmanager
def rig_of(kind: str, pictures: dict[str, list[Picture]], out: Path, environment: dict[str, str]) -> Iterator[Rig]:
    """The vehicle that a fault needs."""
    options = {"compressed": kind == "compressed", "simulated": kind == "simulated", "faulty": kind == "faulty"}
    with Rig(pictures, out, environment, PERCEPTION, SUPERVISOR, RATE_HZ, **options) as rig:
        if kind == "recording":  # its stamps are of another day, which is one jump back to begin with
            for source in rig.sources.values():
                source.offset_s = -1e6
            time.sleep(1.0)
        yield rig


def run_campaign(faults: Sequence[Fault], repeats: int, out: Path, environment: dict[str, str]) -> list[Outcome]:
    """All faults, grouped by the rig they need; rclpy must be initialised in ``environment``."""
    random = np.random.default_rng(0)
    pictures = clean_pictures(CAMERAS, 40)
    outcomes = {fault.name: Outcome(fault.name, fault.setting, fault.allowed_s) for fault in faults}
    jobs = len(faults) * repeats
    progress = iter(track(range(jobs), "faults", console=Console(stderr=True)))
    next(progress, None)
    for kind in dict.fromkeys(fault.rig for fault in faults):
        with rig_of(kind, pictures, out / kind, environment) as rig:
            for fault in (one for one in faults if one.rig == kind):
                for _ in range(repeats):
                    measure(rig, fault, outcomes[fault.name], random)
                    next(progress, None)
    return list(outcomes.values())


def table_of(outcomes: Sequence[Outcome]) -> Table:
    """One row a fault."""
    table = Table(
        "fault", "allowed by", "STOP, median", "STOP, max", "due", "false clears", "NOMINAL again", "reason shown"
    )
    for one in outcomes:
        stop = [f"{np.median(one.to_stop_s):.2f} s", f"{max(one.to_stop_s):.2f} s"] if one.to_stop_s else ["-", "-"]
        back = one.recovery_s or [float("nan")]
        table.add_row(
            one.name,
            f"{one.setting} ({one.allowed_s:g} s)",
            *stop,
            f"{one.allowed_s + MARGIN_S:.2f} s" + (f", missed {one.missed}" if one.missed else ""),
            str(one.false_clears),
            f"{np.median(back):.2f} s (max {max(back):.2f})",
            one.reason,
        )
    return table


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="of every fault (default %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="faults whose name holds one of these words")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the nodes' logs here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measured delay")
    args = parser.parse_args()
    faults = [one for one in FAULTS if not args.only or any(word in one.name for word in args.only)]
    if not faults:
        parser.error(
            f"no fault's name holds {' or '.join(args.only)}; there are: {'; '.join(one.name for one in FAULTS)}"
        )
    environment = ros_environment(private_domain())
    os.environ.update(environment)  # before rclpy, which reads it once
    import rclpy

    rclpy.init()
    with tempfile.TemporaryDirectory() as scratch:
        outcomes = run_campaign(faults, args.repeats, args.logs or Path(scratch), environment)
    rclpy.try_shutdown()
    console = Console(width=200)
    console.print(table_of(outcomes))
    slowest = max(one.longest_silence_s for one in outcomes)
    console.print(
        f"{args.repeats} repetitions each; the stop command was never silent for longer than {slowest:.2f} s while its node lived"
    )
    if args.json:
        args.json.write_text(json.dumps([asdict(one) for one in outcomes], indent=2) + "\n", encoding="utf-8")
    failed = [one.name for one in outcomes if not one.passed]
    console.print(
        f"[bold red]FAILED[/]: {', '.join(failed)}"
        if failed
        else "[bold green]PASSED[/]: STOP in time in every repetition, no false clear"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
