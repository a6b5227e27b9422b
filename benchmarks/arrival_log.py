"""An ear on DDS as a process of its own: notes when every alarm, class picture and stop command arrives.

Started by ``end_to_end.py``; the end of its standard input ends it. Says ``ready`` once both nodes' topics are there; the log
grows meanwhile, a row a line (``arrivals.py``).
"""

from __future__ import annotations

import argparse
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Bool

sys.path.insert(0, str(Path(__file__).parent))  # when it is loaded as a module
from arrivals import Alarm, Counts, Decision, Row, Segmentation, Stop, row_text

from ls_ood_monitor.ros.conversions import alarms_of, decision_of, number_of, values_of

PERCEPTION, SUPERVISOR = "/perception_node", "/supervisor_node"
_FLUSH_S = 0.1


def stamp_of(data: bytes) -> int:
    """Stamp, ns, of a serialised message that begins with a header, right behind four bytes of CDR encapsulation."""
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def alarm_rows(message: DiagnosticArray, at_ns: int) -> list[Alarm]:
    """The alarms of images; those of silence have no stamp and are left out."""
    rows = []
    for alarm, status in zip(alarms_of(message), message.status, strict=False):
        values = values_of(status)
        told = (number_of(values, name) for name in ("latency_ms", "network_ms", "decode_ms", "send_ms"))
        if alarm.stamp_ns > 0:
            rows.append(Alarm(at_ns, alarm.camera, alarm.stamp_ns, alarm.score, alarm.fault, *told))
    return rows


def count_rows(message: DiagnosticArray, at_ns: int) -> list[Counts]:
    """What perception_node counts of each camera, from ``/diagnostics``."""
    told = [(one.hardware_id, values_of(one)) for one in message.status if one.name.startswith(f"{PERCEPTION[1:]}: ")]
    return [
        Counts(at_ns, camera, int(values["frames"]), int(values["dropped"]))
        for camera, values in told
        if {"frames", "dropped"} <= values.keys()
    ]


class ArrivalLog(Node):
    """Writes a row for whatever it hears; the time is taken before anything is read.

    Args:
        cameras: whose class pictures are listened to.
        file: takes the rows.
    """

    def __init__(self, cameras: list[str], file: TextIO) -> None:
        super().__init__("arrival_log")
        self._file = file
        deep = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
        self.create_subscription(DiagnosticArray, f"{PERCEPTION}/ood_alarm", self._on_alarm, deep)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, deep)
        self.create_subscription(DiagnosticArray, f"{SUPERVISOR}/state", self._on_state, deep)
        self.create_subscription(Bool, f"{SUPERVISOR}/stop", self._on_stop, deep)
        for camera in cameras:
            topic = f"{PERCEPTION}/{camera}/segmentation"
            # As it was serialised: reading a megabyte would make the next message wait.
            self.create_subscription(Image, topic, self._picture_receiver(camera), deep, raw=True)
        self.create_timer(_FLUSH_S, file.flush)
        self._awaited = {subscription.topic_name for subscription in self.subscriptions} - {"/diagnostics"}
        self._ready_timer = self.create_timer(_FLUSH_S, self._look)

    def _look(self) -> None:
        if all(self.count_publishers(topic) for topic in self._awaited):
            self._ready_timer.cancel()
            print('{"event": "ready"}', flush=True)

    def _write(self, *rows: Row) -> None:
        self._file.writelines(map(row_text, rows))

    def _on_alarm(self, message: DiagnosticArray) -> None:
        at_ns = time.time_ns()
        self._write(*alarm_rows(message, at_ns))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._write(*count_rows(message, time.time_ns()))

    def _on_state(self, message: DiagnosticArray) -> None:
        at_ns = time.time_ns()
        mode, reason = decision_of(message)
        self._write(Decision(at_ns, mode.name, reason))

    def _on_stop(self, message: Bool) -> None:
        self._write(Stop(time.time_ns(), bool(message.data)))

    def _picture_receiver(self, camera: str) -> Callable[[bytes], None]:
        def receive(data: bytes) -> None:
            at_ns = time.time_ns()
            self._write(Segmentation(at_ns, camera, stamp_of(data)))

        return receive


def main() -> int:
    """Listen until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", nargs="*", default=[], help="whose class pictures are listened to")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rclpy.init()
    with args.out.open("w", encoding="utf-8") as file:
        node = ArrivalLog(args.cameras, file)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        threading.Thread(target=lambda: (sys.stdin.read(), rclpy.try_shutdown()), daemon=True).start()
        with suppress(KeyboardInterrupt, ExternalShutdownException):
            executor.spin()
        node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
