"""Clean frames -> fitted detectors -> thresholds with provenance.

Neighbouring video frames are nearly equal, so blocks of time (or whole drives) are held out, never single frames:
the threshold is a quantile of scores each of which comes from a detector that has not seen its block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ..core.detectors import Detector, Head, detector_spec
from ..core.threshold import Threshold, leave_one_block_out_scores, quantile_threshold, time_blocks
from ..core.types import Frame
from ..errors import CalibrationError
from ..features import FrameFeatures
from ..monitor import FramePass

Progress = Callable[[int], None]


@dataclass(frozen=True)
class FeatureTable:
    """Detector inputs of N frames with what is needed to hold out blocks.

    Attributes:
        features: N rows.
        stamps_ns: (N,) capture times.
        cameras: N camera names.
    """

    features: FrameFeatures
    stamps_ns: NDArray[np.int64]
    cameras: tuple[str, ...]


def collect_features(
    frames: Iterable[Frame], frame_pass: FramePass, *, batch: int = 8, progress: Progress | None = None
) -> FeatureTable:
    """Run frames through the network in batches; ``progress`` is told the number of frames done.

    Raises:
        CalibrationError: there is no frame, or the network gives non-finite features for one.
    """
    parts: list[FrameFeatures] = []
    stamps: list[int] = []
    cameras: list[str] = []
    iterator = iter(frames)
    while chunk := list(islice(iterator, batch)):
        parts.append(frame_pass.features_of([frame.image for frame in chunk]))
        stamps += [frame.stamp_ns for frame in chunk]
        cameras += [frame.camera for frame in chunk]
        if progress is not None:
            progress(len(stamps))
    if not parts:
        raise CalibrationError(
            "there are no frames to calibrate on; check the recording, its topics and the time range."
        )
    features = FrameFeatures.concatenate(parts)
    for name, rows in features.rows.items():
        bad = ~np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
        if bad.any():
            index = int(bad.argmax())
            raise CalibrationError(
                f"{name} of frame {index} ({cameras[index]}, stamp {stamps[index]} ns) are not finite; "
                "the network's weights are damaged or its input is."
            )
    return FeatureTable(features, np.asarray(stamps, dtype=np.int64), tuple(cameras))


def concatenate_tables(tables: Sequence[FeatureTable]) -> FeatureTable:
    """Stack the rows of several recordings, in order."""
    return FeatureTable(
        FrameFeatures.concatenate([table.features for table in tables]),
        np.concatenate([table.stamps_ns for table in tables]),
        tuple(camera for table in tables for camera in table.cameras),
    )


def fit_detectors(
    table: FeatureTable,
    blocks: NDArray[np.int64],
    *,
    names: Iterable[str],
    head: Head,
    target_rate: float,
    allow_small: bool = False,
) -> tuple[dict[str, Detector], dict[str, Threshold]]:
    """Fit each detector on all frames and set its threshold on held-out scores.

    Args:
        table: clean frames.
        blocks: (N,) block of each frame; a block is left out as a whole.
        names: detectors to fit.
        head: the network's last layer (``FramePass.head``).
        target_rate: accepted share of clean frames above the threshold, within (0, 1).
        allow_small: accept too few frames for the target and note it in the threshold's provenance.

    Raises:
        CalibrationError: fewer than two blocks, too few frames for the target, or a supervised detector: clean frames
            alone cannot fit it.
    """
    detectors: dict[str, Detector] = {}
    thresholds: dict[str, Threshold] = {}
    for name in names:
        spec = detector_spec(name)
        if spec.supervised:
            raise CalibrationError(
                f"{name} is supervised: it is fitted to OoD frames, too, and calibration has clean ones only; "
                "choose another detector."
            )
        rows = table.features.of(spec.feature)
        held_out = leave_one_block_out_scores(partial(spec.make, head), rows, blocks)
        thresholds[name] = quantile_threshold(
            held_out, target_rate, blocks=len(np.unique(blocks)), allow_small=allow_small
        )
        detectors[name] = spec.make(head).fit(rows)
    return detectors, thresholds


def blocks_of_time(table: FeatureTable, block_s: float) -> NDArray[np.int64]:
    """Block of each frame: all cameras of one stretch of ``block_s`` seconds are held out together.

    The cameras of a car see the same street at the same time, so leaving out one camera alone would leak.
    """
    return time_blocks(table.stamps_ns, ("",) * len(table.cameras), block_s)


def summarise(table: FeatureTable) -> Mapping[str, object]:
    """Facts about the calibration data for a bundle's provenance."""
    names, counts = np.unique(table.cameras, return_counts=True)
    return {"frames": len(table.cameras), "cameras": {str(n): int(c) for n, c in zip(names, counts, strict=True)}}
