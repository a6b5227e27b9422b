"""All images of one topic -> BGR pictures, in their order, whatever message carries them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from .bit_depth import BitDepth
from .image_codec import codec_of, decode_compressed, decode_image, picture_format
from .video_stream import VideoStream


class ImageDecoder:
    """Decodes the messages of one topic: raw, compressed, or packets of a video; the state of the topic stays here.

    Args:
        name: the topic, for the notes in the log.
        bits: significant bits of pixels of 16 bits; 0 = by the largest value seen (``BitDepth``).
        strict_jpeg: damage that libjpeg only warns of is an error.
    """

    def __init__(self, name: str = "", bits: int = 0, strict_jpeg: bool = True) -> None:
        self._depth, self._strict_jpeg = BitDepth(name, bits), strict_jpeg
        self._stream: VideoStream | None = None

    def decode(self, message: Any) -> NDArray[np.uint8]:
        """Decode the next message. Returns BGR uint8 (H, W, 3). Raises ``ImageError``."""
        if hasattr(message, "step"):
            return decode_image(message, self._depth)
        codec = codec_of_message(message)
        if codec:
            if self._stream is None or self._stream.codec != codec:
                self._stream = VideoStream(codec)
            return self._stream.decode(bytes(message.data))
        label = str(message.encoding if hasattr(message, "encoding") else message.format)
        if not hasattr(message, "format"):  # a packet of ffmpeg_image_transport
            raise ImageError(f"video packet is of the encoding {label!r}, which is not read; record h264 or h265.")
        return decode_compressed(message, self._depth, strict=self._strict_jpeg)


def codec_of_message(message: Any) -> str:
    """Codec of a message that is a packet of a video; empty for a picture."""
    if hasattr(message, "step"):
        return ""
    label = str(message.encoding if hasattr(message, "encoding") else message.format)
    codec = codec_of(label)
    return codec if codec and not picture_format(bytes(message.data[:16])) else ""
