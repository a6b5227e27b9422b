"""Cameras as a process of their own: clean and spoiled street pictures, sent exactly at the rate that is asked for.

Started by ``end_to_end.py``, which writes one plan a line, JSON, to its standard input; an end of input ends it:

    {"rate_hz": 10, "phases": [["warm", 2, false], ["clean", 10, false], ["fog", 1.5, true]], "withhold": 0, "log": FILE}

A phase is a name, seconds, and whether the first camera's pictures are spoiled. Of ``withhold`` images one is noted and not
sent, a loss that is known. What it does it says on standard output, one JSON object a line: ``rendered``, ``subscribed``,
``phase`` with name and time at its beginning, ``done`` when the log (one image a line, see ``arrivals.Published``) is there.
All cameras take their picture at the same moment, as those of one vehicle do. The stamp is the time at which the driver
begins to make the message.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

sys.path.insert(0, str(Path(__file__).parent))  # when it is loaded as a module
from arrivals import Published, write_rows
from camera_messages import Picture, jpeg_messages, raw_messages, to_and_fro

from ls_ood_monitor.anomalies import apply_anomaly
from ls_ood_monitor.ros.conversions import ns_to_stamp
from ls_ood_monitor.street import StreetDrive
from ls_ood_monitor.street.shots import DEMO_DRIVE

#: Pictures of a camera; more than the network ever skips at once, so that no two that it sees in a row are equal.
PICTURES = 16
#: Of a camera with compressed output.
JPEG_QUALITY = 95
#: Time between two pictures in the drive, s.
STEP_S = 0.1
#: Name of the spoiled picture that shows nothing at all; others are those of ``ls-ood anomalies``.
BLACK = "black"

Make = Callable[[int, Header], Any]


def spoiled(picture: Picture, kind: str) -> Picture:
    """The picture under the strongest form of an anomaly, or black."""
    return picture * 0 if kind == BLACK else apply_anomaly(kind, picture, 5, seed=0)


class Camera:
    """Publisher and messages of one camera.

    Args:
        node: that publishes.
        name: of the camera.
        pictures: clean ones.
        spoil: spoiled ones; none = it is never spoiled.
        compressed: JPEG instead of raw images.
    """

    def __init__(
        self, node: Node, name: str, pictures: Sequence[Picture], spoil: Sequence[Picture], compressed: bool
    ) -> None:
        self.name = name
        kind, topic = (CompressedImage, f"/{name}/image/compressed") if compressed else (Image, f"/{name}/image")
        profile = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self.publisher = node.create_publisher(kind, topic, profile)
        self._clean, self._spoiled = (self._maker(group, compressed) for group in (pictures, spoil))
        self._can_spoil = bool(spoil)
        self._order = to_and_fro(len(pictures))

    @staticmethod
    def _maker(pictures: Sequence[Picture], compressed: bool) -> Make:
        return jpeg_messages(pictures, JPEG_QUALITY) if compressed else raw_messages(pictures)

    def send(self, number: int, spoil: bool, withhold: bool) -> tuple[int, bool]:
        """Take picture ``number`` and send it; its stamp, ns, and whether it was a spoiled one."""
        stamp_ns = time.time_ns()
        is_spoiled = spoil and self._can_spoil
        make = self._spoiled if is_spoiled else self._clean
        message = make(self._order[number % len(self._order)], Header(stamp=ns_to_stamp(stamp_ns), frame_id=self.name))
        if not withhold:
            self.publisher.publish(message)
        return stamp_ns, is_spoiled


def run_plan(
    plan: dict[str, Any],
    cameras: Sequence[Camera],
    first: int,
    tell: Callable[..., None],
    sleep: Callable[[float], None] = time.sleep,
) -> list[Published]:
    """Send every image of a plan at its moment; late ones are sent at once, so that their number is what was asked for.

    Args:
        plan: see the module.
        cameras: the first is the one that is spoiled.
        first: number of the first picture.
        tell: called as ``tell("phase", name=..., at_ns=...)`` where a phase begins, and at the end with name "".
        sleep: seconds.
    """
    period_s, withhold = 1.0 / plan["rate_hz"], plan.get("withhold", 0)
    published: list[Published] = []
    begin, tick = time.monotonic(), 0
    for name, seconds, spoil in plan["phases"]:
        last = tick + max(1, round(seconds / period_s))
        for number in range(tick, last):
            due = begin + number * period_s
            sleep(max(0.0, due - time.monotonic()))
            late_ms = 1000.0 * (time.monotonic() - due)
            if number == tick:
                tell("phase", name=name, at_ns=time.time_ns())
            withheld = bool(withhold) and number % withhold == withhold - 1
            for camera in cameras:
                stamp_ns, is_spoiled = camera.send(first + number, spoil, withheld)
                published.append(Published(camera.name, stamp_ns, name, is_spoiled, not withheld, late_ms))
        tick = last
    sleep(max(0.0, begin + tick * period_s - time.monotonic()))
    tell("phase", name="", at_ns=time.time_ns())
    return published


def _tell(event: str, **values: Any) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def main() -> int:
    """Render, wait for the node, then do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", nargs="+", required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--height", type=int, required=True)
    parser.add_argument("--compressed", action="store_true")
    parser.add_argument("--spoil", default="fog")
    args = parser.parse_args()
    drive = StreetDrive(DEMO_DRIVE)
    rclpy.init()
    node = Node("camera_source")
    cameras = []
    for index, name in enumerate(args.cameras):
        pictures = [drive.render(name, STEP_S * step, args.width, args.height)[0] for step in range(PICTURES)]
        spoil = [spoiled(picture, args.spoil) for picture in pictures] if index == 0 else []
        cameras.append(Camera(node, name, pictures, spoil, args.compressed))
    _tell("rendered")
    while not all(camera.publisher.get_subscription_count() for camera in cameras):
        time.sleep(0.05)
    _tell("subscribed")
    first = 0
    for line in sys.stdin:
        plan = json.loads(line)
        published = run_plan(plan, cameras, first, _tell)
        first += len(published) // len(cameras)
        write_rows(Path(plan["log"]), published)
        _tell("done", late_ms=max(one.late_ms for one in published))
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # the terminal's, meant for the one that started this
        sys.exit(130)
