"""Image messages -> BGR, by ``cv_bridge`` where it is installed, after our own checks; both ways give equal pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..vision.bit_depth import BitDepth
from ..vision.image_codec import check_image, decode_compressed, decode_image

try:
    from cv_bridge import CvBridge

    BRIDGE: Any = CvBridge()
except ImportError:  # part of every ROS distribution, not available from pip
    BRIDGE = None

#: Encoding -> bytes a pixel, of those that cv_bridge converts exactly as our own code; all others are converted by ours.
_BRIDGED = {"bgr8": 3, "rgb8": 3, "mono8": 1, "bgra8": 4, "rgba8": 4}


def image_reader(
    transport: str, bridge: Any = BRIDGE, camera: str = "", bits: int = 0, accept_jpeg_warnings: bool = False
) -> Callable[[Any], NDArray[np.uint8]]:
    """The function from a message of one camera to BGR uint8 (H, W, 3), which raises ``ImageError``.

    Args:
        transport: ``raw`` or ``compressed``.
        bridge: a ``CvBridge``; None where there is none.
        camera: its name, for a note on its number of bits.
        bits: significant bits of pixels of 16 bits; 0 = by the largest value seen.
        accept_jpeg_warnings: take JPEGs with damage that libjpeg only warns of.
    """
    depth = BitDepth(camera, bits)
    if transport != "raw":
        return partial(decode_compressed, depth=depth, strict=not accept_jpeg_warnings)
    return partial(decode_image if bridge is None else partial(_bridged, bridge), depth=depth)


def _bridged(bridge: Any, message: Any, depth: BitDepth) -> NDArray[np.uint8]:
    # A driver may set is_bigendian on 8-bit images, where it has no meaning; with numpy 2 cv_bridge fails on it.
    # cv_bridge takes step / channels for the width: rows padded by a part of a pixel come out sheared.
    is_padded = message.step != message.width * _BRIDGED.get(message.encoding, 0)
    if is_padded or message.is_bigendian:
        return decode_image(message, depth)
    check_image(message)
    try:
        return np.asarray(bridge.imgmsg_to_cv2(message, desired_encoding="bgr8"), dtype=np.uint8)
    except Exception as error:  # cv_bridge raises errors of its own, OpenCV's and KeyError
        raise ImageError(f"cv_bridge cannot convert a {message.encoding} image: {error}.") from error
