"""ROS image messages -> BGR pictures, with numpy, OpenCV and, for JPEG, simplejpeg. Every field is checked.

The functions take any object with the fields of ``sensor_msgs/Image`` or ``CompressedImage``: messages of rclpy and of a
recording. A malformed message raises ``ImageError``.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from .bit_depth import BitDepth

try:
    import simplejpeg
except ImportError:  # from pip; no ROS distribution packages it
    simplejpeg = None

MAX_SIDE = 16384
MAX_PIXELS = 64_000_000

Pixels = NDArray[Any]


@dataclass(frozen=True)
class _Encoding:
    """Bytes per value, values per pixel, and the conversion to BGR; values of two bytes are scaled to one before.

    ``even``: the number of pixels of a row must be even. ``planes``: rows of brightness, then half as many of colour.
    """

    channels: int
    to_bgr: Callable[[Pixels], Pixels]
    value_bytes: int = 1
    even: bool = False
    planes: bool = False

    @property
    def bytes_per_pixel(self) -> int:
        return self.channels * self.value_bytes


def _cvt(code: int) -> Callable[[Pixels], Pixels]:
    return lambda pixels: cv2.cvtColor(pixels, code)


def _same(pixels: Pixels) -> Pixels:
    return pixels


_GREY, _BGR, _RGB = _cvt(cv2.COLOR_GRAY2BGR), _same, _cvt(cv2.COLOR_RGB2BGR)
_BGRA, _RGBA = _cvt(cv2.COLOR_BGRA2BGR), _cvt(cv2.COLOR_RGBA2BGR)
_UYVY = _Encoding(2, _cvt(cv2.COLOR_YUV2BGR_UYVY), even=True)
_YUYV = _Encoding(2, _cvt(cv2.COLOR_YUV2BGR_YUY2), even=True)
# OpenCV names a Bayer pattern by its second row, ROS by its first.
_BAYER = {
    "rggb": _cvt(cv2.COLOR_BayerBG2BGR),
    "bggr": _cvt(cv2.COLOR_BayerRG2BGR),
    "gbrg": _cvt(cv2.COLOR_BayerGR2BGR),
    "grbg": _cvt(cv2.COLOR_BayerGB2BGR),
}

ENCODINGS: dict[str, _Encoding] = {
    "bgr8": _Encoding(3, _BGR),
    "8UC3": _Encoding(3, _BGR),
    "rgb8": _Encoding(3, _RGB),
    "bgra8": _Encoding(4, _BGRA),
    "8UC4": _Encoding(4, _BGRA),
    "rgba8": _Encoding(4, _RGBA),
    "mono8": _Encoding(1, _GREY),
    "8UC1": _Encoding(1, _GREY),
    **{f"bayer_{pattern}8": _Encoding(1, to_bgr) for pattern, to_bgr in _BAYER.items()},
    "mono16": _Encoding(1, _GREY, 2),
    "16UC1": _Encoding(1, _GREY, 2),
    "bgr16": _Encoding(3, _BGR, 2),
    "16UC3": _Encoding(3, _BGR, 2),
    "rgb16": _Encoding(3, _RGB, 2),
    "bgra16": _Encoding(4, _BGRA, 2),
    "16UC4": _Encoding(4, _BGRA, 2),
    "rgba16": _Encoding(4, _RGBA, 2),
    **{f"bayer_{pattern}16": _Encoding(1, to_bgr, 2) for pattern, to_bgr in _BAYER.items()},
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": _Encoding(1, _cvt(cv2.COLOR_YUV2BGR_NV12), even=True, planes=True),
    "nv21": _Encoding(1, _cvt(cv2.COLOR_YUV2BGR_NV21), even=True, planes=True),
}


def check_image(message: Any) -> None:
    """Check a raw image message field by field without touching its pixels.

    Raises ``ImageError`` for a zero or huge size, an unknown or float encoding, a step or a data length that does not
    fit.
    """
    height, width, step, name = int(message.height), int(message.width), int(message.step), str(message.encoding)
    check_size(width, height)
    encoding = ENCODINGS.get(name)
    if encoding is None:
        raise ImageError(f"image encoding {name!r} {_problem(name)}; publish one of {', '.join(ENCODINGS)}.")
    row = width * encoding.bytes_per_pixel
    if step < row:
        raise ImageError(f"image step is {step} bytes, but {width} pixels of {name} need {row}.")
    if encoding.even and width % 2:
        raise ImageError(f"image width is {width}, but {name} stores pixels in pairs; the width must be even.")
    if encoding.planes and height % 2:
        raise ImageError(f"image height is {height}, but {name} stores one row of colour for two; it must be even.")
    size, rows = len(message.data), height * 3 // 2 if encoding.planes else height
    # Some drivers state the bytes of a row with its share of the colour.
    if size != step * rows and not (encoding.planes and step * 2 == width * 3 and size == step * height):
        raise ImageError(f"image data has {size} bytes, but {rows} rows of {step} bytes need {step * rows}.")


def _problem(name: str) -> str:
    if name.startswith(("32F", "64F")):
        depth = " (a depth image is no camera picture: choose the camera's topic)" if name == "32FC1" else ""
        return f"holds floats, which have no defined grey scale{depth}"
    return "is not known"


def decode_image(message: Any, depth: BitDepth | None = None) -> NDArray[np.uint8]:
    """Turn a raw image message into BGR uint8 (H, W, 3). Row padding is skipped; ``depth`` scales values of 16 bits.

    Without ``depth`` the picture alone decides its bits. The result may share memory with the message: copy it before
    changing it. Raises ``ImageError`` as ``check_image`` does.
    """
    check_image(message)
    height, width, step = int(message.height), int(message.width), int(message.step)
    encoding = ENCODINGS[message.encoding]
    data = np.frombuffer(message.data, np.uint8)
    if encoding.planes:
        step, height = (width if data.size * 2 == width * height * 3 else step), height * 3 // 2
    pixels: Pixels = data.reshape(height, step)[:, : width * encoding.bytes_per_pixel]
    if encoding.channels > 1 or encoding.value_bytes > 1:
        # Padded rows need a copy without the padding.
        pixels = np.ascontiguousarray(pixels)
    if encoding.value_bytes == 2:
        pixels = (depth or BitDepth()).to_8_bit(pixels.view(">u2" if message.is_bigendian else "<u2"))
    if encoding.channels > 1:
        pixels = pixels.reshape(height, width, encoding.channels)
    return np.asarray(encoding.to_bgr(pixels), dtype=np.uint8)


#: What compressed data are, by the bytes that they begin with.
_MAGIC = {
    b"\xff\xd8": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"RIFF": "WebP",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}


def picture_format(data: bytes) -> str:
    """Name of the picture format that data begin with: JPEG, PNG, WebP, BMP, TIFF or AVIF; empty for none of them."""
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    return next((name for magic, name in _MAGIC.items() if data.startswith(magic)), "")


def decode_compressed(message: Any, depth: BitDepth | None = None, *, strict: bool = True) -> NDArray[np.uint8]:
    """Turn a compressed image message (a JPEG, PNG, WebP, BMP, TIFF or AVIF) into BGR uint8 (H, W, 3).

    What follows the end of a JPEG or PNG is ignored: phones and cameras append padding and data of their own. ``strict``:
    damage that libjpeg only warns of is an error. ``depth`` scales values of 16 bits, as in ``decode_image``.

    Raises ``ImageError`` for empty, truncated or corrupt data, or a size beyond the limit, which is read before
    decoding.
    """
    data = bytes(message.data)
    if not data:
        raise ImageError("compressed image is empty; the driver sent no data.")
    container = picture_format(data)
    if not container:
        raise ImageError(_no_picture(str(message.format), data))
    what = f"compressed image is a {container} of {len(data)} bytes"
    if container not in ("JPEG", "PNG"):
        check_size(*_size_by_pillow(data, what))
        return _decode_by_opencv(data, what, depth)
    if container == "JPEG":
        size, scan = _jpeg_header(data)
        # In the scan, no other 0xFF is followed by 0xD9; a thumbnail's end comes before it.
        end = data.find(b"\xff\xd9", scan) + 2
    else:
        size, end = _png_size(data), _png_end(data)
    if size is None:
        raise ImageError(f"{what} without a size in its header; it is corrupt.")
    check_size(*size)
    if end < 2:  # no marker, or a PNG whose chunks do not lead to it
        # OpenCV would fill the missing part with grey.
        raise ImageError(f"{what} without its end marker; it is truncated.")
    data = data[:end]
    return _decode_jpeg(data, what, strict) if container == "JPEG" else _decode_by_opencv(data, what, depth)


def _no_picture(label: str, data: bytes) -> str:
    what = f"compressed image (format {label!r})"
    if "compressedDepth" in label:
        return f"{what} is a depth image, which is no camera picture; choose the camera's topic."
    if codec_of(label):
        return (
            f"{what} is a packet of a video, which only its stream can decode; publish JPEG, or record and evaluate it."
        )
    return f"{what} is neither JPEG nor PNG, WebP, BMP, TIFF or AVIF: it begins with {data[:4].hex()}."


#: Part of a format's name -> codec of FFmpeg.
_CODECS = {"264": "h264", "avc": "h264", "265": "hevc", "hevc": "hevc", "av1": "av1", "vp9": "vp9", "vp8": "vp8"}


def codec_of(label: str) -> str:
    """FFmpeg's codec for the format or encoding of a video message, such as ``libx264;yuv420p``; empty for none."""
    return next((codec for part, codec in _CODECS.items() if part in label.lower()), "")


def _size_by_pillow(data: bytes, what: str) -> tuple[int, int]:
    """Width and height by the header; nothing is decoded."""
    from PIL import Image  # comes with matplotlib and torchvision; a vehicle with JPEG or PNG does not need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged tags, and of pictures above Pillow's own limit
            with Image.open(io.BytesIO(data)) as picture:
                width, height = picture.size
        return int(width), int(height)
    except Exception as error:  # whatever its plugins raise on damaged data
        raise ImageError(f"{what} without a readable header; it is corrupt, or convert it to PNG.") from error


def _decode_by_opencv(data: bytes, what: str, depth: BitDepth | None = None) -> NDArray[np.uint8]:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        image = None
    if image is None:
        raise ImageError(f"{what} that OpenCV {cv2.__version__} cannot decode; it is corrupt, or convert it to PNG.")
    if image.dtype == np.uint16:
        return (depth or BitDepth()).to_8_bit(image)
    if image.dtype != np.uint8:
        raise ImageError(f"{what} with values of {image.dtype}, which have no defined brightness; save it with 8 bits.")
    return np.asarray(image, dtype=np.uint8)


def _decode_jpeg(data: bytes, what: str, strict: bool) -> NDArray[np.uint8]:
    """Decode a JPEG; ``strict`` makes damage that libjpeg would only warn about an error."""
    if simplejpeg is None:
        _warn_of_lenient_jpeg()
    else:
        try:
            image = _strict_jpeg(data) if strict else simplejpeg.decode_jpeg(data, "BGR", strict=False)
        except ValueError as error:
            cure = ""
            if "extraneous" in str(error):
                cure = " If every picture of this camera is like that, set accept_jpeg_warnings."
            raise ImageError(f"{what} that is damaged: {error}.{cure}") from error
        if b"Exif\0" not in data:
            return np.asarray(image, dtype=np.uint8)
    # Only OpenCV rotates a picture by its Exif tag; it hides libjpeg's warnings.
    decoded = _decode_by_opencv(data, what)
    if simplejpeg is None and strict and bool((decoded[-1] == 128).all()):
        # If the data end early, libjpeg fills the rest with this grey.
        raise ImageError(f"{what} that ends in flat grey; data are missing.")
    return decoded


_EXTRA_BYTES = re.compile(r"extraneous bytes before marker 0xd[0-7]")
_HABITUAL_COUNTS = (2, 1, 4)  # libjpeg's own count cannot be used: it adds up what it read ahead before other markers


def _strict_jpeg(data: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG in which libjpeg finds nothing to warn of. Raises ``ValueError``.

    Some webcams write a few bytes too many before each restart marker. They are removed, the same number before all of
    the markers, and the rest must be faultless: damaged data do not end equally early in every part.
    """
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, "BGR", strict=True))
    except ValueError as error:
        if not _EXTRA_BYTES.search(str(error)):
            raise
        scan = _jpeg_header(data)[1]
        for count in _HABITUAL_COUNTS:
            cleaned = re.sub(rb"[\s\S]{%d}(\xff[\xd0-\xd7])" % count, rb"\1", data[scan:])
            with suppress(ValueError):
                return np.asarray(simplejpeg.decode_jpeg(data[:scan] + cleaned, "BGR", strict=True))
        raise


@cache
def _warn_of_lenient_jpeg() -> None:
    """Warn once per process."""
    logging.getLogger(__name__).warning(
        "simplejpeg is not installed: OpenCV decodes JPEG, and damage inside a picture is not detected"
    )


def check_size(width: int, height: int) -> None:
    """Raise ``ImageError`` for a side below 1 pixel, or a size beyond the limit."""
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


def _png_end(data: bytes) -> int:
    """Where the last chunk ends; 0 if the lengths of the chunks do not lead to one (PNG specification, 5.3).

    OpenCV would allocate and read a chunk of any length, however few data there are.
    """
    position = 8
    while position + 12 <= len(data):
        end = position + 12 + int(struct.unpack(">I", data[position : position + 4])[0])
        if data[position + 4 : position + 8] == b"IEND":
            return end if end <= len(data) else 0
        position = end
    return 0


def _jpeg_header(data: bytes) -> tuple[tuple[int, int] | None, int]:
    """Width and height, and where the first scan begins, by its segments (ISO/IEC 10918-1, B.1.1.4 and B.2.2)."""
    position, size = 2, None
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in (0x01, *range(0xD0, 0xD8)):  # markers without a segment
            position += 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            size = int(width), int(height)
        if marker == 0xDA:
            return size, position
        position += 2 + int(struct.unpack(">H", data[position + 2 : position + 4])[0])
    return size, len(data)
