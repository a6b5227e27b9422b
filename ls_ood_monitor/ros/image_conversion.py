"""Image messages -> BGR, by ``cv_bridge`` where it is installed, after our own checks; both ways give equal pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..vision.image_codec import check_image, decode_compressed, decode_image

try:
    from cv_bridge import CvBridge

    BRIDGE: Any = CvBridge()
except ImportError:  # part of every ROS distribution, not available from pip
    BRIDGE = None

#: Encodings that cv_bridge converts exactly as our own code; all others are converted by ours.
_BRIDGED = frozenset({"bgr8", "rgb8", "mono8", "bgra8", "rgba8"})


def image_to_bgr(message: Any, bridge: Any = BRIDGE) -> NDArray[np.uint8]:
    """Raw image message -> BGR uint8 (H, W, 3), by a ``CvBridge`` where there is one. Raises ``ImageError``."""
    # A driver may set is_bigendian on 8-bit images, where it has no meaning; with numpy 2 cv_bridge fails on it.
    if bridge is None or message.encoding not in _BRIDGED or message.is_bigendian:
        return decode_image(message)
    check_image(message)
    try:
        return np.asarray(bridge.imgmsg_to_cv2(message, desired_encoding="bgr8"), dtype=np.uint8)
    except Exception as error:  # cv_bridge raises errors of its own, OpenCV's and KeyError
        raise ImageError(f"cv_bridge cannot convert a {message.encoding} image: {error}.") from error


def compressed_to_bgr(message: Any) -> NDArray[np.uint8]:
    """Compressed image message -> BGR uint8 (H, W, 3). Raises ``ImageError``."""
    return decode_compressed(message)
