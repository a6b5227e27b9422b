"""Features of clean frames in a table, and how its frames are grouped: in drives, blocks of time, and videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.threshold import time_blocks
from ..errors import ConfigError
from ..features import FrameFeatures
from .alarm_thresholds import CleanVideo

#: Frames further apart than this are no video, and give no rate of alarms per hour.
MAX_GAP_S = 1.0


@dataclass(frozen=True)
class FeatureTable:
    """Features of N clean frames, with the time, camera and drive of each.

    Attributes:
        features: features by name, float32 with N rows each.
        stamps_ns: (N,) capture times.
        cameras: N camera names.
        drives: N drive names.
        assumed_rates_hz: drive -> assumed frame rate, for drives whose pictures carry no time.
    """

    features: FrameFeatures
    stamps_ns: NDArray[np.int64]
    cameras: tuple[str, ...]
    drives: tuple[str, ...]
    assumed_rates_hz: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @property
    def drive_names(self) -> tuple[str, ...]:
        """Names of the drives, each once, in order."""
        return tuple(dict.fromkeys(self.drives))


def concatenate_tables(tables: Sequence[FeatureTable]) -> FeatureTable:
    """Stack the rows of several tables, in order. Raises ``ConfigError`` if they hold different features."""
    names = {tuple(sorted(table.features.rows)) for table in tables}
    if len(names) > 1:
        raise ConfigError(f"tables hold different features: {' and '.join(map(', '.join, sorted(names)))}.")
    return FeatureTable(
        FrameFeatures.concatenate([table.features for table in tables]),
        np.concatenate([table.stamps_ns for table in tables]),
        tuple(camera for table in tables for camera in table.cameras),
        tuple(drive for table in tables for drive in table.drives),
        {name: rate for table in tables for name, rate in table.assumed_rates_hz.items()},
    )


def blocks_of_time(table: FeatureTable, block_s: float | None) -> NDArray[np.int64]:
    """Number the block of each frame, (N,). A block has all cameras of ``block_s`` seconds of a drive; None = whole drives.

    The cameras of a car see the same street at the same time: to hold out one camera alone would leak.
    """
    if block_s is None:
        return np.asarray(np.unique(table.drives, return_inverse=True)[1], np.int64)
    return time_blocks(table.stamps_ns, table.drives, block_s)


def clean_video(table: FeatureTable) -> CleanVideo:
    """Find the videos in a table: frames at most ``MAX_GAP_S`` apart, with known times.

    A drive lasts as long as its longest camera: the number of frames times their median distance, so gaps do not count.
    """
    streams: list[NDArray[np.int64]] = []
    hours = 0.0
    drives, cameras = np.asarray(table.drives), np.asarray(table.cameras)
    for drive in table.drive_names:
        if drive in table.assumed_rates_hz:
            continue
        longest = 0.0
        for camera in np.unique(cameras[drives == drive]):
            index = np.flatnonzero((drives == drive) & (cameras == camera))
            index = index[np.argsort(table.stamps_ns[index], kind="stable")]
            gap_s = float(np.median(np.diff(table.stamps_ns[index]))) / 1e9 if len(index) > 1 else np.inf
            if 0.0 < gap_s <= MAX_GAP_S:
                streams.append(index)
                longest = max(longest, len(index) * gap_s / 3600.0)
        hours += longest
    return CleanVideo(streams, table.stamps_ns, blocks_of_time(table, None), hours)


def summarise(table: FeatureTable) -> dict[str, Any]:
    """Describe the clean frames for a bundle's provenance: numbers of frames by camera and drive, assumed frame rates."""
    return {
        "frames": len(table),
        "cameras": dict(sorted(Counter(table.cameras).items())),
        "drives": dict(Counter(table.drives)),
        "assumed_rates_hz": dict(table.assumed_rates_hz),
    }
