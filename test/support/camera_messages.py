"""Pictures as the messages of a camera driver, and their publisher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ls_ood_monitor.ros.conversions import image_message

Picture = NDArray[np.uint8]


def back_and_forth(count: int) -> list[int]:
    """Every other of ``count`` pictures forwards, the rest backwards: an order that can be repeated for ever.

    Each comes once a round, so two equal ones never follow each other, not even when the network skips one.
    """
    return [*range(0, count, 2), *range(1, count, 2)[::-1]]


def raw_messages(pictures: Sequence[Picture]) -> Callable[[int, Header], Image]:
    """Index and header -> the picture as it is, bgr8."""
    return lambda index, header: image_message(pictures[index], header, "bgr8")


def jpeg_messages(pictures: Sequence[Picture], quality: int) -> Callable[[int, Header], CompressedImage]:
    """Index and header -> the picture as JPEG; all are encoded now."""
    encoded = [cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes() for picture in pictures]
    return lambda index, header: CompressedImage(header=header, format="jpeg", data=encoded[index])


def image_publisher(node: Node, camera: str, compressed: bool) -> Any:
    """Reliable publisher of a camera's images on the topic that perception_node subscribes to."""
    message_type, topic = (
        (CompressedImage, f"/{camera}/image/compressed") if compressed else (Image, f"/{camera}/image")
    )
    return node.create_publisher(message_type, topic, QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE))
