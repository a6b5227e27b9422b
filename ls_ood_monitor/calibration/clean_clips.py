"""Clips of clean drives, spread over drives and cameras, for measuring what a monitor sees of a disturbance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.alarm import AlarmFilter
from ..core.types import AlarmState, Frame
from ..recordings.drive_source import DriveSource
from .calibrate import DetectorCalibration
from .feature_table import MAX_GAP_S, FeatureTable, clean_video
from .sensitivity import LENGTH_S, CleanClip
from .settings import CalibrationSettings

#: Clean time before a clip, seconds: the median score has settled by then.
_BEFORE_S = 10.0
#: A clip has at most so many frames a second, so that a fast camera does not take longer.
_MAX_RATE_HZ = 10.0
_TRIES = 20


@dataclass(frozen=True)
class ClipPlace:
    """Where a clip lies.

    Attributes:
        drive: its name.
        camera: its name.
        frames: (F,) rows of the table, in order of time.
        before: (B,) rows of the clean frames before it, in order of time.
        unit: block or drive of its first frame, whichever was held out.
    """

    drive: str
    camera: str
    frames: NDArray[np.int64]
    before: NDArray[np.int64]
    unit: int


def choose_clips(
    table: FeatureTable,
    units: NDArray[np.int64],
    calibration: DetectorCalibration,
    settings: CalibrationSettings,
    count: int,
) -> list[ClipPlace]:
    """Draw clips (seeded) of ``LENGTH_S`` without a gap and without an alarm, one camera of a drive after the other.

    Returns:
        At most ``count`` clips; fewer where the drives are too short.
    """
    random = np.random.default_rng(0)
    streams = list(clean_video(table).streams)
    random.shuffle(streams)
    places: list[ClipPlace] = []
    for _ in range(count * _TRIES):
        if len(places) == count or not streams:
            break
        stream = streams.pop(0)
        place = _draw(table, stream, units, random)
        if place is None:
            continue
        streams.append(stream)
        taken = {row for other in places for row in other.frames.tolist()}
        if taken.isdisjoint(place.frames.tolist()) and _is_quiet(table, place, calibration, settings):
            places.append(place)
    return places


def _draw(
    table: FeatureTable, stream: NDArray[np.int64], units: NDArray[np.int64], random: np.random.Generator
) -> ClipPlace | None:
    """A random clip of one camera of a drive; None where it has none."""
    stamps = table.stamps_ns[stream]
    ends = np.searchsorted(stamps, stamps + round(LENGTH_S * 1e9))
    gaps = np.concatenate([[0], np.cumsum(np.diff(stamps) > MAX_GAP_S * 1e9)])
    has_length = ends < len(stamps)
    possible = np.flatnonzero(has_length & (gaps[ends.clip(max=len(stamps) - 1)] == gaps))
    if not len(possible):
        return None
    first = int(random.choice(possible))
    begin = int(np.searchsorted(stamps, stamps[first] - round(_BEFORE_S * 1e9)))
    frames = stream[first : ends[first]]
    step = max(1, int(len(frames) / LENGTH_S / _MAX_RATE_HZ + 0.5))
    row = int(frames[0])
    return ClipPlace(table.drives[row], table.cameras[row], frames[::step], stream[begin:first], int(units[row]))


def _is_quiet(
    table: FeatureTable, place: ClipPlace, calibration: DetectorCalibration, settings: CalibrationSettings
) -> bool:
    """Whether the clean clip itself raises no alarm, and is clear at its begin."""
    threshold, scores = calibration.threshold, calibration.scores[calibration.held_out]
    alarm_filter = AlarmFilter(settings.alarm, place.camera, threshold.lasting_levels)
    states = [
        alarm_filter.update(int(table.stamps_ns[row]), float(scores[row]), threshold.value).state
        for row in (*place.before, *place.frames)
    ]
    return AlarmState.RAISED not in states


def read_clips(
    places: Sequence[ClipPlace],
    drives: Mapping[str, DriveSource],
    table: FeatureTable,
    scores: NDArray[np.float64],
    scorer_without: Callable[[int], Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float64]]],
) -> Iterator[CleanClip]:
    """Read the pictures of one clip after the other; one clip is in memory at a time.

    Args:
        places: of the clips.
        drives: by name; clips of other drives are left out.
        table: clean frames.
        scores: (N,) their held-out scores.
        scorer_without: makes a function that scores pictures by a detector without a block or drive.

    Raises:
        DataError: a drive cannot be read.
    """
    for place in places:
        if place.drive not in drives:
            continue
        wanted = set(table.stamps_ns[place.frames].tolist())
        first_ns = int(table.stamps_ns[table.drives.codes == table.drives.codes[place.frames[0]]].min())
        begin_s = (min(wanted) - first_ns) / 1e9
        frames = []
        for arrival in drives[place.drive].read_part(begin_s, begin_s + LENGTH_S):
            if arrival.camera == place.camera and arrival.stamp_ns in wanted and arrival.image is not None:
                frames.append(Frame(np.array(arrival.image), arrival.stamp_ns, arrival.camera))
                if len(frames) == len(wanted):
                    break
        if len(frames) == len(wanted):
            before = place.before
            yield CleanClip(
                place.drive,
                frames,
                table.stamps_ns[before].tolist(),
                scores[before].tolist(),
                scorer_without(place.unit),
            )
