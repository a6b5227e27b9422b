"""Judges a frame before the network sees it: a picture that cannot be trusted must not come out clear."""

from __future__ import annotations

import zlib

import numpy as np

from .types import Frame

#: Every n-th row and column is enough to tell two pictures of one camera apart: sensor noise changes them all.
_STRIDE = 4
#: A stamp may lie so far ahead of the clock: two machines' clocks are never quite equal.
_JUMP_NS = 1_000_000_000


class FrameGuard:
    """Remembers the last frame of one camera and compares the next one with it."""

    def __init__(self, camera: str) -> None:
        self.camera = camera
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next frame is the first."""
        self._stamp_ns: int | None = None
        self._lead_ns = 0
        self._shape: tuple[int, ...] | None = None
        self._content: int | None = None

    def check(self, frame: Frame, now_ns: int = 0) -> str | None:
        """Return why the frame is not OK, or None.

        A stamp that goes back or a new size is reported once and becomes the reference, so that the next good
        frame works. A frozen camera is reported on every repeated frame. A stamp that jumps ahead of the clock is
        reported once and never becomes the reference: the next frame may go on before the jump or after it, since a
        driver whose clock is ahead for good can be lived with, and recordings lie in the past.

        Args:
            frame: the next frame.
            now_ns: time on the clock of the stamps; 0 = unknown.
        """
        if frame.image.size == 0 or frame.image.dtype != np.uint8:
            return (
                f"picture is {frame.image.dtype} of shape {frame.image.shape}; it must be uint8 with at least one pixel"
            )
        sample = np.ascontiguousarray(frame.image[::_STRIDE, ::_STRIDE])
        content = zlib.crc32(sample.data)
        last_stamp, last_shape, last_content = self._stamp_ns, self._shape, self._content
        self._shape, self._content = frame.image.shape, content
        if frame.stamp_ns <= 0:
            return f"stamp is {frame.stamp_ns} ns; the driver must stamp its images with the time of capture"
        last_lead = self._lead_ns
        self._lead_ns = max(0, frame.stamp_ns - now_ns) if now_ns > 0 else 0
        if self._lead_ns > last_lead + _JUMP_NS:
            return f"stamp jumped {self._lead_ns / 1e9:.3f} s ahead of the clock; the driver's clock is wrong"
        self._stamp_ns = frame.stamp_ns
        if last_stamp is not None and frame.stamp_ns == last_stamp:
            return f"stamp {frame.stamp_ns} ns is that of the frame before; the frame is repeated"
        if last_stamp is not None and frame.stamp_ns < last_stamp:
            return f"stamp went back by {(last_stamp - frame.stamp_ns) / 1e9:.3f} s; the clock jumped or a recording looped"
        if last_shape is not None and frame.image.shape != last_shape:
            old, new = last_shape, frame.image.shape
            return f"size changed from {old[1]}x{old[0]} to {new[1]}x{new[0]} within the stream"
        colour = sample[0, 0]
        if (sample == colour).all():
            shown = colour.max() if colour.max() == colour.min() else colour.tolist()
            return f"every pixel is {shown}; the picture is blank (black, saturated or disconnected)"
        if content == last_content:
            return "the picture equals the one before; the camera is frozen"
        return None
