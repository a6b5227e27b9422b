"""What the images of one topic are like: counts, times, layout, and a sample of them against the vehicle's input checks."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from ..core.input_validation import SANE_AGE_NS, FrameValidator
from ..core.types import Frame
from .bags import ImageArrival

#: An interval this many times the median one, and at least ``MIN_GAP_S``, is a gap.
_GAP_TIMES, MIN_GAP_S = 5.0, 1.0
#: Bits of a channel in an encoding, such as mono16, 16UC1 or bgr8.
_BITS = re.compile(r"(?<!\d)(8|16|32|64)(?=[USF]C|\b)|(?<=[a-z])(8|16|32|64)\b")


@dataclass(frozen=True)
class ImageStatistics:
    """Of one topic, or of one drive of pictures.

    Attributes:
        read: images that were read.
        checked: images whose picture was read and checked; a sample, or all.
        faults: kind of fault (``CauseKind``, or ``unreadable``) -> number of the checked images that have it.
        repeated: checked images whose picture equals the one checked before; small cameras do that, and are healthy.
        first_error: why the first unreadable image cannot be read, a sentence; empty if all can.
        layouts: encodings or formats, as the messages state them.
        bits: bits of a channel; 0 = not known.
        sizes: ``WIDTHxHEIGHT`` of the checked pictures.
        frame_ids: of the headers.
        rate_hz: 1 / median interval of reception; None below two images.
        gaps: number of gaps in reception.
        longest_gap_s: the longest of them; 0 without one.
        longest_gap_at_s: where it begins, from the first image.
        stamps_back: stamps earlier than that of the image before.
        stamps_repeated: stamps equal to that of the image before.
        age_s: median of reception minus stamp, seconds; None if not every image has a stamp.
        has_foreign_clock: the stamps are of another clock than the reception, so an age is not known.
    """

    read: int = 0
    checked: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    first_error: str = ""
    layouts: tuple[str, ...] = ()
    bits: int = 0
    sizes: tuple[str, ...] = ()
    frame_ids: tuple[str, ...] = ()
    rate_hz: float | None = None
    gaps: int = 0
    longest_gap_s: float = 0.0
    longest_gap_at_s: float = 0.0
    stamps_back: int = 0
    stamps_repeated: int = 0
    age_s: float | None = None
    has_foreign_clock: bool = False


class StatisticsCollector:
    """Takes the images of one topic in their order; those without a picture and without an error are not checked."""

    def __init__(self, camera: str) -> None:
        self._validator = FrameValidator(camera)
        self._received, self._stamps = array("q"), array("q")
        self._faults: Counter[str] = Counter()
        self._layouts: Counter[str] = Counter()
        self._sizes: Counter[str] = Counter()
        self._frame_ids: Counter[str] = Counter()
        self._checked, self._first_error = 0, ""

    def add(self, arrival: ImageArrival) -> None:
        """Take an image."""
        self._received.append(arrival.received_ns)
        if arrival.stamp_ns or not arrival.error:  # one that cannot be read has none
            self._stamps.append(arrival.stamp_ns)
        self._layouts[arrival.layout] += 1
        self._frame_ids[arrival.frame_id] += 1
        if arrival.error:
            self._checked += 1
            self._faults["unreadable"] += 1
            self._first_error = self._first_error or arrival.error
        elif arrival.image is not None:
            self._checked += 1
            height, width = arrival.image.shape[:2]
            self._sizes[f"{width}x{height}"] += 1
            frame = Frame(arrival.image, arrival.stamp_ns, arrival.camera)
            if (cause := self._validator.check(frame, arrival.received_ns)) is not None:
                self._faults[cause.kind.value] += 1

    def statistics(self) -> ImageStatistics:
        """Of all images so far."""
        received, stamps = np.array(self._received, np.int64), np.array(self._stamps, np.int64)
        intervals = np.diff(received) / 1e9
        moving = intervals[intervals > 0.0]
        median_s = float(np.median(moving)) if len(moving) else float("nan")
        gaps = np.flatnonzero(intervals > max(MIN_GAP_S, _GAP_TIMES * median_s)) if len(moving) else np.array([], int)
        longest = int(gaps[np.argmax(intervals[gaps])]) if len(gaps) else -1
        ages = (received - stamps) / 1e9 if len(received) == len(stamps) else np.array([])
        steps = np.diff(stamps)
        layouts = tuple(name for name, _ in self._layouts.most_common() if name)
        return ImageStatistics(
            read=len(received),
            checked=self._checked,
            faults=dict(self._faults.most_common()),
            repeated=self._validator.repeated,
            first_error=self._first_error,
            layouts=layouts,
            bits=bits_of(layouts[0]) if layouts else 0,
            sizes=tuple(size for size, _ in self._sizes.most_common()),
            frame_ids=tuple(name for name, _ in self._frame_ids.most_common() if name),
            rate_hz=1.0 / median_s if len(moving) else None,
            gaps=len(gaps),
            longest_gap_s=float(intervals[longest]) if len(gaps) else 0.0,
            longest_gap_at_s=float((received[longest] - received[0]) / 1e9) if len(gaps) else 0.0,
            stamps_back=int((steps < 0).sum()),
            stamps_repeated=int((steps == 0).sum()),
            age_s=float(np.median(ages)) if len(ages) else None,
            has_foreign_clock=bool(len(ages) and abs(float(np.median(ages))) > SANE_AGE_NS / 1e9),
        )


def bits_of(layout: str) -> int:
    """Bits of a channel, from an encoding or a format such as ``bgr8; jpeg compressed bgr8``; 0 if it does not tell."""
    found = _BITS.search(layout)
    if found:
        return int(next(group for group in found.groups() if group))
    return 0 if any(name in layout.lower() for name in ("png", "tif", "avif")) else 8
