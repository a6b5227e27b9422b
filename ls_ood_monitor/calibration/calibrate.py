"""Fits detectors to clean frames and sets their thresholds on held-out scores.

Neighbouring video frames are nearly equal, so blocks of time and whole drives are held out, never single frames: each
score comes from a detector that has not seen the frame's block, or its drive. Held-out blocks show how a detector does
later on the same drive, held-out drives how it does on the next drive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.detectors import Detector, Head, detector_spec
from ..core.held_out import blocks_per_fold, fit_all
from ..core.intervals import EventRate, Share, event_rate, share_of, worst_share
from ..core.threshold import Threshold, left_out, quantile_threshold
from ..errors import CalibrationError, ConfigError
from .alarm_thresholds import (
    CleanVideo,
    alarm_thresholds,
    duration,
    false_alarm_bursts,
    hours_needed,
    require_hours,
    supported_target,
)
from .collect import Progress
from .feature_table import MAX_GAP_S, FeatureTable, blocks_of_time, clean_video
from .held_out_scores import ScoreRest, held_out_scores
from .notes import calibration_notes
from .settings import CalibrationSettings
from .summary_text import two_digits

_MAX_LISTED = 4


@dataclass(frozen=True)
class DetectorCalibration:
    """One fitted detector with its threshold and the figures that support it.

    Attributes:
        detector: detector fitted to all frames with features.
        held_out: what was held out for the chosen threshold, ``block`` or ``drive``.
        candidates: thresholds by what was held out.
        scores: (N,) held-out scores of all frames, by the same names.
        rates: share of frames above the chosen threshold, by the same names.
        alarms: bursts of alarms an hour at the chosen thresholds, by the same names; empty if the frames are not video.
        false_alarms: where each burst of them begins in the clean drives: drive, camera, seconds from the drive's start.
        worst_drive: name, frames above and frames of the drive with the largest share of held-out frames above.
        notes: what a person should know, as sentences.
    """

    detector: Detector
    held_out: str
    candidates: Mapping[str, Threshold]
    scores: Mapping[str, NDArray[np.float64]]
    rates: Mapping[str, Share]
    alarms: Mapping[str, EventRate]
    false_alarms: tuple[tuple[str, str, float], ...]
    worst_drive: tuple[str, int, int]
    notes: tuple[str, ...]

    @property
    def threshold(self) -> Threshold:
        """The chosen threshold."""
        return self.candidates[self.held_out]

    def facts(self) -> dict[str, Any]:
        """Plain values for a bundle's provenance."""
        drive, above, frames = self.worst_drive
        return {
            "thresholds": {name: threshold.value for name, threshold in self.candidates.items()},
            "held_out": {name: share.to_dict() for name, share in self.rates.items()},
            "alarms": {name: rate.to_dict() for name, rate in self.alarms.items()},
            "false_alarms": [
                {"drive": name, "camera": camera, "at_s": at_s} for name, camera, at_s in self.false_alarms
            ],
            "worst_drive": {"name": drive, "above": above, "frames": frames},
            "notes": list(self.notes),
        }


def calibrate(
    table: FeatureTable,
    settings: CalibrationSettings,
    *,
    names: Iterable[str],
    head: Head,
    progress: Callable[[str, int], Progress] | None = None,
    score_rest: ScoreRest | None = None,
) -> dict[str, DetectorCalibration]:
    """Fit each detector to the frames with features and set its threshold on held-out scores of all frames.

    Args:
        table: clean frames.
        settings: target, and what is held out.
        names: detectors to fit.
        head: the network's last layer (``FramePass.head``).
        progress: called with a title and the number of fits; returns a function to call with the number of fits done.
        score_rest: scores the frames without features (``held_out_scores``); not needed if all have features.

    Returns:
        Calibrations by the name of the detector.

    Raises:
        CalibrationError: fewer than two blocks, or data that cannot support the target.
        ConfigError: an unknown detector, or one that also learns from OoD frames.
    """
    settings = settle_defaults(table, settings)
    units = _units(table, settings)
    video = clean_video(table)
    if settings.target_per_hour is not None and not video.streams:
        raise CalibrationError(
            "a target of false alarms an hour needs video: frames at most "
            f"{MAX_GAP_S:g} s apart whose times are known (give --rate for pictures without time). "
            "Give a target rate a frame instead."
        )
    if settings.target_per_hour is not None and video.hours > 0.0:
        require_hours(video.hours, settings.target_per_hour, settings.allow_small)  # before hours of further reading
    chosen = tuple(names)
    for name in chosen:
        if detector_spec(name).supervised:
            raise ConfigError(
                f"detector {name} learns from OoD frames, too; it cannot be calibrated on clean data alone."
            )
    all_scores, fitted_to = held_out_scores(table, units, chosen, head, progress, score_rest)
    results = {}
    for name in chosen:
        spec, scores = detector_spec(name), all_scores[name]
        candidates = {
            unit: _threshold(scores[unit], unit, len(np.unique(units[unit])), settings, video) for unit in scores
        }
        held_out = _choose(candidates, settings.hold_out)
        if settings.hold_out == "worst":
            candidates = {**candidates, held_out: _larger_of_each_path(candidates, held_out)}
        threshold = candidates[held_out]
        alarms = {unit: _alarm_rate(values, threshold, video, settings) for unit, values in scores.items()}
        moments = _moments(table, false_alarm_bursts(scores[held_out], threshold, video, settings.alarm))
        results[name] = DetectorCalibration(
            fit_all(partial(spec.make, head), table.features.of(spec.feature)[fitted_to[name]]),
            held_out,
            candidates,
            scores,
            {unit: share_of(values > threshold.value, units[unit]) for unit, values in scores.items()},
            {unit: rate for unit, rate in alarms.items() if rate is not None},
            moments,
            worst_share(scores.get("drive", scores["block"]) > threshold.value, table.drives),
            (
                *calibration_notes(table.drives, units, scores, candidates, threshold, moments),
                *_rate_note(threshold, alarms),
                *_slow_cameras_note(table, video, threshold),
                *_outlier_note(table, fitted_to[name]),
            ),
        )
    return results


def settle_defaults(table: FeatureTable, settings: CalibrationSettings) -> CalibrationSettings:
    """The settings with the defaults that depend on the drives: the target, and what is held out.

    A promise an hour is about drives to come, so whole drives are held out where there are several.
    """
    target = settings.target_per_hour
    wanted = settings.per_hour_if_supported
    if target is None and wanted is not None and clean_video(table).hours >= hours_needed(wanted):
        target = wanted
    by_drive = target is not None and len(table.drive_names) > 1
    return replace(settings, target_per_hour=target, hold_out=settings.hold_out or ("drive" if by_drive else "block"))


def false_alarms(fitted: Mapping[str, DetectorCalibration], table: FeatureTable) -> dict[str, dict[str, Any]]:
    """Count the clean frames of further drives above each detector's threshold.

    Returns:
        Detector -> share with 95 % intervals by drive and by frame, as plain values.
    """
    scores = {
        name: result.detector.score(table.features.of(detector_spec(name).feature)) for name, result in fitted.items()
    }
    return shares_above(fitted, scores, table.drives)


def shares_above(
    fitted: Mapping[str, DetectorCalibration], scores: Mapping[str, NDArray[np.float64]], drives: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """``false_alarms`` of frames whose scores are known: detector -> (N,) scores, and N names of drives."""
    return {name: share_of(scores[name] > result.threshold.value, drives).to_dict() for name, result in fitted.items()}


def _outlier_note(table: FeatureTable, fitted_to: NDArray[np.bool_]) -> Iterator[str]:
    """Which frames the detector was not fitted to."""
    left_out = table.sampled[~fitted_to]
    if len(left_out):
        drives = Counter(table.drives[frame] for frame in left_out.tolist())
        listing = ", ".join(f"{name} ({count})" for name, count in drives.most_common(_MAX_LISTED))
        yield (
            f"not fitted to {len(left_out)} of {len(fitted_to)} frames, which no other block resembles: {listing}. "
            "They count in the thresholds; cut them out if they are not clean."
        )


def _rate_note(threshold: Threshold, alarms: Mapping[str, EventRate | None]) -> Iterator[str]:
    """What a target of frames means in time."""
    rate = alarms["block"]
    if threshold.target_per_hour is None and rate is not None:
        figures = [two_digits(value) for value in (rate.per_hour, rate.low, rate.high, supported_target(rate.hours))]
        yield (
            f"a target of {threshold.target_rate:.2g} of the frames means {figures[0]} false alarms an hour on these drives "
            f"(95 % interval {figures[1]} to {figures[2]}), and no lasting alarm. A target an hour (--target-per-hour) sets "
            f"both; {duration(rate.hours)} of driving support {figures[3]} an hour at best."
        )


def _slow_cameras_note(table: FeatureTable, video: CleanVideo, threshold: Threshold) -> Iterator[str]:
    """Which cameras a target an hour says nothing about."""
    if threshold.target_per_hour is None:
        return
    counted = np.zeros(len(table), bool)
    for stream in video.streams:
        counted[stream] = True
    slow = sorted({table.cameras[frame] for frame in np.flatnonzero(~counted).tolist()})
    if slow:
        yield (
            f"the target an hour does not count {', '.join(slow)}, whose frames are more than {MAX_GAP_S:g} s apart or have no "
            "known time in some drive."
        )


def _moments(table: FeatureTable, frames: NDArray[np.int64]) -> tuple[tuple[str, str, float], ...]:
    """Drive, camera and seconds from the drive's start of each of these frames."""
    stamps, drives = table.stamps_ns, table.drives
    begins = {drive: stamps[drives.codes == drive].min() for drive in np.unique(drives.codes[frames])}
    return tuple(
        (drives[frame], table.cameras[frame], round((stamps[frame] - begins[drives.codes[frame]]) / 1e9, 1))
        for frame in frames.tolist()
    )


def _units(table: FeatureTable, settings: CalibrationSettings) -> dict[str, NDArray[np.int64]]:
    """Unit of each frame by what is held out: ``block``, and ``drive`` if there are several drives."""
    blocks, drives = blocks_of_time(table, settings.block_s), blocks_of_time(table, None)
    several = len(table.drive_names) > 1
    if settings.hold_out == "drive" and not several:
        raise CalibrationError(
            "there is one drive; at least 2 are needed to hold one out. Add a drive, or hold out blocks."
        )
    return {"block": blocks, "drive": drives} if several else {"block": blocks}


def _threshold(
    scores: NDArray[np.float64],
    unit: str,
    count: int,
    settings: CalibrationSettings,
    video: CleanVideo,
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
    return alarm_thresholds(
        scores,
        video,
        settings.target_per_hour,
        settings=settings.alarm,
        origin=origin,
        blocks=count,
        allow_small=settings.allow_small,
    )


def _choose(candidates: Mapping[str, Threshold], hold_out: str | None) -> str:
    """Name of the candidate: the one that is asked for, or the larger one."""
    if hold_out is not None and hold_out in candidates:
        return hold_out
    return max(candidates, key=lambda name: candidates[name].value)


def _larger_of_each_path(candidates: Mapping[str, Threshold], chosen: str) -> Threshold:
    """The chosen threshold with the largest lasting threshold of all: one way of holding out may be larger in each path."""
    lasting = [own.lasting_value for own in candidates.values() if np.isfinite(own.lasting_value)]
    return replace(candidates[chosen], lasting_value=max(lasting, default=np.nan))


def _alarm_rate(
    scores: NDArray[np.float64], threshold: Threshold, video: CleanVideo, settings: CalibrationSettings
) -> EventRate | None:
    if not video.streams:
        return None
    return event_rate(len(false_alarm_bursts(scores, threshold, video, settings.alarm)), video.hours)
