"""What the perception node keeps for one camera."""

from __future__ import annotations

import threading
import time
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Float64

from ..config import AlarmSettings, HealthSettings
from ..core.camera_watch import CameraWatch
from ..core.types import Alarm

_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST)


class CameraChannel:
    """Publishers, watch and counters of one camera.

    The worker counts frames and the node's timer counts their absence: both hold ``lock`` while they let the watch count.

    Args:
        node: that publishes.
        name: of the camera.
        alarm: what raises and clears its alarm.
        clean_median: median clean score.
        health: limits of its input.
        timeout_s: silence after which it is stale.
    """

    def __init__(
        self, node: Node, name: str, alarm: AlarmSettings, clean_median: float, health: HealthSettings, timeout_s: float
    ) -> None:
        self.name = name
        self.watch = CameraWatch(name, alarm, clean_median, health, timeout_s)
        self.lock = threading.Lock()
        self.segmentation = node.create_publisher(Image, f"~/{name}/segmentation", _NEWEST)
        self.confidence = node.create_publisher(Image, f"~/{name}/confidence", _NEWEST)
        self.overlay = node.create_publisher(Image, f"~/{name}/overlay", _NEWEST)
        self.anomaly_map = node.create_publisher(Image, f"~/{name}/anomaly_map", _NEWEST)
        self.score = node.create_publisher(Float64, f"~/{name}/ood_score", _RELIABLE)
        self.last_latency_ms = float("nan")
        self.last_send_ms = float("nan")
        self.last_alarm: Alarm | None = None
        self.has_foreign_clock = False

    def start(self) -> None:
        """Forget the past and begin to wait for images."""
        self.watch.start(time.monotonic_ns())

    def shows_classes(self) -> bool:
        """Whether somebody subscribes to what the decoder makes."""
        return any(one.get_subscription_count() for one in (self.segmentation, self.confidence, self.overlay))

    def publishers(self) -> list[Any]:
        """All publishers, for clean-up."""
        return [self.segmentation, self.confidence, self.overlay, self.anomaly_map, self.score]
