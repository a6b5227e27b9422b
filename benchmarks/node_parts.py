"""What perception_node does with an image beside the network, step by step, in one process that nothing else disturbs.

    python benchmarks/node_parts.py [--repeats 200] [--pause-ms 80] [--json FILE]

The steps are the node's own functions in its order, on pictures of the procedural (synthetic) street, with the embedded bundle
on ONNX Runtime, sent to nobody: what DDS does until a reader has it, and what other processes take of the cores, is in
``end_to_end.py``. The sizes and transports take turns, so that a slow moment of the machine hits all of them alike.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import cv2
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rich.console import Console
from rich.table import Table
from std_msgs.msg import Float64, Header
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent))  # when it is loaded as a module
from arrivals import percentiles
from camera_messages import Picture, jpeg_messages, raw_messages
from command_line import count, exit_code
from ls_ood_monitor.core.camera_watch import CameraWatch

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.cli.console import require_file_place, write_json
from ls_ood_monitor.config import HealthSettings
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.machine import describe_machine
from ls_ood_monitor.monitor import OodMonitor
from ls_ood_monitor.ros.conversions import alarm_message, ns_to_stamp, stamp_to_ns
from ls_ood_monitor.ros.image_conversion import compressed_to_bgr, image_to_bgr
from ls_ood_monitor.street import StreetDrive
from ls_ood_monitor.street.shots import DEMO_DRIVE
from ls_ood_monitor.vision.preprocess import resize_image

T = TypeVar("T")

CAMERA, JPEG_QUALITY, PICTURES = "front", 95, 8
SIZES = ((640, 483), (1280, 966))
#: Steps that the node's own time does not count.
BESIDE = ("decode", "network")
STEPS = ("decode", "check", "resize", "network", "score", "rule", "message", "send")


class Parts:
    """Milliseconds of the steps of one image."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    def timed(self, step: str, work: Callable[[], T]) -> T:
        """What the work gives, its time noted."""
        began_ns = time.perf_counter_ns()
        result = work()
        self.ms[step] = (time.perf_counter_ns() - began_ns) / 1e6
        return result


class Way:
    """The way of images of one size and transport through the node."""

    def __init__(self, node: Node, monitor: OodMonitor, pictures: Sequence[Picture], transport: str) -> None:
        height, width = pictures[0].shape[:2]
        self.name = f"{width}x{height} {transport}"
        self._monitor = monitor
        self._watch = CameraWatch(CAMERA, monitor.alarm, monitor.clean_median, HealthSettings(), timeout_s=inf)
        self._watch.start(time.monotonic_ns())
        self._convert = image_to_bgr if transport == "raw" else compressed_to_bgr
        self._make = raw_messages(pictures) if transport == "raw" else jpeg_messages(pictures, JPEG_QUALITY)
        topic = self.name.replace(" ", "_")
        self._alarms = node.create_publisher(DiagnosticArray, f"~/ood_alarm_{topic}", 10)
        self._scores = node.create_publisher(Float64, f"~/ood_score_{topic}", 10)

    def drive(self, number: int) -> dict[str, float]:
        """Milliseconds of the steps of picture ``number``."""
        message: Any = self._make(number % PICTURES, Header(stamp=ns_to_stamp(time.time_ns()), frame_id=CAMERA))
        arrived_ns = time.monotonic_ns()
        encoding, monitor, parts = getattr(message, "encoding", ""), self._monitor, Parts()
        image = parts.timed("decode", lambda: self._convert(message))
        frame = Frame(image, stamp_to_ns(message.header.stamp), CAMERA)
        found = parts.timed("check", lambda: self._watch.examine(frame, encoding, arrived_ns, time.time_ns()))
        if found is not None:
            raise RuntimeError(f"{self.name}: {found.reason}")  # what is timed would not be a judged frame
        small = parts.timed("resize", lambda: resize_image(image, monitor.frame_pass.preprocess_spec))
        judged = monitor.begin([Frame(small, frame.stamp_ns, CAMERA)], decode=False)
        _ = judged.network.features
        parts.ms["network"] = judged.network_ms
        judgement = parts.timed("score", lambda: judged.verdicts[0])
        held_ns = time.monotonic_ns() - arrived_ns
        alarm = parts.timed("rule", lambda: self._watch.judged(judgement, held_ns, time.time_ns()))
        facts = {"detector": judgement.detector, **judgement.scores, **parts.ms, "bundle_sha256": monitor.bundle_id}
        told = parts.timed("message", lambda: alarm_message(alarm, facts, "perception_node", CAMERA))

        def send() -> None:
            self._alarms.publish(told)
            self._scores.publish(Float64(data=judgement.score))

        parts.timed("send", send)
        return parts.ms


def measure(ways: list[Way], repeats: int, pause_s: float = 0.0) -> dict[str, dict[str, dict[str, float]]]:
    """Percentiles of each step, and of all that is the node's own, by way; ms. A pause before each image."""
    taken: dict[str, list[dict[str, float]]] = {way.name: [] for way in ways}
    for turn in range(repeats + 5):
        for way in ways:
            time.sleep(pause_s)
            parts = way.drive(turn)
            own = sum(value for step, value in parts.items() if step not in BESIDE)
            if turn >= 5:  # the first ones warm up
                taken[way.name].append({**parts, "own": own})
    return {
        name: {step: percentiles([row[step] for row in rows]) for step in (*STEPS, "own")}
        for name, rows in taken.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=count, default=200, help="images of each kind (default %(default)s)")
    parser.add_argument(
        "--pause-ms",
        type=count,
        default=0,
        help="rest before each image, in which cores and caches go cold as between two images of a camera (default none)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    require_file_place("--json", args.json)
    # As the node does: the scores' matrices are small, and more threads would only take the cores from the network's.
    threadpool_limits(1, user_api="blas")
    rclpy.init()
    node = Node("node_parts")
    monitor, drive = load_bundle(engine="onnx"), StreetDrive(DEMO_DRIVE)
    monitor.warm_up()
    shown = [[drive.render(CAMERA, 0.1 * index, *size)[0] for index in range(PICTURES)] for size in SIZES]
    ways = [Way(node, monitor, pictures, transport) for transport in ("raw", "jpeg") for pictures in shown]
    figures = measure(ways, args.repeats, args.pause_ms / 1000.0)
    node.destroy_node()
    rclpy.try_shutdown()
    table = Table(
        "", *STEPS, "the node's own", title="Milliseconds, p50 / p95", caption="own: without decode and network"
    )
    for name, steps in figures.items():
        table.add_row(name, *(f"{one['p50']:.2f} / {one['p95']:.2f}" for one in steps.values()))
    Console(width=170).print(table)
    threads = {"torch": torch.get_num_threads(), "opencv": cv2.getNumThreads()}
    write_json(
        args.json,
        {
            "machine": describe_machine(),
            "threads": threads,
            "repeats": args.repeats,
            "pause_ms": args.pause_ms,
            "ms": figures,
        },
    )


if __name__ == "__main__":
    sys.exit(exit_code(main))
