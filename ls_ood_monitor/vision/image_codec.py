"""ROS image messages -> BGR pictures, with numpy, OpenCV and, for JPEG, simplejpeg. Every field is checked.

The functions take any object with the fields of ``sensor_msgs/Image`` or ``CompressedImage``: messages of rclpy and of a
recording. A malformed message raises ``ImageError``.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError

try:
    import simplejpeg
except ImportError:  # from pip; no ROS distribution packages it
    simplejpeg = None

MAX_SIDE = 16384
MAX_PIXELS = 64_000_000

Pixels = NDArray[Any]


@dataclass(frozen=True)
class _Encoding:
    """Bytes per pixel, channels, and the conversion to BGR; ``wide``: 16 bits per value."""

    bytes_per_pixel: int
    channels: int
    to_bgr: Callable[[Pixels], Pixels]
    wide: bool = False


def _cvt(code: int) -> Callable[[Pixels], Pixels]:
    return lambda pixels: cv2.cvtColor(pixels, code)


def _same(pixels: Pixels) -> Pixels:
    return pixels


def _from_16_bit(pixels: Pixels) -> Pixels:
    return cv2.cvtColor((pixels >> 8).astype(np.uint8), cv2.COLOR_GRAY2BGR)


_GREY = _Encoding(1, 1, _cvt(cv2.COLOR_GRAY2BGR))
_GREY16 = _Encoding(2, 1, _from_16_bit, wide=True)
_BGR = _Encoding(3, 3, _same)
_BGRA = _Encoding(4, 4, _cvt(cv2.COLOR_BGRA2BGR))

# OpenCV names a Bayer pattern by its second row, ROS by its first.
ENCODINGS: dict[str, _Encoding] = {
    "bgr8": _BGR,
    "8UC3": _BGR,
    "rgb8": _Encoding(3, 3, _cvt(cv2.COLOR_RGB2BGR)),
    "bgra8": _BGRA,
    "8UC4": _BGRA,
    "rgba8": _Encoding(4, 4, _cvt(cv2.COLOR_RGBA2BGR)),
    "mono8": _GREY,
    "8UC1": _GREY,
    "mono16": _GREY16,
    "16UC1": _GREY16,
    "bayer_rggb8": _Encoding(1, 1, _cvt(cv2.COLOR_BayerBG2BGR)),
    "bayer_bggr8": _Encoding(1, 1, _cvt(cv2.COLOR_BayerRG2BGR)),
    "bayer_gbrg8": _Encoding(1, 1, _cvt(cv2.COLOR_BayerGR2BGR)),
    "bayer_grbg8": _Encoding(1, 1, _cvt(cv2.COLOR_BayerGB2BGR)),
    "yuv422": _Encoding(2, 2, _cvt(cv2.COLOR_YUV2BGR_UYVY)),
    "uyvy": _Encoding(2, 2, _cvt(cv2.COLOR_YUV2BGR_UYVY)),
    "yuv422_yuy2": _Encoding(2, 2, _cvt(cv2.COLOR_YUV2BGR_YUY2)),
    "yuyv": _Encoding(2, 2, _cvt(cv2.COLOR_YUV2BGR_YUY2)),
}


def check_image(message: Any) -> None:
    """Check a raw image message field by field without touching its pixels.

    Raises ``ImageError`` for a zero or huge size, an unknown or float encoding, a step or a data length that does not
    fit.
    """
    height, width, step, name = int(message.height), int(message.width), int(message.step), str(message.encoding)
    _check_size(width, height)
    encoding = ENCODINGS.get(name)
    if encoding is None:
        problem = (
            "holds floats, which have no defined grey scale" if name.startswith(("32F", "64F")) else "is not known"
        )
        raise ImageError(f"image encoding {name!r} {problem}; publish one of {', '.join(ENCODINGS)}.")
    row = width * encoding.bytes_per_pixel
    if step < row:
        raise ImageError(f"image step is {step} bytes, but {width} pixels of {name} need {row}.")
    size = len(message.data)
    if size != step * height:
        raise ImageError(f"image data has {size} bytes, but {height} rows of {step} bytes need {step * height}.")
    if encoding.to_bgr in _PAIRED and width % 2:
        raise ImageError(f"image width is {width}, but {name} stores pixels in pairs; the width must be even.")


def decode_image(message: Any) -> NDArray[np.uint8]:
    """Turn a raw image message into BGR uint8 (H, W, 3). Row padding is skipped; 16-bit grey keeps its high byte.

    The result may share memory with the message: copy it before changing it. Raises ``ImageError`` as ``check_image``
    does.
    """
    check_image(message)
    height, width, step = int(message.height), int(message.width), int(message.step)
    encoding = ENCODINGS[message.encoding]
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)[:, : width * encoding.bytes_per_pixel]
    if encoding.wide:
        order = ">u2" if message.is_bigendian else "<u2"
        pixels: Pixels = np.ascontiguousarray(rows).view(order).astype(np.uint16)
    elif encoding.channels == 1:
        pixels = rows
    else:
        # Padded rows need a copy without the padding.
        pixels = np.ascontiguousarray(rows).reshape(height, width, encoding.channels)
    return np.asarray(encoding.to_bgr(pixels), dtype=np.uint8)


_PAIRED = {ENCODINGS[name].to_bgr for name in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv")}


def decode_compressed(message: Any) -> NDArray[np.uint8]:
    """Turn a compressed image message (JPEG or PNG) into BGR uint8 (H, W, 3).

    Raises ``ImageError`` for empty, truncated or corrupt data, or a size beyond the limit, which is read before
    decoding.
    """
    data = bytes(message.data)
    if not data:
        raise ImageError("compressed image is empty; the driver sent no data.")
    if data[:2] == b"\xff\xd8":
        container, size, complete = "JPEG", _jpeg_size(data), b"\xff\xd9" in data.rstrip(b"\0")[-64:]  # padding
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        container, size, complete = "PNG", _png_size(data), b"IEND" in data[-16:]
    else:
        raise ImageError(
            f"compressed image (format {message.format!r}) is neither JPEG nor PNG: it begins with {data[:4].hex()}."
        )
    what = f"compressed image is a {container} of {len(data)} bytes"
    if size is None:
        raise ImageError(f"{what} without a size in its header; it is corrupt.")
    _check_size(*size)
    if not complete:
        # OpenCV would fill the missing part with grey.
        raise ImageError(f"{what} without its end marker; it is truncated.")
    return _decode_jpeg(data, what) if container == "JPEG" else _decode_by_opencv(data, what)


def _decode_by_opencv(data: bytes, what: str) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ImageError(f"{what} that cannot be decoded; it is corrupt.")
    return np.asarray(image, dtype=np.uint8)


def _decode_jpeg(data: bytes, what: str) -> NDArray[np.uint8]:
    """Decode a JPEG; damage that libjpeg would only warn about is an error."""
    if simplejpeg is None:
        _warn_of_lenient_jpeg()
    else:
        try:
            image = simplejpeg.decode_jpeg(data, "BGR", strict=True)
        except ValueError as error:
            raise ImageError(f"{what} that is damaged: {error}.") from error
        if b"Exif\0" not in data:
            return np.asarray(image, dtype=np.uint8)
    # Only OpenCV rotates a picture by its Exif tag; it hides libjpeg's warnings.
    decoded = _decode_by_opencv(data, what)
    if simplejpeg is None and bool((decoded[-1] == 128).all()):
        # If the data end early, libjpeg fills the rest with this grey.
        raise ImageError(f"{what} that ends in flat grey; data are missing.")
    return decoded


@cache
def _warn_of_lenient_jpeg() -> None:
    """Warn once per process."""
    logging.getLogger(__name__).warning(
        "simplejpeg is not installed: OpenCV decodes JPEG, and damage inside a picture is not detected"
    )


def _check_size(width: int, height: int) -> None:
    if width <= 0 or height <= 0:
        raise ImageError(f"image size is {width}x{height}; both sides must be at least 1 pixel.")
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise ImageError(
            f"image size is {width}x{height}; at most {MAX_SIDE} a side and {MAX_PIXELS} pixels are accepted."
        )


def _png_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", data[16:24])
    return int(width), int(height)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Walk the segments to the start of frame (ISO/IEC 10918-1, B.2.2)."""
    position = 2
    while position + 9 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in (0x01, *range(0xD0, 0xD8)):  # markers without a segment
            position += 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            return int(width), int(height)
        position += 2 + int(struct.unpack(">H", data[position + 2 : position + 4])[0])
    return None
