"""A process that notes when every alarm, segmentation and stop command arrives over DDS.

``end_to_end.py`` starts it; it ends with its standard input. It prints ``ready`` once the topics of both nodes exist, and
writes a row a line (``arrivals.py``).
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
from arrivals import Alarm, Counts, Decision, Row, Segmentation, Stop, row_text
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Bool

from ls_ood_monitor.ros.conversions import alarms_of, float_value, values_of
from ls_ood_monitor.ros.observer import HeardDecision

PERCEPTION, SUPERVISOR = "/perception_node", "/supervisor_node"
_FLUSH_S = 0.1


def stamp_of(data: bytes) -> int:
    """Stamp (ns) of a serialised message that begins with a header, right after four bytes of CDR encapsulation."""
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def alarm_rows(message: DiagnosticArray, at_ns: int) -> list[Alarm]:
    """The alarms of images; an alarm of a silent camera has no stamp and is left out."""
    rows = []
    for alarm, status in zip(alarms_of(message), message.status, strict=False):
        values = values_of(status)
        times = (float_value(values, name) for name in ("latency_ms", "network_ms", "decode_ms", "send_ms"))
        if alarm.stamp_ns > 0:
            rows.append(Alarm(at_ns, alarm.camera, alarm.stamp_ns, alarm.score, alarm.fault, *times))
    return rows


def count_rows(message: DiagnosticArray, at_ns: int) -> list[Counts]:
    """The counters of perception_node for each camera, from ``/diagnostics``."""
    own = [status for status in message.status if status.name.startswith(f"{PERCEPTION[1:]}: ")]
    return [
        Counts(at_ns, status.hardware_id, int(values["frames"]), int(values["dropped"]))
        for status, values in ((status, values_of(status)) for status in own)
        if {"frames", "dropped"} <= values.keys()
    ]


class ArrivalLog(Node):
    """Writes a row for every message into ``file``; the time is taken before the message is read.

    It subscribes to the segmentations of ``cameras``.
    """

    def __init__(self, cameras: list[str], file: TextIO) -> None:
        super().__init__("arrival_log")
        self._file = file
        deep = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
        receivers: dict[str, tuple[type, Callable[[DiagnosticArray | Bool, int], list[Row]]]] = {
            f"{PERCEPTION}/ood_alarm": (DiagnosticArray, alarm_rows),
            "/diagnostics": (DiagnosticArray, count_rows),
            f"{SUPERVISOR}/state": (DiagnosticArray, self._decision),
            f"{SUPERVISOR}/stop": (Bool, lambda message, at_ns: [Stop(at_ns, bool(message.data))]),
        }
        for topic, (message_type, rows_of) in receivers.items():
            self.create_subscription(message_type, topic, self._receiver(rows_of), deep)
        for camera in cameras:
            # Raw bytes: to deserialise a megabyte would make the next message wait.
            receive = self._receiver(lambda data, at_ns, camera=camera: [Segmentation(at_ns, camera, stamp_of(data))])
            self.create_subscription(Image, f"{PERCEPTION}/{camera}/segmentation", receive, deep, raw=True)
        self.create_timer(_FLUSH_S, file.flush)
        self._awaited = {subscription.topic_name for subscription in self.subscriptions} - {"/diagnostics"}
        self._ready_timer = self.create_timer(_FLUSH_S, self._look)

    def _look(self) -> None:
        if all(self.count_publishers(topic) for topic in self._awaited):
            self._ready_timer.cancel()
            print('{"event": "ready"}', flush=True)

    @staticmethod
    def _decision(message: DiagnosticArray, at_ns: int) -> list[Row]:
        heard = HeardDecision.of(message, at_ns)
        return [Decision(at_ns, heard.mode.name, heard.reason)]

    def _receiver(self, rows_of: Callable[..., list[Row]]) -> Callable[[object], None]:
        def receive(message: object) -> None:
            at_ns = time.time_ns()
            self._file.writelines(map(row_text, rows_of(message, at_ns)))

        return receive


def main() -> None:
    """Listen until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", nargs="*", default=[], help="whose segmentations are subscribed to")
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


if __name__ == "__main__":
    main()
