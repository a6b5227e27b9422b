"""Cost of each step of perception_node for one image, in one process without any other load.

    python benchmarks/node_parts.py [--repeats 200] [--pause-ms 80] [--json FILE]

The steps are the node's own functions in its order, on pictures of the procedural (synthetic) street, with the embedded bundle
on ONNX Runtime; nobody subscribes. The time in DDS until a reader has the message, and other processes' use of the cores,
are measured by ``end_to_end.py``. Sizes and transports take turns, so that a slow moment of the machine hits all of them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, TypeVar

import cv2
import rclpy
import torch
from arrivals import percentiles
from command_line import count, exit_code, make_parser, print_table, read_arguments
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from std_msgs.msg import Float64, Header
from support.camera_messages import Picture, jpeg_messages, raw_messages
from threadpoolctl import threadpool_limits

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.cli.console import write_json
from ls_ood_monitor.config import HealthSettings
from ls_ood_monitor.core.alarm import AlarmFilter
from ls_ood_monitor.core.input_validation import ArrivalMonitor, FrameValidator
from ls_ood_monitor.core.types import Alarm, Frame
from ls_ood_monitor.machine import describe_machine
from ls_ood_monitor.monitor import OodMonitor
from ls_ood_monitor.ros.conversions import alarm_message, ns_to_stamp, stamp_to_ns
from ls_ood_monitor.ros.image_conversion import image_reader
from ls_ood_monitor.street import StreetDrive
from ls_ood_monitor.street.shots import DEMO_DRIVE
from ls_ood_monitor.vision.preprocess import resize_image
from ls_ood_monitor.wording import clause

T = TypeVar("T")

CAMERA, JPEG_QUALITY, PICTURES = "front", 95, 8
SIZES = ((640, 483), (1280, 966))
STEPS = ("decode", "check", "resize", "network", "score", "rule", "message", "send")
#: Steps that do not count as the node's own.
NOT_OWN = ("decode", "network")
#: Turns that warm up.
WARM_UP = 5


class ImagePath:
    """The path of images of one size and transport through the node."""

    def __init__(self, node: Node, monitor: OodMonitor, pictures: Sequence[Picture], transport: str) -> None:
        height, width = pictures[0].shape[:2]
        self.name = f"{width}x{height} {transport}"
        self._monitor = monitor
        self._validator = FrameValidator(CAMERA, HealthSettings())
        self._arrivals = ArrivalMonitor(HealthSettings(), timeout_s=inf)
        self._alarm_filter = AlarmFilter(monitor.alarm, CAMERA, monitor.lasting_levels)
        self._convert = image_reader(transport)
        self._make = raw_messages(pictures) if transport == "raw" else jpeg_messages(pictures, JPEG_QUALITY)
        topic = self.name.replace(" ", "_")
        self._alarms = node.create_publisher(DiagnosticArray, f"~/ood_alarm_{topic}", 10)
        self._scores = node.create_publisher(Float64, f"~/ood_score_{topic}", 10)

    def drive(self, number: int) -> dict[str, float]:
        """Milliseconds of the steps of picture ``number``, and of the node's own steps together."""
        ms: dict[str, float] = {}

        def timed(step: str, work: Callable[[], T]) -> T:
            began_ns = time.perf_counter_ns()
            result = work()
            ms[step] = (time.perf_counter_ns() - began_ns) / 1e6
            return result

        message: Any = self._make(number % PICTURES, Header(stamp=ns_to_stamp(time.time_ns()), frame_id=CAMERA))
        arrived_ns = time.monotonic_ns()
        encoding, monitor = getattr(message, "encoding", ""), self._monitor
        image = timed("decode", lambda: self._convert(message))
        frame = Frame(image, stamp_to_ns(message.header.stamp), CAMERA)
        validator = self._validator
        fault = timed(
            "check",
            lambda: (
                validator.check(frame, time.time_ns())
                or validator.check_encoding(encoding)
                or self._arrivals.check(arrived_ns)
            ),
        )
        if fault is not None:
            raise RuntimeError(f"{self.name}: {clause(fault)}")  # only judged frames are to be timed
        small = timed("resize", lambda: resize_image(image, monitor.frame_pass.preprocess_spec))
        monitor_pass = monitor.begin([Frame(small, frame.stamp_ns, CAMERA)], decode=False)
        _ = monitor_pass.network.features
        ms["network"] = monitor_pass.network_ms
        verdict = timed("score", lambda: monitor_pass.verdicts[0])
        held_ns = time.monotonic_ns() - arrived_ns

        def rule() -> Alarm:
            late = validator.check_age(frame.stamp_ns, time.time_ns(), held_ns)
            if late is not None:
                return self._alarm_filter.fault(frame.stamp_ns, late)
            return self._alarm_filter.update(frame.stamp_ns, verdict.score, verdict.threshold)

        alarm = timed("rule", rule)
        facts = {"detector": verdict.detector, **verdict.scores, **ms, "bundle_sha256": monitor.bundle_id}
        published = timed("message", lambda: alarm_message(alarm, facts, "perception_node", CAMERA))
        score = Float64(data=verdict.score)
        timed("send", lambda: (self._alarms.publish(published), self._scores.publish(score)))
        return {**ms, "own": sum(value for step, value in ms.items() if step not in NOT_OWN)}


def measure(paths: list[ImagePath], repeats: int, pause_s: float = 0.0) -> dict[str, dict[str, dict[str, float]]]:
    """Percentiles of each step and of the node's own steps, by path; ms. Each image comes after a pause."""
    turns: dict[str, list[dict[str, float]]] = {path.name: [] for path in paths}
    for turn in range(repeats + WARM_UP):
        for path in paths:
            time.sleep(pause_s)
            turns[path.name].append(path.drive(turn))
    return {
        name: {step: percentiles(row[step] for row in rows[WARM_UP:]) for step in (*STEPS, "own")}
        for name, rows in turns.items()
    }


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__, repeats=200)
    parser.add_argument(
        "--pause-ms",
        type=count,
        default=0,
        help="rest before each image, in which cores and caches go cold as between two images of a camera (default none)",
    )
    args = read_arguments(parser)
    # As in the node: the scores' matrices are small, and more threads would only take the cores from the network's.
    threadpool_limits(1, user_api="blas")
    rclpy.init()
    node = Node("node_parts")
    monitor, drive = load_bundle(engine="onnx"), StreetDrive(DEMO_DRIVE)
    monitor.warm_up()
    pictures = [[drive.render(CAMERA, 0.1 * index, *size)[0] for index in range(PICTURES)] for size in SIZES]
    paths = [ImagePath(node, monitor, group, transport) for transport in ("raw", "jpeg") for group in pictures]
    figures = measure(paths, args.repeats, args.pause_ms / 1000.0)
    node.destroy_node()
    rclpy.try_shutdown()
    rows = (
        (name, *(f"{step['p50']:.2f} / {step['p95']:.2f}" for step in steps.values()))
        for name, steps in figures.items()
    )
    print_table(("", *STEPS, "own: without decode, network"), rows, "Milliseconds, p50 / p95", width=170)
    report = {
        "machine": describe_machine(),
        "threads": {"torch": torch.get_num_threads(), "opencv": cv2.getNumThreads()},
        "repeats": args.repeats,
        "pause_ms": args.pause_ms,
        "ms": figures,
    }
    write_json(args.json, report)


if __name__ == "__main__":
    sys.exit(exit_code(main))
