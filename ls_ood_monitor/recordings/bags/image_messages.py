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

from ...config import DEFAULT_DECODING, DecodingSettings
from ...errors import ImageError
from ...vision.image_decoder import ImageDecoder, codec_of_message
from .opened import RawMessage

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
#: Foxglove's compressed image: the same content in another order. Its package may have either name.
FOXGLOVE_IMAGES = ("foxglove_msgs/msg/CompressedImage", "foxglove/msg/CompressedImage")
_FOXGLOVE = "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"
#: Definitions of image types that ROS does not bring: pictures and video by Foxglove, video by ffmpeg_image_transport.
_FOREIGN = {
    **dict.fromkeys((*FOXGLOVE_IMAGES, "foxglove_msgs/msg/CompressedVideo", "foxglove/msg/CompressedVideo"), _FOXGLOVE),
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket": (
        "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\nbool is_bigendian\n"
        "uint8[] data"
    ),
}
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
    """Message definitions of Humble, and foreign image types. Those of images are the same up to Kilted."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, definition in _FOREIGN.items():
        store.register(get_types_from_msg(definition, name))
    return store


def is_known(type_name: str) -> bool:
    """Whether the definition of a type is known here; messages of ROS 1 can only be converted then."""
    return type_name in typestore().types


def is_image(type_name: str) -> bool:
    """Whether messages of this type are images, raw or compressed, or packets of a video."""
    return type_name in (IMAGE, COMPRESSED_IMAGE, *_FOREIGN)


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


class ArrivalDecoder:
    """Decodes the image messages of one reading, in their order.

    It keeps state by topic: the packets of a video build on each other, and 16-bit pixels share their number of bits.
    """

    def __init__(self, settings: DecodingSettings = DEFAULT_DECODING) -> None:
        self._settings = settings
        self._decoders: dict[str, ImageDecoder] = {}

    def decode(self, raw: RawMessage, camera: str, has_picture: bool = True) -> ImageArrival:
        """Decode an image message; its picture only if wanted. An unusable one has its reason in ``error``."""
        try:
            message: Any = typestore().deserialize_cdr(raw.data, raw.type_name)
        # A short or foreign buffer can raise any error inside generated code.
        except Exception as error:
            text = f"A message on {raw.topic} is not a readable {raw.type_name}: {len(raw.data)} bytes, {error!r}."
            return ImageArrival(camera, raw.topic, raw.stamp_ns, 0, "", None, text)
        is_raw, is_foxglove = raw.type_name == IMAGE, hasattr(message, "timestamp")
        head = message if is_foxglove else message.header
        stamp = head.timestamp if is_foxglove else head.stamp
        image, fault = None, ""
        decoder = self._decoders.get(raw.topic)
        if decoder is None:
            settings = self._settings
            decoder = ImageDecoder(raw.topic, settings.image_bits, not settings.accept_jpeg_warnings)
            self._decoders[raw.topic] = decoder
        if has_picture or codec_of_message(message):  # later packets of a video need this one
            try:
                image = decoder.decode(message)
            except ImageError as error:
                fault = str(error)
        layout = message.encoding if hasattr(message, "encoding") else message.format
        return ImageArrival(
            camera,
            raw.topic,
            raw.stamp_ns,
            stamp.sec * 10**9 + stamp.nanosec,
            message.encoding if is_raw else "",
            image,
            fault,
            head.frame_id,
            layout,
        )


def _header(camera: str, stamp_ns: int) -> Any:
    types = typestore().types
    stamp = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id=camera)
