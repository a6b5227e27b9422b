"""What the images of a whole recording came to, in columns: some hundred bytes an image, where an object takes thousands."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.types import Alarm, AlarmState, FallbackMode, Frame, FrameResult
from .columns import Columns

_STATES = tuple(AlarmState)
_NONE = np.zeros((0, 0), np.uint8)
_NO_PICTURE = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class FrameRecord:
    """What one image message came to; or, of a silent camera, the lack of one.

    Attributes:
        time_s: reception, seconds from the start of the recording.
        alarm: of its camera, after it.
        mode: the supervisor's decision, after it.
        result: the network's; None where the image could not be judged, or there was none.
        latency_ms: the network's time for it on this machine; NaN where it was not asked.
    """

    time_s: float
    alarm: Alarm
    mode: FallbackMode
    result: FrameResult | None
    latency_ms: float

    @property
    def ratio(self) -> float:
        """Of its alarm (``score_over_threshold``)."""
        return self.alarm.ratio


class JudgedImages(Columns[FrameRecord]):
    """A list of judged images that keeps no picture; each is put together when it is asked for.

    Args:
        detector: that raises the alarm.
        detectors: names of all whose scores are kept.
    """

    def __init__(self, detector: str, detectors: Sequence[str]) -> None:
        self._detector = detector
        self._numbers = {name: array("d") for name in ("time_s", "score", "threshold", "latency_ms")}
        self._scores = {name: array("d") for name in detectors}
        self._judged = array("d")  # the network's own score and threshold, which a late verdict's alarm does not carry
        self._limits = array("d")
        self._stamps = array("q")
        self._states, self._modes, self._flags = array("b"), array("b"), array("b")
        self._names: dict[str, int] = {}  # cameras, faults and other words that repeat
        self._cameras, self._faults = array("i"), array("i")
        self._text, self._ends = bytearray(), array("q", [0])

    def append(self, image: FrameRecord) -> None:
        """Keep one image."""
        alarm, result = image.alarm, image.result
        numbers = (image.time_s, alarm.score, alarm.threshold, image.latency_ms)
        for column, value in zip(self._numbers.values(), numbers, strict=True):
            column.append(value)
        for name, scores in self._scores.items():
            scores.append(np.nan if result is None else result.scores.get(name, np.nan))
        self._judged.append(np.nan if result is None else result.score)
        self._limits.append(np.nan if result is None else result.threshold)
        self._stamps.append(alarm.stamp_ns)
        self._states.append(_STATES.index(alarm.state))
        self._modes.append(image.mode.value)
        self._flags.append(alarm.is_fault + 2 * (result is not None))
        self._cameras.append(self._names.setdefault(alarm.camera, len(self._names)))
        self._faults.append(self._names.setdefault(alarm.fault, len(self._names)))
        self._text += alarm.reason.encode()
        self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._stamps)

    def _row(self, place: int) -> FrameRecord:
        time_s, score, threshold, latency_ms = (column[place] for column in self._numbers.values())
        names = list(self._names)
        camera, fault = names[self._cameras[place]], names[self._faults[place]]
        reason = self._text[self._ends[place] : self._ends[place + 1]].decode()
        stamp_ns, flags = self._stamps[place], self._flags[place]
        alarm = Alarm(camera, stamp_ns, _STATES[self._states[place]], score, threshold, reason, bool(flags & 1), fault)
        result = None
        if flags & 2:
            result = FrameResult(
                Frame(_NO_PICTURE, stamp_ns, camera),
                self._judged[place],
                self._limits[place],
                self._detector,
                {name: scores[place] for name, scores in self._scores.items()},
                segmentation=_NONE,
                confidence=_NONE,
            )
        return FrameRecord(time_s, alarm, FallbackMode(self._modes[place]), result, latency_ms)


class Part(Columns[FrameRecord]):
    """Some images of a sequence, without a list of them.

    Args:
        images: all.
        places: (K,) of those that are meant.
    """

    def __init__(self, images: Sequence[FrameRecord], places: Sequence[int]) -> None:
        self._images, self._places = images, places

    def __len__(self) -> int:
        return len(self._places)

    def _row(self, place: int) -> FrameRecord:
        return self._images[self._places[place]]


def by_camera(images: Sequence[FrameRecord]) -> dict[str, Part]:
    """The images of each camera, in order, by the cameras' names."""
    places: dict[str, array[int]] = {}
    for place, image in enumerate(images):
        places.setdefault(image.alarm.camera, array("q")).append(place)
    return {camera: Part(images, places[camera]) for camera in sorted(places)}


def in_order(images: Sequence[FrameRecord], silences: Sequence[FrameRecord]) -> Iterator[FrameRecord]:
    """All alarms in the order in which they were raised; of one moment, a silence is told before an image."""
    return heapq.merge(silences, images, key=lambda one: one.time_s)
