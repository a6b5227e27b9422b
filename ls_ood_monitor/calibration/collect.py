"""Computing the features of all frames of a few clean drives. Drives of hours are read by ``drive_passes``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ..core.coded_names import CodedNames
from ..core.types import Frame
from ..errors import CalibrationError
from ..features import FrameFeatures
from ..frame_pass import FramePass
from ..recordings.drive_source import DriveSource
from .feature_table import FeatureTable, concatenate_tables
from .network import BATCH, require_finite

Progress = Callable[[int], None]


def collect_features(
    frames: Iterable[Frame],
    frame_pass: FramePass,
    *,
    batch: int = BATCH,
    progress: Progress | None = None,
    drive: str = "drive",
    assumed_rate_hz: float | None = None,
) -> FeatureTable:
    """Compute the features of one drive, in batches.

    Args:
        frames: clean frames.
        frame_pass: network that computes the features.
        batch: frames per pass.
        progress: called with the number of frames done.
        drive: name of the drive.
        assumed_rate_hz: frame rate that the stamps assume; None if the times are known.

    Raises:
        CalibrationError: there are no frames, or the network gives non-finite features for one.
    """
    parts: list[dict[str, NDArray[np.float32]]] = []
    stamps: list[int] = []
    cameras: list[str] = []
    iterator = iter(frames)
    while chunk := list(islice(iterator, batch)):
        rows = frame_pass.features_of([frame.image for frame in chunk])
        require_finite(rows, chunk, len(stamps))
        parts.append({name: values.astype(np.float32) for name, values in rows.rows.items()})
        stamps += [frame.stamp_ns for frame in chunk]
        cameras += [frame.camera for frame in chunk]
        if progress is not None:
            progress(len(stamps))
    if not parts:
        raise CalibrationError(
            f"there are no frames to calibrate on in {drive}; check the recording, its topics and the time range."
        )
    features = FrameFeatures({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    assumed = {} if assumed_rate_hz is None else {drive: assumed_rate_hz}
    return FeatureTable(
        features, np.asarray(stamps, np.int64), CodedNames.of(cameras), CodedNames.of([drive] * len(stamps)), assumed
    )


def collect_drives(
    drives: Sequence[DriveSource], frame_pass: FramePass, *, batch: int = BATCH, progress: Progress | None = None
) -> FeatureTable:
    """Compute the features of several drives.

    Args:
        drives: clean drives.
        frame_pass: network that computes the features.
        batch: frames per pass.
        progress: called with the number of frames done, of all drives.

    Raises:
        CalibrationError: there are no drives, or as for ``collect_features``. The message names the drive.
    """
    if not drives:
        raise CalibrationError(
            "there are no drives to calibrate on; give a recording, a folder of pictures or a data set."
        )
    tables: list[FeatureTable] = []
    done = 0
    for drive in drives:
        drive_progress = None if progress is None else _add(done, progress)
        table = collect_features(
            drive.read(),
            frame_pass,
            batch=batch,
            progress=drive_progress,
            drive=drive.name,
            assumed_rate_hz=drive.assumed_rate_hz,
        )
        done += len(table)
        tables.append(table)
    return concatenate_tables(tables)


def _add(before: int, progress: Progress) -> Progress:
    return lambda done: progress(before + done)
