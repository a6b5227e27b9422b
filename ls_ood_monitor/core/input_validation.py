"""Checks of the input before the network sees it: a picture that cannot be trusted must not come out clear."""

from __future__ import annotations

import zlib
from collections import deque

import numpy as np
from numpy.typing import NDArray

from ..config import HealthSettings
from .causes import Cause, CauseKind
from .types import Frame

#: Rows of a large picture that are looked at: enough to tell two pictures apart, because sensor noise changes every row.
_ROWS = 120
#: Of a small picture every fourth row and column is looked at.
_STRIDE = 4
#: An older stamp is of another clock (a recording, the driver's own) and does not measure delay.
SANE_AGE_NS = 60_000_000_000
#: Window of the rate; the last two images count where they lie farther apart.
_RATE_WINDOW_NS = 2_000_000_000


class ArrivalMonitor:
    """When one camera's images arrived, whether or not the network had time for them; stale after ``timeout_s`` without one."""

    def __init__(self, settings: HealthSettings, timeout_s: float) -> None:
        self._min_rate_hz = settings.min_rate_hz
        self._timeout_ns = timeout_s * 1e9
        self._arrivals: deque[int] = deque()
        self._last_ns = 0
        self.received = 0

    def start(self, now_ns: int) -> None:
        """Begin to wait, at ``now_ns`` on the caller's steady clock."""
        self._arrivals.clear()
        self._last_ns = now_ns

    def arrived(self, now_ns: int) -> None:
        """Count an image."""
        self.received += 1
        self._last_ns = now_ns
        self._arrivals.append(now_ns)
        while len(self._arrivals) > 2 and now_ns - self._arrivals[0] > _RATE_WINDOW_NS:
            self._arrivals.popleft()

    def silent_s(self, now_ns: int) -> float:
        """Seconds since the last image, or since the start."""
        return (now_ns - self._last_ns) / 1e9

    def rate_hz(self) -> float:
        """Images a second over the last two seconds; NaN before the second image."""
        if len(self._arrivals) < 2:
            return float("nan")
        return (len(self._arrivals) - 1) * 1e9 / max(1, self._arrivals[-1] - self._arrivals[0])

    def check(self, now_ns: int) -> Cause | None:
        """Check whether the camera is stale or too slow."""
        if now_ns - self._last_ns > self._timeout_ns:
            limit_s = self._timeout_ns / 1e9
            return Cause(CauseKind.STALE, value=self.silent_s(now_ns), limit=limit_s)
        rate_hz = self.rate_hz()
        if rate_hz < self._min_rate_hz:
            return Cause(CauseKind.RATE, value=rate_hz, limit=self._min_rate_hz)
        return None


class FrameValidator:
    """Checks each frame of one camera, and compares it with the one before.

    Attributes:
        camera: its name.
        settings: limits.
        repeated: number of frames whose picture equals the one before.
    """

    def __init__(self, camera: str, settings: HealthSettings | None = None) -> None:
        self.camera = camera
        self.settings = settings if settings is not None else HealthSettings()
        self.repeated = 0
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next frame is the first."""
        self._stamp_ns: int | None = None
        self._shape: tuple[int, ...] | None = None
        self._content: int | None = None
        self._unchanged_since_ns = 0

    def check(self, frame: Frame, now_ns: int = 0) -> Cause | None:
        """Return why the frame cannot be judged, or None.

        A stamp that goes back is reported once and becomes the reference, so that a looping recording goes on. A frozen
        picture, a stamp ahead of the clock and a size other than the first frame's are reported for every frame, and do not
        become the reference. The scores belong to the geometry of the first frame.
        ``now_ns`` is the time on the clock of the stamps; 0 = unknown.
        """
        if frame.image.size == 0 or frame.image.dtype != np.uint8:
            what = (
                f"picture is {frame.image.dtype} of shape {frame.image.shape}; it must be uint8 with at least one pixel"
            )
            return Cause(CauseKind.UNREADABLE, detail=what)
        # Channels first: minimum and maximum over the channels are ten times as fast.
        step = max(_STRIDE, frame.image.shape[0] // _ROWS)
        sample = np.ascontiguousarray(frame.image[::step, ::step].transpose(2, 0, 1))
        content = zlib.crc32(sample.data)
        if content == self._content:
            self.repeated += 1
        else:
            self._unchanged_since_ns = frame.stamp_ns
        self._content = content
        return (
            self._check_stamp(frame.stamp_ns, now_ns)
            or self._check_size(frame.image.shape)
            or self._check_content(sample, (frame.stamp_ns - self._unchanged_since_ns) / 1e9)
        )

    def check_age(self, stamp_ns: int, now_ns: int, held_ns: int = 0) -> Cause | None:
        """Check the age of a picture, before the network takes it and after.

        Its age is ``now_ns`` (0 = unknown) minus its stamp, or ``held_ns`` since its arrival if the stamp is of another clock.
        """
        age_ns, limit_s = now_ns - stamp_ns, self.settings.max_age_s
        if now_ns <= 0 or age_ns > SANE_AGE_NS:
            age_ns = 0
        age_ns = max(age_ns, held_ns)
        if 0.0 < limit_s * 1e9 < age_ns:
            return Cause(CauseKind.LATE, value=age_ns / 1e9, limit=limit_s)
        return None

    def check_encoding(self, encoding: str) -> Cause | None:
        """Check the encoding of a raw image."""
        expected = self.settings.expected_encoding
        if expected and encoding != expected:
            return Cause(CauseKind.ENCODING, detail=encoding, expected=expected)
        return None

    def _check_stamp(self, stamp_ns: int, now_ns: int) -> Cause | None:
        if stamp_ns <= 0:
            return Cause(CauseKind.NO_STAMP, detail=str(stamp_ns))
        lead_ns, limit_s = stamp_ns - now_ns, self.settings.max_clock_lead_s
        if now_ns > 0 and 0.0 < limit_s * 1e9 < lead_ns:
            return Cause(CauseKind.CLOCK_AHEAD, value=lead_ns / 1e9, limit=limit_s)
        last, self._stamp_ns = self._stamp_ns, stamp_ns
        if last is not None and stamp_ns == last:
            return Cause(CauseKind.REPEATED, detail=str(stamp_ns))
        if last is not None and stamp_ns < last:
            return Cause(CauseKind.CLOCK_BACK, value=(last - stamp_ns) / 1e9)
        return self.check_age(stamp_ns, now_ns)

    def _check_size(self, shape: tuple[int, ...]) -> Cause | None:
        for name, size, expected in (
            ("width", shape[1], self.settings.expected_width),
            ("height", shape[0], self.settings.expected_height),
        ):
            if expected and size != expected:
                return Cause(CauseKind.SIZE, value=size, limit=expected, detail=name)
        first = self._shape = self._shape or shape
        if shape != first:
            return Cause(CauseKind.SIZE, detail=f"{shape[1]}x{shape[0]}", expected=f"{first[1]}x{first[0]}")
        return None

    def _check_content(self, sample: NDArray[np.uint8], unchanged_s: float) -> Cause | None:
        dark, bright = self.settings.dark_level, self.settings.bright_level
        limit = self.settings.max_blind_share
        if (share := float((sample.max(axis=0) <= dark).mean())) >= limit:
            return Cause(CauseKind.BLACK, value=share, limit=limit, detail=str(dark))
        if (share := float((sample.min(axis=0) >= bright).mean())) >= limit:
            return Cause(CauseKind.SATURATED, value=share, limit=limit, detail=str(bright))
        colour = sample[:, 0, 0]
        if (sample == colour[:, None, None]).all():
            return Cause(CauseKind.BLANK, detail=str(colour.tolist()))
        if 0.0 < unchanged_s >= self.settings.frozen_s:
            return Cause(CauseKind.FROZEN, value=unchanged_s, limit=self.settings.frozen_s)
        return None
