"""What will a calibrated monitor see? Clean clips are disturbed, and the time to the alarm is measured.

Each clip is clean until its begin and disturbed from there on. The alarm runs as on the vehicle, from the clean scores of
the seconds before. The disturbances are synthetic (``anomalies``), so the figures are of these, on this camera.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..anomalies import ANOMALIES, apply_anomaly
from ..anomalies.harmless import HARMLESS, harmless
from ..config import AlarmSettings
from ..core.alarm import AlarmFilter
from ..core.intervals import share_interval
from ..core.threshold import Threshold
from ..core.types import AlarmState, Frame

HARMLESS_LEVELS = (1, 2)
#: Clips that are disturbed at most; time may end before.
CLIPS = 8
#: A disturbance lasts so long, seconds.
LENGTH_S = 5.0
#: The tables show what is detected within these times, seconds.
WITHIN_S = (1.0, 5.0)
#: Pictures are disturbed and judged so many at a time, until the alarm is raised.
_BATCH = 4


@dataclass(frozen=True)
class CleanClip:
    """A few seconds of one clean camera.

    Attributes:
        drive: its name.
        frames: to be disturbed, in order of time.
        stamps_before_ns: of the clean frames just before, in order of time.
        scores_before: held-out scores of these.
        score: scores pictures by a detector that has not seen the clip's block; larger = more OoD.
    """

    drive: str
    frames: Sequence[Frame]
    stamps_before_ns: Sequence[int]
    scores_before: Sequence[float]
    score: Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float64]]


@dataclass(frozen=True)
class PictureChange:
    """One way to change a picture.

    Attributes:
        name: of an anomaly, or of a harmless change.
        level: its severity.
        is_harmless: no alarm should come.
    """

    name: str
    level: int
    is_harmless: bool

    def change(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """A changed copy of the picture."""
        return (harmless if self.is_harmless else apply_anomaly)(self.name, image, self.level, seed)


def _changes(level: int, is_harmless: bool) -> tuple[PictureChange, ...]:
    names = HARMLESS if is_harmless else ANOMALIES
    return tuple(PictureChange(name, level, is_harmless) for name in names if name != "identity")


#: Changes of one level each, the most telling first: time may end before the others.
_LEVELS = (
    _changes(3, False),
    _changes(1, False),
    _changes(5, False),
    *(_changes(level, True) for level in HARMLESS_LEVELS),
    _changes(2, False),
    _changes(4, False),
)
PICTURE_CHANGES: tuple[PictureChange, ...] = tuple(change for changes in _LEVELS for change in changes)


@dataclass(frozen=True)
class Sensitivity:
    """Delays from the begin of each change to the alarm.

    Attributes:
        detector: whose alarm.
        clips: number of clips that were changed.
        delays_s: condition -> seconds to the alarm in each clip; inf = none within ``LENGTH_S``. Levels for which there was
            no time are missing.
        is_complete: all clips were changed in all ways before the time was over.
    """

    detector: str
    clips: int
    delays_s: Mapping[PictureChange, Sequence[float]]
    is_complete: bool

    def detected(self, within_s: float, *, level: int, is_harmless: bool = False) -> dict[str, float]:
        """Share of clips and kinds alarmed within a time, with its 95 % interval by clips."""
        chosen = [
            delays
            for condition, delays in self.delays_s.items()
            if condition.level == level and condition.is_harmless is is_harmless
        ]
        hits = (np.array(chosen) <= within_s).sum(axis=0)
        interval = share_interval(hits, np.full(self.clips, len(chosen)))
        return interval._asdict()

    def facts(self) -> dict[str, Any]:
        """Plain values for a bundle's provenance."""
        return {
            "detector": self.detector,
            "clips": self.clips,
            "length_s": LENGTH_S,
            "is_complete": self.is_complete,
            "conditions": [
                {**asdict(condition), "delays_s": [delay if isfinite(delay) else None for delay in delays]}
                for condition, delays in self.delays_s.items()
            ],
            "anomalies": self._shares(False),
            "harmless": self._shares(True),
        }

    def _shares(self, is_harmless: bool) -> list[dict[str, Any]]:
        levels = sorted({change.level for change in self.delays_s if change.is_harmless is is_harmless})
        return [
            {"level": level, "within_s": within_s, **self.detected(within_s, level=level, is_harmless=is_harmless)}
            for level, within_s in product(levels, WITHIN_S)
        ]


def measure_sensitivity(
    clips: Iterable[CleanClip],
    detector: str,
    threshold: Threshold,
    settings: AlarmSettings,
    *,
    max_seconds: float = inf,
    progress: Callable[[int], None] | None = None,
) -> Sensitivity | None:
    """Disturb every clip by every condition, clip by clip, and measure the time to the alarm; None without a clip.

    A clip that is not finished in time is given up; of the first one the finished levels count, and its first level is always
    measured.

    Args:
        clips: read only as far as there is time.
        detector: name of the detector that scores.
        threshold: of this detector.
        settings: of the alarm.
        max_seconds: time for all of it.
        progress: called with the number of conditions done, of all clips.
    """
    delays: dict[PictureChange, list[float]] = {}
    end = time.monotonic() + max_seconds
    done = measured = 0
    is_complete = True
    for number, clip in enumerate(clips):
        own: dict[PictureChange, float] = {}
        for changes in _LEVELS:
            if own and time.monotonic() > end:
                break
            for change in changes:
                own[change] = _delay_s(clip, partial(change.change, seed=number), threshold, settings)
                done += 1
                if progress is not None:
                    progress(done)
        is_complete = len(own) == len(PICTURE_CHANGES)
        if is_complete or not number:
            measured += 1
            for change, delay_s in own.items():
                delays.setdefault(change, []).append(delay_s)
        if not is_complete:
            break
    return Sensitivity(detector, measured, delays, is_complete) if measured else None


def _delay_s(
    clip: CleanClip,
    change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    threshold: Threshold,
    settings: AlarmSettings,
) -> float:
    """Seconds from the first changed frame to the alarm; 0 = at once, inf = none."""
    alarm_filter = AlarmFilter(settings, "clip", threshold.lasting_levels)
    for stamp_ns, score in zip(clip.stamps_before_ns, clip.scores_before, strict=True):
        alarm_filter.update(stamp_ns, score, threshold.value)
    for stamp_ns, score in _scores(clip, change):
        if alarm_filter.update(stamp_ns, score, threshold.value).state is AlarmState.RAISED:
            return (stamp_ns - clip.frames[0].stamp_ns) / 1e9
    return inf


def _scores(clip: CleanClip, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Iterator[tuple[int, float]]:
    """Stamp and score of each changed frame; pictures are changed only as far as they are asked for."""
    for first in range(0, len(clip.frames), _BATCH):
        frames = clip.frames[first : first + _BATCH]
        scores = clip.score([change(frame.image) for frame in frames])
        yield from zip((frame.stamp_ns for frame in frames), scores.tolist(), strict=True)
