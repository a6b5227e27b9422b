"""Packets of a compressed video, one message each, -> BGR pictures, by PyAV. It is needed for such topics alone.

The decoder of a topic keeps state from packet to packet. It yields nothing before a key picture, and after a damaged or
missing packet nothing until the next one: a picture that FFmpeg only guesses is never returned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from .image_codec import MAX_PIXELS, check_size

_INSTALL = "install PyAV (pip install 'ls_ood_monitor[video]'), or convert the recording to JPEG"

_LOG_ERROR = 16  # AV_LOG_ERROR; smaller levels are worse
_HOLE = bytes(8)  # these codecs never write more than two zero bytes, before a start code three (ITU-T H.264, 7.4.1)
_GAP = "Frame num gap"  # of h264 after a missing packet; its level is that of debugging


def make_strict(decoder: Any) -> None:
    """Set a decoder of PyAV to refuse what is damaged, and to answer every packet at once."""
    decoder.thread_count = 1  # threads answer some packets late
    decoder.options = {
        "flags": "low_delay",
        "err_detect": "crccheck+bitstream+buffer+explode",
        "max_pixels": str(MAX_PIXELS),
    }


def decode_strictly(decode: Callable[[], list[Any]], codec: str, data: bytes) -> list[Any]:
    """Call PyAV to decode a packet. Raises ``ImageError`` with FFmpeg's words for damage, also for such as it conceals.

    FFmpeg only logs what it conceals, such as a missing picture, and returns its guess. Here such a line is an error.
    """
    from av import logging as av_logging

    av_logging.set_level(av_logging.DEBUG)
    av_logging.set_skip_repeated(False)
    if codec in ("h264", "hevc") and _HOLE in data.rstrip(b"\0"):
        raise ImageError("a part of it is zero, as after a fault of the disk")
    try:
        with av_logging.Capture() as log:
            frames = decode()
    except (OSError, ValueError, MemoryError) as error:  # OSError and ValueError: what PyAV's errors derive from
        raise ImageError(getattr(error, "strerror", None) or str(error)) from error
    faults = [text.strip() for level, _, text in log if level <= _LOG_ERROR or text.startswith(_GAP)]
    if faults:
        raise ImageError(faults[0])
    return frames


class VideoStream:
    """Decodes the packets of one topic in their order.

    Args:
        codec: FFmpeg's name, such as ``h264``.

    Raises:
        ImageError: PyAV is not installed, or its FFmpeg has no such codec.
    """

    def __init__(self, codec: str) -> None:
        self.codec = codec
        try:
            import av

            self._packet = av.Packet
            self._decoder: Any = av.CodecContext.create(codec, "r")
        except ImportError as error:
            raise ImageError(f"the message is a packet of {codec} video; {_INSTALL}.") from error
        except ValueError as error:  # PyAV's error for an unknown codec
            raise ImageError(
                f"PyAV's FFmpeg cannot decode {codec} ({error}); convert the recording to JPEG."
            ) from error
        make_strict(self._decoder)
        self._index = 0
        self._problem = "no key picture has come yet"

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """Decode one packet. Returns BGR uint8 (H, W, 3).

        Raises:
            ImageError: the packet is empty or damaged, or the pictures that it builds on are missing.
        """
        if not data:
            raise ImageError("video packet is empty; the driver sent no data.")
        packet = self._packet(data)
        packet.pts = packet.dts = self._index
        self._index += 1
        try:
            frames = decode_strictly(lambda: self._decoder.decode(packet), self.codec, data)
        except ImageError as error:
            raise self._damaged(data, str(error)) from error
        if not frames:
            raise ImageError(f"{self.codec} packet gives no picture: {self._problem}; the next key picture ends this.")
        frame = frames[-1]
        if frame.is_corrupt:
            raise self._damaged(data, "a picture that it builds on is missing")
        if frame.pts != packet.pts:
            raise ImageError(
                f"{self.codec} video has its pictures in another order (B-frames), so they have no time of their own; "
                "record it without B-frames, or convert it to JPEG."
            )
        check_size(frame.width, frame.height)
        self._problem = "it is not complete"
        try:
            return np.asarray(frame.to_ndarray(format="bgr24"), dtype=np.uint8)
        except (OSError, ValueError) as error:
            raise ImageError(f"{self.codec} picture in {frame.format.name} cannot become BGR: {error}.") from error

    def _damaged(self, data: bytes, fault: str) -> ImageError:
        """Forget all pictures, so that nothing is built on a damaged one. Returns the error to raise."""
        self._decoder.flush_buffers()
        self._problem = "a packet before it was damaged or missing"
        return ImageError(f"{self.codec} packet of {len(data)} bytes cannot be used: {fault}.")
