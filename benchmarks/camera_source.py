"""A process that sends clean and spoiled street pictures of several cameras exactly at a given rate.

``end_to_end.py`` starts it and writes one plan a line, JSON, to its standard input; it ends with its input:

    {"rate_hz": 10, "phases": [["warm", 2, false], ["clean", 10, false], ["fog", 1.5, true]], "withhold": 0, "log": FILE}

A phase is a name, seconds, and whether the first camera is spoiled. One of ``withhold`` images is logged but not sent: a
known loss. Events are printed, one JSON object a line: ``subscribed``, ``phase`` with its name and time, and ``done`` when
the log is written (one image a line, ``arrivals.Published``). All cameras take their picture at the same moment. The stamp
is the time at which the driver begins to make the message.
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
from arrivals import Published, row_text
from command_line import exit_code
from rclpy.node import Node
from std_msgs.msg import Header
from support.camera_messages import Picture, back_and_forth, image_publisher, jpeg_messages, raw_messages

from ls_ood_monitor.anomalies import apply_anomaly
from ls_ood_monitor.ros.conversions import ns_to_stamp
from ls_ood_monitor.street import StreetDrive
from ls_ood_monitor.street.shots import DEMO_DRIVE

#: Pictures of a camera; more than the network ever skips at once, so that it never sees two equal ones in a row.
PICTURES = 16
#: Of a camera with compressed output.
JPEG_QUALITY = 95
#: Time between two pictures in the drive, s.
STEP_S = 0.1
#: Name of the spoiled picture without any content; others are those of ``ls-ood anomalies``.
BLACK = "black"


def spoiled(picture: Picture, kind: str) -> Picture:
    """The picture under the strongest form of an anomaly, or black."""
    return picture * 0 if kind == BLACK else apply_anomaly(kind, picture, 5, seed=0)


class Camera:
    """Publisher and messages of one camera, JPEG if ``compressed``; if ``spoil`` is empty, it is never spoiled."""

    def __init__(
        self, node: Node, name: str, pictures: Sequence[Picture], spoil: Sequence[Picture], compressed: bool
    ) -> None:
        self.name = name
        self.publisher = image_publisher(node, name, compressed)
        self._clean, self._spoiled = (
            jpeg_messages(group, JPEG_QUALITY) if compressed else raw_messages(group) for group in (pictures, spoil)
        )
        self._can_spoil = bool(spoil)
        self._order = back_and_forth(len(pictures))

    def send(self, number: int, spoil: bool, withhold: bool) -> tuple[int, bool]:
        """Take picture ``number`` and send it; returns its stamp (ns) and whether it was spoiled."""
        stamp_ns = time.time_ns()
        is_spoiled = spoil and self._can_spoil
        make = self._spoiled if is_spoiled else self._clean
        message = make(self._order[number % len(self._order)], Header(stamp=ns_to_stamp(stamp_ns), frame_id=self.name))
        if not withhold:
            self.publisher.publish(message)
        return stamp_ns, is_spoiled


def run_plan(
    plan: dict[str, Any], cameras: Sequence[Camera], first: int, on_event: Callable[..., None]
) -> list[Published]:
    """Send every image of a plan at its moment; late ones are sent at once, so that their number is kept.

    The first camera is spoiled, and the first picture has the number ``first``. Where a phase begins, ``on_event`` is
    called as ``on_event("phase", name=..., at_ns=...)``; at the end the name is "".
    """
    period_s, withhold = 1.0 / plan["rate_hz"], plan.get("withhold", 0)
    published: list[Published] = []
    begin, tick = time.monotonic(), 0
    for name, seconds, spoil in plan["phases"]:
        last = tick + max(1, round(seconds / period_s))
        for number in range(tick, last):
            due = begin + number * period_s
            time.sleep(max(0.0, due - time.monotonic()))
            late_ms = 1000.0 * (time.monotonic() - due)
            if number == tick:
                on_event("phase", name=name, at_ns=time.time_ns())
            withheld = bool(withhold) and number % withhold == withhold - 1
            for camera in cameras:
                stamp_ns, is_spoiled = camera.send(first + number, spoil, withheld)
                published.append(Published(camera.name, stamp_ns, name, is_spoiled, not withheld, late_ms))
        tick = last
    time.sleep(max(0.0, begin + tick * period_s - time.monotonic()))
    on_event("phase", name="", at_ns=time.time_ns())
    return published


def _print_event(event: str, **values: Any) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def main() -> None:
    """Render, wait for the node, then run every plan."""
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
    while not all(camera.publisher.get_subscription_count() for camera in cameras):
        time.sleep(0.05)
    _print_event("subscribed")
    first = 0
    for line in sys.stdin:
        plan = json.loads(line)
        published = run_plan(plan, cameras, first, _print_event)
        first += len(published) // len(cameras)
        Path(plan["log"]).write_text("".join(map(row_text, published)), encoding="utf-8")
        _print_event("done")
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(exit_code(main))
