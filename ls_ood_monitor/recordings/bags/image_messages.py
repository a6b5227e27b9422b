"""Image messages without ROS: made from pictures, and decoded to pictures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from ...errors import ImageError
from ...vision.image_codec import decode_compressed, decode_image
from .opened import RawMessage

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
#: Foxglove's compressed image: the same content in another order. Its package may have either name.
FOXGLOVE_IMAGES = ("foxglove_msgs/msg/CompressedImage", "foxglove/msg/CompressedImage")
_FOXGLOVE_DEFINITION = "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class ImageArrival:
    """One image message of a recording, with its picture or with the reason why it has none."""

    camera: str
    topic: str
    received_ns: int  # time at which the recorder received the message
    stamp_ns: int  # time of capture, from the header; 0 if the message cannot be read
    encoding: str  # of a raw image; empty for a compressed one
    image: NDArray[np.uint8] | None  # BGR (H, W, 3); None if there is no usable picture
    error: str = ""  # why there is none, as a sentence; empty otherwise
    frame_id: str = ""  # from the header
    layout: str = ""  # encoding of a raw image, format of a compressed one, as its message states it


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """Message definitions of Humble, and Foxglove's compressed image. Those of images are the same up to Kilted."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name in FOXGLOVE_IMAGES:
        store.register(get_types_from_msg(_FOXGLOVE_DEFINITION, name))
    return store


def is_known(type_name: str) -> bool:
    """Whether the definition of a type is known here; messages of ROS 1 can only be converted then."""
    return type_name in typestore().types


def is_image(type_name: str) -> bool:
    """Whether messages of this type are images, raw or compressed."""
    return type_name in (IMAGE, COMPRESSED_IMAGE, *FOXGLOVE_IMAGES)


def ros2_message(data: bytes, type_name: str) -> bytes:
    """A message of ROS 1 as ROS 2 serialises it; empty if it is damaged."""
    try:
        return bytes(typestore().ros1_to_cdr(data, type_name))
    except Exception:  # a short or foreign buffer can raise any error inside generated code
        return b""


def image_message(camera: str, pixels: NDArray[np.uint8], encoding: str, stamp_ns: int) -> Any:
    """Make a ``sensor_msgs/Image`` from pixels (H, W) or (H, W, channels)."""
    height, width = pixels.shape[:2]
    layout = {
        "height": height,
        "width": width,
        "encoding": encoding,
        "is_bigendian": 0,
        "step": pixels.nbytes // height,
    }
    data = np.ascontiguousarray(pixels).reshape(-1)
    return typestore().types[IMAGE](header=_header(camera, stamp_ns), **layout, data=data)


def compressed_message(camera: str, image: NDArray[np.uint8], stamp_ns: int) -> Any:
    """Make a ``sensor_msgs/CompressedImage`` with a JPEG from a BGR picture (H, W, 3)."""
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return typestore().types[COMPRESSED_IMAGE](
        header=_header(camera, stamp_ns), format="bgr8; jpeg compressed bgr8", data=jpeg.reshape(-1)
    )


def decode_arrival(raw: RawMessage, camera: str, has_picture: bool = True) -> ImageArrival:
    """Decode an image message; its picture only if wanted. An unusable one has its reason in ``error``."""
    try:
        message: Any = typestore().deserialize_cdr(raw.data, raw.type_name)
    # A short or foreign buffer can raise any error inside generated code.
    except Exception as error:
        text = f"A message on {raw.topic} is not a readable {raw.type_name}: {len(raw.data)} bytes, {error!r}."
        return ImageArrival(camera, raw.topic, raw.stamp_ns, 0, "", None, text)
    is_raw = raw.type_name == IMAGE
    head = message if raw.type_name in FOXGLOVE_IMAGES else message.header
    stamp = head.timestamp if raw.type_name in FOXGLOVE_IMAGES else head.stamp
    image, fault = None, ""
    try:
        if has_picture:
            image = decode_image(message) if is_raw else decode_compressed(message)
    except ImageError as error:
        fault = str(error)
    stamp_ns, encoding = stamp.sec * 10**9 + stamp.nanosec, message.encoding if is_raw else ""
    layout = message.encoding if is_raw else message.format
    return ImageArrival(camera, raw.topic, raw.stamp_ns, stamp_ns, encoding, image, fault, head.frame_id, layout)


def _header(camera: str, stamp_ns: int) -> Any:
    types = typestore().types
    stamp = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id=camera)
