"""Random and mutated messages through the real conversions and the real nodes' callbacks.

    python benchmarks/fuzz_messages.py [--messages 100000] [--seed 0] [--json FILE]

A third each: raw images and compressed images into the perception node, alarms into the supervisor. Half of the
mutations make a message certainly invalid (what makes it so is written beside it); the rest flip bits and fields at
random, where only a crash is a failure: a flipped pixel is still a picture. The nodes are real and run in this process;
the network is a stand-in that calls every frame clear, so that nothing but the checks can refuse a message.

Exit 1 when anything was raised, an invalid message was not told as a fault, or a good one was not clear afterwards.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.parameter import Parameter
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ls_ood_monitor.config import AlarmSettings
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode, Frame, FrameResult
from ls_ood_monitor.ros import perception_node
from ls_ood_monitor.ros.conversions import alarm_message, alarms_of, image_message, ns_to_stamp
from ls_ood_monitor.ros.supervisor_node import SupervisorNode
from ls_ood_monitor.ros.worker import Arrival

Random = np.random.Generator
Mutation = Callable[[Random, Any], None]
HEIGHT, WIDTH = 48, 64


@dataclass
class Outcome:
    """What came of the messages of one kind."""

    messages: int = 0
    invalid: int = 0
    refused: int = 0
    crashes: int = 0
    accepted_invalid: Counter[str] = field(default_factory=Counter)
    not_recovered: int = 0

    def mutate(
        self, message: Any, faults: dict[str, Mutation], anything: dict[str, Mutation], random: Random
    ) -> tuple[str, bool]:
        """Change and count a message; the name of what was done, and whether it is certainly invalid now."""
        is_invalid = bool(random.random() < 0.5)
        mutations = faults if is_invalid else anything
        name = str(random.choice(list(mutations)))
        mutations[name](random, message)
        self.messages += 1
        self.invalid += is_invalid
        return name, is_invalid

    @property
    def passed(self) -> bool:
        """Nothing raised, nothing invalid accepted, every good message afterwards clear."""
        return not (self.crashes or self.accepted_invalid or self.not_recovered)


class ClearMonitor:
    """Stands in for the network: every frame that reaches it is clear."""

    bundle_id, detector, threshold, clean_median = "0" * 64, "larem", 2.0, 1.0
    alarm, cameras, class_names = AlarmSettings(1, 1), ("front",), ("all",)
    device, engine_label = torch.device("cpu"), "none fp32"
    reentrant, preferred_batch_size = True, 1
    difference = None

    def warm_up(self, batch: int) -> None:
        """Nothing to warm up."""

    def begin(self, frames: list[Frame], *, decode: bool = True) -> SimpleNamespace:
        """All at once."""
        results = self.process(frames)
        return SimpleNamespace(verdicts=results, result=results.__getitem__, network_ms=1.0)

    def process(self, frames: list[Frame]) -> list[FrameResult]:
        """Score 1 under a threshold of 2."""
        results = []
        for frame in frames:
            mask = np.zeros(frame.image.shape[:2], np.uint8)
            results.append(FrameResult(frame, 1.0, 2.0, "larem", {"larem": 1.0}, segmentation=mask, confidence=mask))
        return results


def _set(name: str, draw: Callable[[Random, Any], Any]) -> Mutation:
    return lambda random, message: setattr(message, name, draw(random, message))


def _bytes(random: Random, size: int) -> array.array[int]:
    return array.array("B", random.integers(0, 256, size, dtype=np.uint8).tobytes())


def _stamp(seconds: int, nanoseconds: int) -> Mutation:
    def change(_random: Random, message: Any) -> None:
        message.header.stamp.sec, message.header.stamp.nanosec = seconds, nanoseconds

    return change


#: Certainly invalid, whatever else the message holds; name = why.
STAMPS: dict[str, Mutation] = {
    "stamp zero": _stamp(0, 0),
    "stamp negative": _stamp(-5, 0),
    "stamp before the last": _stamp(1, 0),
    "nanoseconds of more than a second": _stamp(2_000_000_000, 1_000_000_001),
    "stamp years ahead": _stamp(2_140_000_000, 0),
}
RAW_FAULTS: dict[str, Mutation] = {
    **STAMPS,
    "no rows": _set("height", lambda r, m: 0),
    "no columns": _set("width", lambda r, m: 0),
    "height of another picture": _set("height", lambda r, m: int(m.height + r.integers(1, 2**31))),
    "step too short": _set("step", lambda r, m: int(r.integers(0, m.step))),
    "step too long": _set("step", lambda r, m: int(m.step + r.integers(1, 2**31))),
    "data short": _set("data", lambda r, m: m.data[: int(r.integers(0, len(m.data)))]),
    "data long": _set("data", lambda r, m: m.data + _bytes(r, int(r.integers(1, 4000)))),
    "no data": _set("data", lambda r, m: array.array("B")),
    "encoding unknown": _set("encoding", lambda r, m: "x" + bytes(r.integers(97, 123, 6, dtype=np.uint8)).decode()),
    "encoding of floats": _set("encoding", lambda r, m: str(r.choice(["32FC1", "32FC3", "64FC1"]))),
    "encoding empty": _set("encoding", lambda r, m: ""),
    "black": _set("data", lambda r, m: array.array("B", bytes(len(m.data)))),
    "white": _set("data", lambda r, m: array.array("B", b"\xff" * len(m.data))),
}
RAW_ANYTHING: dict[str, Mutation] = {
    "bytes flipped": lambda r, m: _flip(r, m),
    "field at random": lambda r, m: setattr(
        m, str(r.choice(["height", "width", "step"])), int(r.integers(0, 2**32, dtype=np.uint64))
    ),
    "big-endian at random": _set("is_bigendian", lambda r, m: int(r.integers(0, 256))),
    "another encoding": _set(
        "encoding", lambda r, m: str(r.choice(["rgb8", "mono8", "bayer_rggb8", "yuyv", "mono16"]))
    ),
    "random bytes": _set("data", lambda r, m: _bytes(r, int(r.integers(0, 20000)))),
    "nothing": lambda r, m: None,
}
COMPRESSED_FAULTS: dict[str, Mutation] = {
    **STAMPS,
    "no data": _set("data", lambda r, m: array.array("B")),
    "cut off": _set("data", lambda r, m: m.data[: int(r.integers(1, len(m.data) - 70))]),
    "header broken": _set("data", lambda r, m: array.array("B", b"\0\1" + bytes(m.data[2:]))),
    "random bytes": _set("data", lambda r, m: array.array("B", b"\0" + bytes(_bytes(r, int(r.integers(1, 4000)))))),
    "header alone": _set("data", lambda r, m: m.data[: int(r.integers(2, 20))]),
}
COMPRESSED_ANYTHING: dict[str, Mutation] = {
    "bytes flipped": lambda r, m: _flip(r, m),
    "format at random": _set("format", lambda r, m: bytes(r.integers(32, 127, 12, dtype=np.uint8)).decode()),
    "a part lost": _set("data", lambda r, m: _without_a_part(r, m.data)),
    "a part repeated": _set("data", lambda r, m: m.data[: len(m.data) // 2] + m.data[len(m.data) // 3 :]),
    "nothing": lambda r, m: None,
}


def _flip(random: Random, message: Any) -> None:
    data = array.array("B", message.data)
    for position in random.integers(0, len(data), int(random.integers(1, 30))) if data else ():
        data[position] ^= 1 << int(random.integers(0, 8))
    message.data = data


def _without_a_part(random: Random, data: array.array[int]) -> array.array[int]:
    start, length = int(random.integers(0, len(data))), int(random.integers(1, 200))
    return data[:start] + data[start + length :]


def _value(key: str, draw: Callable[[Random], str]) -> Mutation:
    def change(random: Random, message: Any) -> None:
        for pair in message.status[0].values:
            if pair.key == key:
                pair.value = draw(random)

    return change


def _drop(key: str) -> Mutation:
    def change(_random: Random, message: Any) -> None:
        message.status[0].values = [pair for pair in message.status[0].values if pair.key != key]

    return change


def _text(random: Random) -> str:
    return "".join(map(chr, random.integers(33, 0x2FFF, int(random.integers(1, 20)))))


def _first(change: Callable[[Random, Any], None]) -> Mutation:
    return lambda random, message: change(random, message.status[0])


ALARM_FAULTS: dict[str, Mutation] = {
    "no status": _set("status", lambda r, m: []),
    "camera unknown": _value("camera", lambda r: "periscope"),
    "camera garbled": _value("camera", _text),
    "hardware_id of another": _first(lambda r, s: setattr(s, "hardware_id", "rear")),
    "state unknown": _value("state", _text),
    "score no number": _value("ood_score", lambda r: "high"),
    "score not a number": _value("ood_score", lambda r: "nan"),
    "score infinite": _value("ood_score", lambda r: str(r.choice(["inf", "-inf"]))),
    "threshold not a number": _value("threshold", lambda r: "nan"),
    "score above the threshold, yet clear": _value("ood_score", lambda r: str(2.0 + float(r.random()) * 1e6 + 1e-3)),
    "fault, yet clear": _value("is_fault", lambda r: "true"),
    "fault garbled": _value("is_fault", _text),
    "level contradicts": _first(lambda r, s: setattr(s, "level", bytes([int(r.integers(1, 4))]))),
    **{f"without {key}": _drop(key) for key in ("camera", "state", "ood_score", "threshold", "is_fault")},
    "no values": _first(lambda r, s: setattr(s, "values", [])),
    "stamp zero": _stamp(0, 0),
    "stamp before the last": _stamp(1, 0),
}
ALARM_ANYTHING: dict[str, Mutation] = {
    "text at random": _first(lambda r, s: setattr(s, "message", _text(r))),
    "name at random": _first(lambda r, s: setattr(s, "name", _text(r))),
    "a value at random": lambda r, m: setattr(
        m.status[0].values[int(r.integers(0, len(m.status[0].values)))], "value", _text(r)
    ),
    "more values": _first(lambda r, s: s.values.append(KeyValue(key=_text(r), value=_text(r)))),
    "more statuses": lambda r, m: m.status.append(DiagnosticStatus(name=_text(r))),
    "nothing": lambda r, m: None,
}


class Perception:
    """The perception node with its alarm publisher listened to."""

    def __init__(self, transport: str) -> None:
        original = perception_node.load_bundle
        perception_node.load_bundle = lambda path, **options: ClearMonitor()  # type: ignore[assignment,return-value]
        try:
            parameters = {"autostart": True, "transport": transport, "image_timeout_s": 60.0}
            self.node = perception_node.PerceptionNode(
                parameter_overrides=[Parameter(name, value=value) for name, value in parameters.items()]
            )
            self.node.start()
        finally:
            perception_node.load_bundle = original
        self.node.get_logger().set_level(50)
        self.heard: list[Alarm] = []
        publish = self.node._alarms.publish

        def listen(message: DiagnosticArray) -> None:
            self.heard += alarms_of(message)
            publish(message)

        self.node._alarms.publish = listen  # type: ignore[method-assign]

    def judge(self, message: Any) -> list[Alarm]:
        """Alarms of one message, by the callback of the worker; what it raises comes through."""
        before = len(self.heard)
        self.node._judge([Arrival("front", message, time.monotonic_ns())])
        return self.heard[before:]


def _stamp_of(index: int) -> Any:
    return ns_to_stamp((1_000_000 + index) * 1_000_000_000)


def raw(random: Random, index: int) -> Image:
    """A good raw image, unlike any other."""
    picture = random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return image_message(picture, Header(stamp=_stamp_of(index)), "bgr8")


def compressed(random: Random, index: int) -> CompressedImage:
    """A good JPEG, unlike any other."""
    coarse = random.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    _, data = cv2.imencode(".jpg", np.kron(coarse, np.ones((8, 8, 1), np.uint8)))
    message = CompressedImage(header=Header(stamp=_stamp_of(index)), format="jpeg")
    message.data = array.array("B", data.tobytes())
    return message


def clear(index: int) -> DiagnosticArray:
    """A good alarm."""
    stamp_ns = (1_000_000 + index) * 1_000_000_000
    return alarm_message(Alarm("front", stamp_ns, AlarmState.CLEAR, 1.0, 2.0, "good"), {}, "perception_node")


def fuzz_perception(
    transport: str,
    make: Callable[[Random, int], Any],
    faults: dict[str, Mutation],
    anything: dict[str, Mutation],
    count: int,
    random: Random,
) -> Outcome:
    """Mutated images into the perception node; every tenth is followed by good ones, which must be clear."""
    node, outcome = Perception(transport), Outcome()
    node.judge(make(random, 0))  # the size of the stream
    for number in track(range(1, count + 1), f"{transport} images", console=Console(stderr=True)):
        message = make(random, 10 * number)
        name, is_invalid = outcome.mutate(message, faults, anything, random)
        try:
            alarms = node.judge(message)
        except Exception:
            outcome.crashes += 1
            traceback.print_exc()
            continue
        told = bool(alarms) and all(alarm.is_fault and alarm.state is not AlarmState.CLEAR for alarm in alarms)
        outcome.refused += told
        if is_invalid and not told:
            outcome.accepted_invalid[name] += 1
        if number % 10 == 9:
            # The first may be refused: its stamp is not that of the message before.
            for step in (1, 2):
                alarms = node.judge(make(random, 10 * number + step))
            outcome.not_recovered += alarms[-1].state is not AlarmState.CLEAR
    node.node.get_logger().set_level(0)  # levels outlive their node
    node.node.destroy_node()
    return outcome


def fuzz_supervisor(count: int, random: Random) -> Outcome:
    """Mutated alarms into the supervisor; before each it is NOMINAL, after an invalid one it may not be."""
    node, outcome = SupervisorNode(parameter_overrides=[Parameter("alarm_timeout_s", value=60.0)]), Outcome()
    node.get_logger().set_level(50)
    supervisor = node._supervisor
    for number in track(range(count), "alarms", console=Console(stderr=True)):
        # An alarm that is none stops for as long as it could be heard: start afresh rather than wait for that.
        supervisor._restart("next")
        node._on_alarm(clear(10 * number))
        outcome.not_recovered += supervisor.decide(time.monotonic_ns()).mode is not FallbackMode.NOMINAL
        message = clear(10 * number + 1)
        name, is_invalid = outcome.mutate(message, ALARM_FAULTS, ALARM_ANYTHING, random)
        try:
            node._on_alarm(message)
            refused = supervisor.decide(time.monotonic_ns()).mode is not FallbackMode.NOMINAL
        except Exception:
            outcome.crashes += 1
            traceback.print_exc()
            continue
        outcome.refused += refused
        if is_invalid and not refused:
            outcome.accepted_invalid[name] += 1
    node.get_logger().set_level(0)  # levels outlive their node
    node.destroy_node()
    return outcome


def fuzz(messages: int, seed: int) -> dict[str, Outcome]:
    """Outcomes by kind of message; rclpy must be initialised."""
    share = max(1, messages // 3)
    return {
        "raw image": fuzz_perception("raw", raw, RAW_FAULTS, RAW_ANYTHING, share, np.random.default_rng(seed)),
        "compressed image": fuzz_perception(
            "compressed", compressed, COMPRESSED_FAULTS, COMPRESSED_ANYTHING, share, np.random.default_rng(seed + 1)
        ),
        "alarm": fuzz_supervisor(messages - 2 * share, np.random.default_rng(seed + 2)),
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    from ls_ood_monitor.ros.environment import private_domain, ros_environment

    os.environ.update(ros_environment(private_domain()))
    import rclpy

    rclpy.init()
    outcomes = fuzz(args.messages, args.seed)
    rclpy.shutdown()
    table = Table(
        "message", "sent", "invalid", "told as a fault", "raised", "invalid but accepted", "not clear afterwards"
    )
    for name, one in outcomes.items():
        accepted = ", ".join(f"{why} {count}" for why, count in one.accepted_invalid.items()) or "0"
        numbers = (one.messages, one.invalid, one.refused, one.crashes, accepted, one.not_recovered)
        table.add_row(name, *map(str, numbers))
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps({name: vars(one) for name, one in outcomes.items()}, indent=2))
    return 0 if all(one.passed for one in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
