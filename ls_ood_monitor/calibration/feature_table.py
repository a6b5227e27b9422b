"""Clean frames in a table, and how its frames are grouped: in drives, blocks of time, and videos.

The table has the time, camera and drive of every frame, and the features of all frames or of a sample of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.coded_names import CodedNames
from ..core.held_out import time_blocks
from ..errors import ConfigError
from ..features import FrameFeatures
from .alarm_thresholds import CleanVideo

#: Frames further apart than this are no video, and give no rate of alarms per hour.
MAX_GAP_S = 1.0
#: Held-out scores: detector -> what was held out, ``block`` or ``drive`` -> (N,) scores.
HeldOutScores = Mapping[str, Mapping[str, NDArray[np.float64]]]


@dataclass(frozen=True)
class FeatureTable:
    """N clean frames with the time, camera and drive of each, and the features of S of them.

    Attributes:
        features: features by name, float32 with S rows each.
        stamps_ns: (N,) capture times.
        cameras: N camera names; any sequence of strings is taken and coded.
        drives: N drive names, likewise; the frames of a drive follow each other.
        assumed_rates_hz: drive -> assumed frame rate, for drives whose pictures carry no time.
        sample: (S,) indices of the frames whose features ``features`` holds, ascending; None = all frames.
        scores: held-out scores of frames without features, from the calibration that had their features; NaN where unknown.
    """

    features: FrameFeatures
    stamps_ns: NDArray[np.int64]
    cameras: CodedNames
    drives: CodedNames
    assumed_rates_hz: Mapping[str, float] = field(default_factory=dict)
    sample: NDArray[np.int64] | None = None
    scores: HeldOutScores = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cameras", CodedNames.of(self.cameras))
        object.__setattr__(self, "drives", CodedNames.of(self.drives))

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @property
    def drive_names(self) -> tuple[str, ...]:
        """Names of the drives, each once, in order."""
        return tuple(self.drives.counts())

    @property
    def sampled(self) -> NDArray[np.int64]:
        """(S,) indices of the frames with features, ascending."""
        return np.arange(len(self)) if self.sample is None else self.sample

    @property
    def is_sampled(self) -> NDArray[np.bool_]:
        """(N,) whether the features of each frame are here."""
        flags = np.zeros(len(self), bool)
        flags[self.sampled] = True
        return flags


def concatenate_tables(tables: Sequence[FeatureTable]) -> FeatureTable:
    """Stack the rows of several tables, in order. Raises ``ConfigError`` if they hold different features."""
    names = {tuple(sorted(table.features.rows)) for table in tables}
    if len(names) > 1:
        raise ConfigError(f"tables hold different features: {' and '.join(map(', '.join, sorted(names)))}.")
    starts = np.cumsum([0, *map(len, tables)])
    return FeatureTable(
        FrameFeatures.concatenate([table.features for table in tables]),
        np.concatenate([table.stamps_ns for table in tables]),
        CodedNames.concatenate([table.cameras for table in tables]),
        CodedNames.concatenate([table.drives for table in tables]),
        {name: rate for table in tables for name, rate in table.assumed_rates_hz.items()},
        np.concatenate([start + table.sampled for start, table in zip(starts[:-1], tables, strict=True)]),
        _concatenate_scores(tables),
    )


def _concatenate_scores(tables: Sequence[FeatureTable]) -> HeldOutScores:
    known = {(name, unit) for table in tables for name, units in table.scores.items() for unit in units}
    joined: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name, unit in sorted(known):
        parts = [table.scores.get(name, {}).get(unit, np.full(len(table), np.nan)) for table in tables]
        joined.setdefault(name, {})[unit] = np.concatenate(parts)
    return joined


def blocks_of_time(table: FeatureTable, block_s: float | None) -> NDArray[np.int64]:
    """Number the block of each frame, (N,). A block has all cameras of ``block_s`` seconds of a drive; None = whole drives.

    The cameras of a car see the same street at the same time: to hold out one camera alone would leak.
    """
    if block_s is None:
        return table.drives.grouped()[1]
    return time_blocks(table.stamps_ns, table.drives, block_s)


def clean_video(table: FeatureTable) -> CleanVideo:
    """Find the videos in a table: frames at most ``MAX_GAP_S`` apart, with known times.

    A drive lasts as long as its longest camera: the number of frames times their median distance, so gaps do not count.
    """
    streams: list[NDArray[np.int64]] = []
    longest: dict[str, float] = {}
    for drive, index in _by_drive_and_camera(table):
        if drive in table.assumed_rates_hz:
            continue
        gap_s = float(np.median(np.diff(table.stamps_ns[index]))) / 1e9 if len(index) > 1 else np.inf
        if 0.0 < gap_s <= MAX_GAP_S:
            streams.append(index)
            longest[drive] = max(longest.get(drive, 0.0), len(index) * gap_s / 3600.0)
    return CleanVideo(streams, table.stamps_ns, blocks_of_time(table, None), sum(longest.values(), 0.0))


def _by_drive_and_camera(table: FeatureTable) -> list[tuple[str, NDArray[np.int64]]]:
    """Drive, and the indices in order of time, for each camera (by name) of each drive (in order)."""
    drives = table.drives.appearance()
    cameras = table.cameras.grouped()[1]
    order = np.lexsort((table.stamps_ns, cameras, drives))
    changes = (np.diff(drives[order]) != 0) | (np.diff(cameras[order]) != 0)
    parts = np.split(order, np.flatnonzero(changes) + 1) if len(order) else []
    return [(table.drives[int(part[0])], part) for part in parts]


def nearest_sampled(table: FeatureTable, wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each wanted frame the frame with features that is nearest in time, of its drive and camera if there is one.

    Args:
        table: clean frames.
        wanted: (N,) frames to look for.

    Returns:
        (W,) indices, in the order of the wanted frames.
    """
    nearest = np.full(len(table), -1, np.int64)
    has_features = table.is_sampled
    for _, index in _by_drive_and_camera(table):
        _take_nearest(nearest, table.stamps_ns, index[wanted[index]], index[has_features[index]])
    left = np.flatnonzero(wanted & (nearest < 0))
    _take_nearest(nearest, table.stamps_ns, left, table.sampled)
    return nearest[wanted]


def _take_nearest(
    nearest: NDArray[np.int64], stamps: NDArray[np.int64], wanted: NDArray[np.int64], known: NDArray[np.int64]
) -> None:
    if not len(wanted) or not len(known):
        return
    known = known[np.argsort(stamps[known], kind="stable")]
    after = np.searchsorted(stamps[known], stamps[wanted]).clip(1, max(1, len(known) - 1))
    before = after - 1
    after = after.clip(max=len(known) - 1)
    is_before = np.abs(stamps[known[before]] - stamps[wanted]) <= np.abs(stamps[known[after]] - stamps[wanted])
    nearest[wanted] = known[np.where(is_before, before, after)]


def summarise(table: FeatureTable) -> dict[str, Any]:
    """Describe the clean frames for a bundle's provenance: numbers of frames by camera and drive, assumed frame rates."""
    return {
        "frames": len(table),
        "cameras": dict(sorted(table.cameras.counts().items())),
        "drives": table.drives.counts(),
        "assumed_rates_hz": dict(table.assumed_rates_hz),
    }
