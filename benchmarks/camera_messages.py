"""Pictures as a camera driver's messages, ready to be stamped and sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ls_ood_monitor.ros.conversions import image_message

Picture = NDArray[np.uint8]


def to_and_fro(count: int) -> list[int]:
    """Every other of ``count`` pictures forwards, the rest backwards: an order to be repeated for ever.

    Each is seen once a round, so that two equal ones never follow each other, not even when the network skips one.
    """
    return [*range(0, count, 2), *range(1, count, 2)[::-1]]


def raw_messages(pictures: Sequence[Picture]) -> Callable[[int, Header], Image]:
    """Index and header -> the picture as it is, bgr8."""
    return lambda index, header: image_message(pictures[index], header, "bgr8")


def jpeg_messages(pictures: Sequence[Picture], quality: int) -> Callable[[int, Header], CompressedImage]:
    """Index and header -> the picture as JPEG; all are encoded now."""
    encoded = [cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes() for picture in pictures]
    return lambda index, header: CompressedImage(header=header, format="jpeg", data=encoded[index])
