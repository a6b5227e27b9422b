"""Topics of one camera: its score for plots, and pictures for people, made only while somebody subscribes."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Float64, Header

from ..core.types import Alarm, FrameResult, Verdict
from ..vision.overlay import draw_overlay, map_picture
from .conversions import image_message

_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST)


class CameraOutputs:
    """Publishers of one camera.

    Attributes:
        score: larger = more OoD; for plots.
        segmented: publishers of pictures that need the decoder.
    """

    def __init__(self, node: Node, camera: str, overlay_alpha: float) -> None:
        self.segmentation = node.create_publisher(Image, f"~/{camera}/segmentation", _NEWEST)
        self.confidence = node.create_publisher(Image, f"~/{camera}/confidence", _NEWEST)
        self.overlay = node.create_publisher(Image, f"~/{camera}/overlay", _NEWEST)
        self.anomaly_map = node.create_publisher(Image, f"~/{camera}/anomaly_map", _NEWEST)
        self.score = node.create_publisher(Float64, f"~/{camera}/ood_score", _RELIABLE)
        self.segmented = (self.segmentation, self.confidence, self.overlay)
        self._overlay_alpha = overlay_alpha

    def publish_pictures(self, header: Header, verdict: Verdict, result: FrameResult | None, alarm: Alarm) -> None:
        """Publish the pictures that somebody subscribes to, under the header of the input image.

        ``result`` is None where nobody asked for the segmentation.
        """
        if verdict.anomaly_map is not None and self.anomaly_map.get_subscription_count():
            height, width = verdict.frame.image.shape[:2]
            picture = map_picture(verdict.anomaly_map, verdict.threshold, width, height)
            self.anomaly_map.publish(image_message(picture, header, "mono8"))
        if result is None:
            return
        if self.segmentation.get_subscription_count():
            self.segmentation.publish(image_message(result.segmentation, header, "mono8"))
        if result.confidence is not None and self.confidence.get_subscription_count():
            self.confidence.publish(image_message(result.confidence, header, "mono8"))
        if self.overlay.get_subscription_count():
            picture = draw_overlay(result, alarm, self._overlay_alpha)
            self.overlay.publish(image_message(picture, header, "bgr8"))

    def publishers(self) -> list[Any]:
        """All publishers, for clean-up."""
        return [*self.segmented, self.anomaly_map, self.score]
