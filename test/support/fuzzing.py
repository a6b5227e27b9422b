"""Random and mutated messages through the subscriptions of the real nodes, in this process.

A third each: raw images and compressed images into the perception node, alarms into the supervisor. Half of the mutations
make a message certainly invalid; their names say why. The rest flip bits and change fields at random, and only a crash is a
failure: a picture with a changed pixel is still a picture. The network is replaced by one that calls every frame clear, so
only the checks can refuse a message.
"""

from __future__ import annotations

import array
import queue
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ls_ood_monitor.cli.console import progress_bar
from ls_ood_monitor.config import AlarmSettings
from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode
from ls_ood_monitor.ros import perception_node, supervisor_node
from ls_ood_monitor.ros.conversions import alarm_message, alarms_of, image_message, ns_to_stamp
from ls_ood_monitor.ros.observer import HeardDecision

from .made_up_monitor import MadeUpMonitor

Random = np.random.Generator
Mutation = Callable[[Random, Any], object]
#: Mutations by what they do.
Mutations = dict[str, Mutation]
HEIGHT, WIDTH = 48, 64
#: An image without an alarm within this time ended the node's worker.
_PATIENCE_S = 10.0


@dataclass
class Outcome:
    """What became of the messages of one kind; ``accepted_invalid`` counts by mutation."""

    messages: int = 0
    invalid: int = 0
    refused: int = 0
    crashes: int = 0
    accepted_invalid: Counter[str] = field(default_factory=Counter)
    not_recovered: int = 0

    @property
    def passed(self) -> bool:
        """Nothing crashed, nothing invalid was accepted, and every good message afterwards was clear."""
        return not (self.crashes or self.accepted_invalid or self.not_recovered)

    def try_mutated(
        self,
        message: Any,
        mutations: tuple[dict[str, Mutation], dict[str, Mutation]],
        random: Random,
        refuses: Callable[[Any], bool],
    ) -> None:
        """Change a message, certainly invalid or at random, and note whether it was refused."""
        invalid, anything = mutations
        is_invalid = bool(random.random() < 0.5)
        chosen = invalid if is_invalid else anything
        name = str(random.choice(list(chosen)))
        chosen[name](random, message)
        self.messages += 1
        self.invalid += is_invalid
        try:
            is_refused = refuses(message)
        except Exception:
            self.crashes += 1
            traceback.print_exc()
            return
        self.refused += is_refused
        if is_invalid and not is_refused:
            self.accepted_invalid[name] += 1


def _set(name: str, draw: Callable[[Random, Any], Any]) -> Mutation:
    return lambda random, message: setattr(message, name, draw(random, message))


def _bytes(random: Random, size: int) -> array.array[int]:
    return array.array("B", random.integers(0, 256, size, dtype=np.uint8).tobytes())


def _stamp(seconds: int, nanoseconds: int) -> Mutation:
    def change(_random: Random, message: Any) -> None:
        message.header.stamp.sec, message.header.stamp.nanosec = seconds, nanoseconds

    return change


def _flip(random: Random, message: Any) -> None:
    data = array.array("B", message.data)
    for position in random.integers(0, len(data), int(random.integers(1, 30))) if data else ():
        data[position] ^= 1 << int(random.integers(0, 8))
    message.data = data


def _without_a_part(random: Random, data: array.array[int]) -> array.array[int]:
    start, length = int(random.integers(0, len(data))), int(random.integers(1, 200))
    return data[:start] + data[start + length :]


#: Certainly invalid, whatever else the message holds; name = why.
STAMPS: Mutations = {
    "stamp zero": _stamp(0, 0),
    "stamp negative": _stamp(-5, 0),
    "stamp before the last": _stamp(1, 0),
    "nanoseconds of more than a second": _stamp(2_000_000_000, 1_000_000_001),
    "stamp years ahead": _stamp(2_140_000_000, 0),
}
RAW_FAULTS: Mutations = {
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
RAW_ANYTHING: Mutations = {
    "bytes flipped": _flip,
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
COMPRESSED_FAULTS: Mutations = {
    **STAMPS,
    "no data": _set("data", lambda r, m: array.array("B")),
    "cut off": _set("data", lambda r, m: m.data[: int(r.integers(1, len(m.data) - 70))]),
    "header broken": _set("data", lambda r, m: array.array("B", b"\0\1" + bytes(m.data[2:]))),
    "random bytes": _set("data", lambda r, m: array.array("B", b"\0" + bytes(_bytes(r, int(r.integers(1, 4000)))))),
    "header alone": _set("data", lambda r, m: m.data[: int(r.integers(2, 20))]),
}
COMPRESSED_ANYTHING: Mutations = {
    "bytes flipped": _flip,
    "format at random": _set("format", lambda r, m: bytes(r.integers(32, 127, 12, dtype=np.uint8)).decode()),
    "a part lost": _set("data", lambda r, m: _without_a_part(r, m.data)),
    "a part repeated": _set("data", lambda r, m: m.data[: len(m.data) // 2] + m.data[len(m.data) // 3 :]),
    "nothing": lambda r, m: None,
}


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


ALARM_FAULTS: Mutations = {
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
ALARM_ANYTHING: Mutations = {
    "text at random": _first(lambda r, s: setattr(s, "message", _text(r))),
    "name at random": _first(lambda r, s: setattr(s, "name", _text(r))),
    "a value at random": lambda r, m: setattr(
        m.status[0].values[int(r.integers(0, len(m.status[0].values)))], "value", _text(r)
    ),
    "more values": _first(lambda r, s: s.values.append(KeyValue(key=_text(r), value=_text(r)))),
    "more statuses": lambda r, m: m.status.append(DiagnosticStatus(name=_text(r))),
    "nothing": lambda r, m: None,
}


def _good_stamp(index: int) -> Any:
    return ns_to_stamp((1_000_000 + index) * 1_000_000_000)


def raw(random: Random, index: int) -> Image:
    """A good raw image, unlike any other."""
    picture = random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return image_message(picture, Header(stamp=_good_stamp(index)), "bgr8")


def compressed(random: Random, index: int) -> CompressedImage:
    """A good JPEG, unlike any other."""
    coarse = random.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    _, data = cv2.imencode(".jpg", np.kron(coarse, np.ones((8, 8, 1), np.uint8)))
    return CompressedImage(header=Header(stamp=_good_stamp(index)), format="jpeg", data=data.tobytes())


def clear(index: int) -> DiagnosticArray:
    """A good alarm."""
    stamp_ns = (1_000_000 + index) * 1_000_000_000
    return alarm_message(
        Alarm("front", stamp_ns, AlarmState.CLEAR, 1.0, 2.0, Cause(CauseKind.IN_DISTRIBUTION, "front", 1.0, 2.0)),
        {},
        "perception_node",
    )


def _subscription(node: Node, name: str) -> Callable[[Any], None]:
    """Callback of the subscription whose topic ends so."""
    return next(entry.callback for entry in node.subscriptions if entry.topic_name.endswith(name))


def _on_publish(node: Node, name: str, take: Callable[[Any], None]) -> None:
    """Give what a node publishes on the topic that ends so to ``take``, before DDS or instead of it."""
    publisher = next(entry for entry in node.publishers if entry.topic_name.endswith(name))
    publisher.publish = take


def _destroy(node: Node) -> None:
    node.get_logger().set_level(0)  # levels outlive their node
    node.destroy_node()


def fuzz_perception(transport: str, count: int, random: Random, **parameters: object) -> Outcome:
    """Mutated images into the perception node; every tenth is followed by good ones, which must be clear.

    Args:
        transport: ``raw`` or ``compressed``.
        count: images to mutate.
        random: source of everything.
        parameters: of the node.
    """
    make, mutations = {
        "raw": (raw, (RAW_FAULTS, RAW_ANYTHING)),
        "compressed": (compressed, (COMPRESSED_FAULTS, COMPRESSED_ANYTHING)),
    }[transport]
    values = {"autostart": True, "transport": transport, "image_timeout_s": 60.0, **parameters}
    with patch.object(perception_node, "load_bundle", lambda path, **options: MadeUpMonitor(alarm=AlarmSettings(1, 1))):
        node = perception_node.PerceptionNode(
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()]
        )
        node.start()
    node.get_logger().set_level(50)
    published: queue.Queue[DiagnosticArray] = queue.Queue()
    _on_publish(node, "/ood_alarm", published.put)
    receive = _subscription(node, {"raw": "/image", "compressed": "/image/compressed"}[transport])
    outcome = Outcome()

    def alarms(message: Any) -> list[Alarm]:
        receive(message)
        return alarms_of(published.get(timeout=_PATIENCE_S))

    def refuses(message: Any) -> bool:
        return all(alarm.is_fault and alarm.state is not AlarmState.CLEAR for alarm in alarms(message))

    alarms(make(random, 0))  # the size of the stream
    with progress_bar(f"{transport} images", count) as update:
        for number in range(1, count + 1):
            outcome.try_mutated(make(random, 10 * number), mutations, random, refuses)
            if number % 10 == 9:
                # The first may be refused: its stamp is compared with that of the mutated message.
                good = [alarms(make(random, 10 * number + step)) for step in (1, 2)]
                outcome.not_recovered += good[-1][-1].state is not AlarmState.CLEAR
            update(number)
    _destroy(node)
    return outcome


def fuzz_supervisor(count: int, random: Random) -> Outcome:
    """Mutated alarms into the supervisor; it is NOMINAL before each, and must not be after an invalid one."""
    node, outcome = supervisor_node.SupervisorNode(), Outcome()
    node.get_logger().set_level(50)
    states: list[DiagnosticArray] = []
    _on_publish(node, "/state", states.append)
    receive = _subscription(node, "/ood_alarm")
    now_ns = time.monotonic_ns()

    def stops(message: DiagnosticArray) -> bool:
        receive(message)
        for timer in node.timers:
            timer.callback()
        mode = HeardDecision.of(states[-1]).mode
        states.clear()
        return mode is not FallbackMode.NOMINAL

    with (
        patch.object(supervisor_node, "time", SimpleNamespace(monotonic_ns=lambda: now_ns)),
        progress_bar("alarms", count) as update,
    ):
        for number in range(count):
            # An hour later: an invalid alarm stops the vehicle for as long as it counts as fresh.
            now_ns += 3600 * 10**9
            stops(clear(10 * number))
            outcome.not_recovered += stops(clear(10 * number + 1))
            outcome.try_mutated(clear(10 * number + 2), (ALARM_FAULTS, ALARM_ANYTHING), random, stops)
            update(number + 1)
    _destroy(node)
    return outcome


def fuzz(messages: int, seed: int) -> dict[str, Outcome]:
    """Outcomes by kind of message; rclpy must be initialised."""
    share = max(1, messages // 3)
    return {
        "raw image": fuzz_perception("raw", share, np.random.default_rng(seed)),
        "compressed image": fuzz_perception("compressed", share, np.random.default_rng(seed + 1)),
        "alarm": fuzz_supervisor(messages - 2 * share, np.random.default_rng(seed + 2)),
    }
