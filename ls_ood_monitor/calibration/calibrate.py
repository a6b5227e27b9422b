"""Clean drives -> fitted detectors -> thresholds with provenance.

Neighbouring video frames are nearly equal, so blocks of time and whole drives are held out, never single frames: a
threshold is a quantile of scores each of which comes from a detector that has not seen its block, or its drive. Blocks
tell how the detector does later on the same drive, drives how it does on the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import AlarmSettings
from ..core.alarm import alarm_onsets
from ..core.detectors import Detector, Head, detector_spec
from ..core.intervals import EventRate, Share, counts_by_unit, event_rate, share_of, wilson_interval, worst_share
from ..core.threshold import (
    Threshold,
    alarm_threshold,
    blocks_per_fold,
    leave_one_block_out_scores,
    left_out,
    quantile_threshold,
    time_blocks,
)
from ..core.types import Frame
from ..errors import CalibrationError, ConfigError
from ..features import FrameFeatures
from ..frame_pass import FramePass
from ..recordings.drive_source import DriveSource

Progress = Callable[[int], None]

#: What may be held out: ``worst`` takes the larger of the two thresholds.
HOLD_OUT = ("block", "drive", "worst")

#: Frames further apart than this are no video: nothing is said about alarms an hour.
_MAX_GAP_S = 1.0
#: Held-out drives above this many times the target say that a detector does not transfer.
_FAR_TIMES = 2.0
#: A single drive is named when even the lower end of its interval is this many times the target.
_OUTLIER_TIMES = 5.0
_FEW_BLOCKS = 10


@dataclass(frozen=True)
class CalibrationSettings:
    """What is asked of a calibration.

    Attributes:
        target_rate: accepted share of clean frames above the threshold; not used with ``target_per_hour``.
        target_per_hour: accepted false alarms in an hour of driving.
        hold_out: ``block``, ``drive``, or ``worst`` of both; with one drive there are only blocks.
        block_s: length of a block, seconds; None holds out whole drives only.
        alarm: what makes an alarm.
        allow_small: accept data that cannot support the target, and note it.
    """

    target_rate: float = 0.01
    target_per_hour: float | None = None
    hold_out: str = "block"
    block_s: float | None = 10.0
    alarm: AlarmSettings = field(default_factory=AlarmSettings)
    allow_small: bool = False

    def __post_init__(self) -> None:
        if self.hold_out not in HOLD_OUT:
            raise ConfigError(f"hold-out is {self.hold_out!r}; it must be one of {', '.join(HOLD_OUT)}.")
        if not 0.0 < self.target_rate < 1.0:
            raise ConfigError(f"the target false-alarm rate is {self.target_rate}; it must lie within (0, 1).")
        if self.target_per_hour is not None and not 0.0 < self.target_per_hour < float("inf"):
            raise ConfigError(f"the target is {self.target_per_hour} false alarms an hour; it must be larger than 0.")
        if self.block_s is not None and not 0.0 < self.block_s < float("inf"):
            raise ConfigError(f"the block length is {self.block_s} s; it must be larger than 0.")


@dataclass(frozen=True)
class FeatureTable:
    """Detector inputs of N frames with what is needed to hold out blocks and drives.

    Attributes:
        features: N rows each, float32.
        stamps_ns: (N,) capture times.
        cameras: N camera names.
        drives: N drive names.
        assumed_rates_hz: for drives whose pictures carry no time, the frame rate that was assumed.
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
        """Each drive once, in order."""
        return tuple(dict.fromkeys(self.drives))


@dataclass(frozen=True)
class DetectorCalibration:
    """One detector, fitted, with its threshold and what supports it.

    Attributes:
        detector: fitted to all frames.
        threshold: the chosen one.
        candidates: threshold by what was held out, ``block`` or ``drive``.
        scores: (N,) held-out scores of all frames, by the same names.
        rates: share of frames above the chosen threshold, by the same names.
        alarms: alarms an hour at the chosen threshold, by the same names; empty where the frames are no video.
        worst_drive: name, frames above and frames of the drive with the largest share of held-out frames above.
        notes: what a person should know, in sentences.
    """

    detector: Detector
    threshold: Threshold
    candidates: Mapping[str, Threshold]
    scores: Mapping[str, NDArray[np.float64]]
    rates: Mapping[str, Share]
    alarms: Mapping[str, EventRate]
    worst_drive: tuple[str, int, int]
    notes: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """Plain values for provenance."""
        drive, above, frames = self.worst_drive
        return {
            "thresholds": {name: threshold.value for name, threshold in self.candidates.items()},
            "held_out": {name: share.to_dict() for name, share in self.rates.items()},
            "alarms": {name: rate.to_dict() for name, rate in self.alarms.items()},
            "worst_drive": {"name": drive, "above": above, "frames": frames},
            "notes": list(self.notes),
        }


def collect_features(
    frames: Iterable[Frame],
    frame_pass: FramePass,
    *,
    batch: int = 8,
    progress: Progress | None = None,
    drive: str = "drive",
    assumed_rate_hz: float | None = None,
) -> FeatureTable:
    """Run the frames of one drive through the network in batches; ``progress`` is told the number of frames done.

    Raises:
        CalibrationError: there is no frame, or the network gives non-finite features for one.
    """
    parts: list[dict[str, NDArray[np.float32]]] = []
    stamps: list[int] = []
    cameras: list[str] = []
    iterator = iter(frames)
    while chunk := list(islice(iterator, batch)):
        rows = frame_pass.features_of([frame.image for frame in chunk]).rows
        parts.append({name: values.astype(np.float32) for name, values in rows.items()})
        stamps += [frame.stamp_ns for frame in chunk]
        cameras += [frame.camera for frame in chunk]
        if progress is not None:
            progress(len(stamps))
    if not parts:
        raise CalibrationError(
            f"there are no frames to calibrate on in {drive}; check the recording, its topics and the time range."
        )
    features = FrameFeatures({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    for name, values in features.rows.items():
        bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if bad.any():
            index = int(bad.argmax())
            raise CalibrationError(
                f"{name} of frame {index} ({cameras[index]}, stamp {stamps[index]} ns) are not finite; "
                "the network's weights are damaged or its input is."
            )
    assumed = {} if assumed_rate_hz is None else {drive: assumed_rate_hz}
    return FeatureTable(features, np.asarray(stamps, np.int64), tuple(cameras), (drive,) * len(stamps), assumed)


def collect_drives(
    drives: Sequence[DriveSource], frame_pass: FramePass, *, batch: int = 8, progress: Progress | None = None
) -> FeatureTable:
    """Read all drives and run them through the network; ``progress`` is told the number of frames done.

    Raises:
        CalibrationError: as for ``collect_features``; a drive without frames is named.
    """
    if not drives:
        raise CalibrationError(
            "there are no drives to calibrate on; give a recording, a folder of pictures or a data set."
        )
    tables: list[FeatureTable] = []
    done = 0
    for drive in drives:
        told = None if progress is None else _offset(progress, done)
        table = collect_features(
            drive.read(),
            frame_pass,
            batch=batch,
            progress=told,
            drive=drive.name,
            assumed_rate_hz=drive.assumed_rate_hz,
        )
        done += len(table)
        tables.append(table)
    return concatenate_tables(tables)


def _offset(progress: Progress, before: int) -> Progress:
    return lambda done: progress(before + done)


def concatenate_tables(tables: Sequence[FeatureTable]) -> FeatureTable:
    """Stack the rows of several drives, in order. Raises ``ConfigError`` when they hold different features."""
    kinds = {tuple(sorted(table.features.rows)) for table in tables}
    if len(kinds) > 1:
        raise ConfigError(f"tables hold different features: {' and '.join(', '.join(kind) for kind in sorted(kinds))}.")
    return FeatureTable(
        FrameFeatures.concatenate([table.features for table in tables]),
        np.concatenate([table.stamps_ns for table in tables]),
        tuple(camera for table in tables for camera in table.cameras),
        tuple(drive for table in tables for drive in table.drives),
        {name: rate for table in tables for name, rate in table.assumed_rates_hz.items()},
    )


def blocks_of_time(table: FeatureTable, block_s: float | None) -> NDArray[np.int64]:
    """Block of each frame: all cameras of one stretch of ``block_s`` seconds of a drive; None makes each drive one block.

    The cameras of a car see the same street at the same time, so leaving out one camera alone would leak.
    """
    if block_s is None:
        return np.asarray(np.unique(table.drives, return_inverse=True)[1], np.int64)
    return time_blocks(table.stamps_ns, table.drives, block_s)


def calibrate(
    table: FeatureTable,
    settings: CalibrationSettings,
    *,
    names: Iterable[str],
    head: Head,
    progress: Callable[[str, int], Progress] | None = None,
) -> dict[str, DetectorCalibration]:
    """Fit each detector to all frames and set its threshold on held-out scores.

    Args:
        table: clean frames.
        settings: target, what is held out.
        names: detectors to fit.
        head: the network's last layer (``FramePass.head``).
        progress: called with (title, fits), gives what is told the number of fits done.

    Raises:
        CalibrationError: fewer than two blocks, or data that cannot support the target.
        ConfigError: an unknown detector, or one that learns from OoD frames, which a clean recording does not have.
    """
    units = _units(table, settings)
    streams, hours = video_streams(table)
    if settings.target_per_hour is not None and not streams:
        raise CalibrationError(
            "a target of false alarms an hour needs video: frames at most "
            f"{_MAX_GAP_S:g} s apart whose times are known (give --rate for pictures without time). "
            "Give a target rate a frame instead."
        )
    results = {}
    for name in names:
        spec = detector_spec(name)
        if spec.supervised:
            raise ConfigError(
                f"detector {name} learns from OoD frames, too; it cannot be calibrated on clean data alone."
            )
        rows = table.features.of(spec.feature)
        scores: dict[str, NDArray[np.float64]] = {}
        for unit, ids in units.items():
            same = next((done for done in scores if _same_partition(units[done], ids)), None)
            if same is not None:
                scores[unit] = scores[same]
                continue
            tell = None if progress is None else progress(f"{name}: leaving out each {unit}", len(np.unique(ids)))
            scores[unit] = leave_one_block_out_scores(partial(spec.make, head), rows, ids, tell)
        candidates = {
            unit: _threshold(scores[unit], unit, len(np.unique(units[unit])), settings, streams, hours)
            for unit in scores
        }
        threshold = _choose(candidates, settings.hold_out)
        rates = {unit: share_of(values > threshold.value, units[unit]) for unit, values in scores.items()}
        alarms = {unit: _alarm_rate(values, threshold, streams, hours, settings) for unit, values in scores.items()}
        farthest = scores.get("drive", scores["block"])
        results[name] = DetectorCalibration(
            spec.make(head).fit(rows),
            threshold,
            candidates,
            scores,
            rates,
            {unit: rate for unit, rate in alarms.items() if rate is not None},
            worst_share(farthest > threshold.value, table.drives),
            tuple(_notes(table, units, scores, candidates, threshold)),
        )
    return results


def false_alarms(fitted: Mapping[str, DetectorCalibration], table: FeatureTable) -> dict[str, dict[str, Any]]:
    """Clean frames of other drives above each detector's threshold, with the 95 % intervals by drive and by frame."""
    return {
        name: share_of(
            result.detector.score(table.features.of(detector_spec(name).feature)) > result.threshold.value,
            table.drives,
        ).to_dict()
        for name, result in fitted.items()
    }


def summarise(table: FeatureTable) -> dict[str, Any]:
    """Facts about the calibration data for a bundle's provenance."""
    names, counts = np.unique(table.cameras, return_counts=True)
    frames = {name: total for name, (_, total) in counts_by_unit(np.zeros(len(table), bool), table.drives).items()}
    return {
        "frames": len(table),
        "cameras": {str(n): int(c) for n, c in zip(names, counts, strict=True)},
        "drives": {name: frames[name] for name in table.drive_names},
        "assumed_rates_hz": dict(table.assumed_rates_hz),
    }


def provenance_of(
    table: FeatureTable, settings: CalibrationSettings, fitted: Mapping[str, DetectorCalibration]
) -> dict[str, Any]:
    """What a calibration was made from and what it came to, for the bundle's provenance."""
    _, hours = video_streams(table)
    target: dict[str, Any] = (
        {"rate": settings.target_rate} if settings.target_per_hour is None else {"per_hour": settings.target_per_hour}
    )
    return {
        **summarise(table),
        "blocks": len(np.unique(blocks_of_time(table, settings.block_s))),
        "block_s": settings.block_s,
        "hours": hours,
        "target": target,
        "hold_out": settings.hold_out,
        "alarm": asdict(settings.alarm),
        "allow_small": settings.allow_small,
        "detectors": {name: result.facts() for name, result in fitted.items()},
    }


def video_streams(table: FeatureTable) -> tuple[list[NDArray[np.int64]], float]:
    """Frames of each camera of each drive in order of time, and the hours of driving; only of drives that are video.

    A drive lasts as long as its longest camera: number of frames times their median distance, so that gaps do not count.
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
            if 0.0 < gap_s <= _MAX_GAP_S:
                streams.append(index)
                longest = max(longest, len(index) * gap_s / 3600.0)
        hours += longest
    return streams, hours


def _units(table: FeatureTable, settings: CalibrationSettings) -> dict[str, NDArray[np.int64]]:
    """What is held out: blocks, and drives where there are several."""
    blocks, drives = blocks_of_time(table, settings.block_s), blocks_of_time(table, None)
    several = len(table.drive_names) > 1
    if settings.hold_out == "drive" and not several:
        raise CalibrationError(
            "there is one drive; at least 2 are needed to hold one out. Add a drive, or hold out blocks."
        )
    return {"block": blocks, "drive": drives} if several else {"block": blocks}


def _same_partition(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    pairs = len(np.unique(np.stack([one, other]), axis=1).T)
    return pairs == len(np.unique(one)) == len(np.unique(other))


def _threshold(
    scores: NDArray[np.float64],
    unit: str,
    count: int,
    settings: CalibrationSettings,
    streams: Sequence[NDArray[np.int64]],
    hours: float,
) -> Threshold:
    if settings.block_s is None:
        unit = "drive"  # the blocks are whole drives
    origin = left_out(unit, blocks_per_fold(count))
    if settings.target_per_hour is None:
        return quantile_threshold(
            scores,
            settings.target_rate,
            origin=origin,
            blocks=count,
            unit=unit,
            allow_small=settings.allow_small,
        )
    return alarm_threshold(
        scores,
        streams,
        hours,
        settings.target_per_hour,
        settings=settings.alarm,
        origin=origin,
        blocks=count,
        allow_small=settings.allow_small,
    )


def _choose(candidates: Mapping[str, Threshold], hold_out: str) -> Threshold:
    if hold_out in candidates:
        return candidates[hold_out]
    return max(candidates.values(), key=lambda threshold: threshold.value)


def _alarm_rate(
    scores: NDArray[np.float64],
    threshold: Threshold,
    streams: Sequence[NDArray[np.int64]],
    hours: float,
    settings: CalibrationSettings,
) -> EventRate | None:
    if not streams:
        return None
    alarms = [alarm_onsets(scores[index], threshold.value, settings.alarm, threshold.clean_median) for index in streams]
    return event_rate(sum(map(len, alarms)), hours)


def _notes(
    table: FeatureTable,
    units: Mapping[str, NDArray[np.int64]],
    scores: Mapping[str, NDArray[np.float64]],
    candidates: Mapping[str, Threshold],
    threshold: Threshold,
) -> Iterator[str]:
    if threshold.warning:
        yield threshold.warning
    for unit, ids in units.items():
        count = len(np.unique(ids))
        if unit == "block" and count < _FEW_BLOCKS:
            yield f"only {count} blocks: the interval is rough; more drives make it honest."
    if "drive" not in scores:
        return
    # At the threshold of held-out blocks: what the next drive would meet if drives were not held out.
    above = scores["drive"] > candidates["block"].value
    accepted = candidates["block"].target_rate
    rate = float(above.mean())
    counts = counts_by_unit(above, table.drives)
    far = {
        name: (hits, frames)
        for name, (hits, frames) in counts.items()
        if hits and wilson_interval(hits, frames)[0] > _OUTLIER_TIMES * accepted
    }
    listing = ", ".join(f"{name} {hits / frames:.0%}" for name, (hits, frames) in islice(far.items(), 3))
    more = f" and {len(far) - 3} more" if len(far) > 3 else ""
    if rate > _FAR_TIMES * accepted and far:
        yield (
            f"does not transfer between your drives: at the threshold that blocks of the same drives give, "
            f"{rate:.1%} of the frames of a drive left out lie above it, {rate / accepted:.1f} times the target "
            f"({listing}{more})."
        )
    elif far:
        yield f"stands out when it is left out: {listing}{more} of its frames above; is it clean?"
