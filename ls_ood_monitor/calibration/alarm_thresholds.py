"""Clean scores over time -> the thresholds of both alarm paths for one target of false alarms an hour.

The target allows a number of bursts in the hours of the clean drives (95 % confidence). The sudden path gets half of them, and
the lasting path the lowest threshold at which both together keep the target. The split was chosen by what is detected in time
on two days of one vehicle (docs/safety.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..config import AlarmSettings
from ..core.alarm import LastingMedian
from ..core.bursts import BURST_GAP_S, BurstCount, burst_begins
from ..core.intervals import poisson_upper_bound
from ..core.threshold import Threshold
from ..errors import CalibrationError
from .summary_text import two_digits

Values = NDArray[np.float64]
#: One of so many allowed bursts is the sudden path's own.
_SUDDEN_SHARE = 2


@dataclass(frozen=True)
class CleanVideo:
    """When the clean frames were taken.

    Attributes:
        streams: indices of the frames of each camera of each drive, in order of time.
        stamps_ns: (N,) capture times.
        drives: (N,) number of each frame's drive.
        hours: driving time; the cameras of a drive share it.
    """

    streams: Sequence[NDArray[np.int64]]
    stamps_ns: NDArray[np.int64]
    drives: NDArray[np.int64]
    hours: float

    def seconds(self) -> Values:
        """(N,) one time axis for all drives, on which alarms of two drives are never one burst."""
        seconds, offset = np.zeros(len(self.stamps_ns)), 0.0
        for drive in np.unique(self.drives):
            own = self.drives == drive
            stamps = self.stamps_ns[own]
            seconds[own] = offset + (stamps - stamps.min()) / 1e9
            offset = seconds[own].max() + 2.0 * BURST_GAP_S
        return seconds


def sudden_evidence(scores: Values, video: CleanVideo, settings: AlarmSettings) -> Values:
    """(N,): at a threshold below it the sudden path raises the alarm with this frame; -inf before enough frames."""
    trigger = settings.trigger_consecutive_frames
    evidence = np.full(len(scores), -np.inf)
    for stream in video.streams:
        if len(stream) >= trigger:
            evidence[stream[trigger - 1 :]] = sliding_window_view(scores[stream], trigger).min(axis=1)
    return evidence


def lasting_medians(scores: Values, video: CleanVideo, settings: AlarmSettings, clean_median: float) -> Values:
    """(N,): the lasting path's median after each frame; -inf outside the streams."""
    medians = np.full(len(scores), -np.inf)
    for stream in video.streams:
        median = LastingMedian(clean_median, settings.lasting_window_s)
        stamps, values = video.stamps_ns[stream].tolist(), scores[stream].tolist()
        medians[stream] = [median.add(stamp, value) for stamp, value in zip(stamps, values, strict=True)]
    return medians


def false_alarm_bursts(
    scores: Values, threshold: Threshold, video: CleanVideo, settings: AlarmSettings
) -> NDArray[np.int64]:
    """Frames (K,) with which the bursts of false alarms begin that the clean scores raise by both paths."""
    raised = sudden_evidence(scores, video, settings) > threshold.value
    if np.isfinite(threshold.lasting_value):
        raised |= lasting_medians(scores, video, settings, threshold.clean_median) > threshold.lasting_value
    frames = np.flatnonzero(raised)
    times = video.seconds()[frames]
    return frames[np.argsort(times, kind="stable")][burst_begins(np.sort(times))]


def allowed_bursts(target_per_hour: float, hours: float) -> int:
    """Largest number of bursts in so many hours that keeps the target with 95 % confidence; 0 if none does."""
    allowed = 0
    while poisson_upper_bound(allowed + 1, hours) <= target_per_hour:
        allowed += 1
    return allowed


def supported_target(hours: float) -> float:
    """Smallest target that so many hours of clean driving support, false alarms an hour (rule of three)."""
    return poisson_upper_bound(0, hours)


def hours_needed(target_per_hour: float) -> float:
    """Hours of clean driving that support a target at least."""
    return poisson_upper_bound(0, 1.0) / target_per_hour


def alarm_thresholds(
    scores: Values,
    video: CleanVideo,
    target_per_hour: float,
    *,
    settings: AlarmSettings,
    origin: str,
    blocks: int = 1,
    allow_small: bool = False,
) -> Threshold:
    """Lowest thresholds of both paths that, with all higher ones, keep the target (95 % confidence).

    A burst of alarms is one false alarm (``core/bursts.py``), whichever cameras and paths raise it.

    Args:
        scores: (N,) held-out scores of clean frames; larger = more OoD.
        video: when they were taken.
        target_per_hour: accepted bursts an hour of driving.
        settings: of the alarm.
        origin: how the scores were made, stored in ``Threshold.method``; see ``core.threshold.left_out``.
        blocks: number of blocks or drives that the scores come from.
        allow_small: accept too short a time, with a warning in the threshold.

    Raises:
        CalibrationError: target not above 0, no camera with enough frames for an alarm, non-finite scores, or less than
            3 / target hours (rule of three: T hours without an alarm support no less than 3 / T alarms an hour).
    """
    if not (np.isfinite(target_per_hour) and target_per_hour > 0.0):
        raise CalibrationError(f"the target is {target_per_hour} false alarms an hour; it must be larger than 0.")
    if not np.isfinite(scores).all():
        raise CalibrationError("some clean scores are not finite; a threshold needs finite ones.")
    evidence = sudden_evidence(scores, video, settings)
    if not np.isfinite(evidence).any() or not video.hours > 0.0:
        raise CalibrationError(
            f"no camera has {settings.trigger_consecutive_frames} frames in a row, which an alarm takes; "
            "record longer, or give a target rate a frame."
        )
    warning = require_hours(video.hours, target_per_hour, allow_small)
    allowed = allowed_bursts(target_per_hour, video.hours)
    seconds, median = video.seconds(), float(np.median(scores))
    sudden = lowest_level(evidence, seconds, BurstCount(), allowed // _SUDDEN_SHARE, median)
    used = BurstCount()
    for time_s in seconds[evidence > sudden].tolist():
        used.add(time_s)
    medians = lasting_medians(scores, video, settings, median)
    lasting = lowest_level(medians, seconds, used, allowed, median)
    above = int((scores > sudden).sum())
    method = (
        f"alarms ({settings.trigger_consecutive_frames} frames in a row, or the median over "
        f"{settings.lasting_window_s:g} s) over {origin} scores, 95 % bound within the target"
    )
    return Threshold(
        sudden,
        above / (len(scores) + 1),
        len(scores),
        blocks,
        len(scores) - above,
        method,
        warning,
        target_per_hour,
        median,
        lasting,
    )


def lowest_level(evidence: Values, seconds: Values, used: BurstCount, allowed: int, floor: float) -> float:
    """Lowest level of evidence at which it and every higher one raise no more bursts than allowed, beside those used.

    Never at or below ``floor``, the median clean score: more than half of the clean frames lie above it.
    """
    order = np.argsort(-evidence, kind="stable")
    order = order[np.isfinite(evidence[order])]
    lowest = float(evidence[order[0]])
    for value, frames in groupby(order.tolist(), key=lambda frame: float(evidence[frame])):
        if value <= floor:
            break
        lowest = value
        for frame in frames:
            used.add(float(seconds[frame]))
        if used.bursts > allowed:
            break
    return lowest


def require_hours(hours: float, target_per_hour: float, allow_small: bool = False) -> str:
    """Refuse hours that are too few for a target.

    Returns:
        With ``allow_small`` the warning instead; empty if there are enough hours.

    Raises:
        CalibrationError: too few hours.
    """
    warning = shortage_of_time(hours, target_per_hour)
    if warning and not allow_small:
        raise CalibrationError(f"{warning} Record more, or raise the target.")
    return warning


def shortage_of_time(hours: float, target_per_hour: float) -> str:
    """Warning that so many hours are too few for a target; empty if they are enough."""
    if supported_target(hours) <= target_per_hour:
        return ""
    return (
        f"{duration(hours)} of clean driving cannot support a target of {target_per_hour:g} false alarms an hour: "
        f"without any alarm in T hours one can claim no less than 3 / T an hour (rule of three), here "
        f"{two_digits(supported_target(hours))}; at least {duration(hours_needed(target_per_hour))} are needed."
    )


def duration(hours: float) -> str:
    """A duration for people: hours, minutes or seconds."""
    if hours >= 1.0:
        return f"{hours:.1f} h"
    return f"{hours * 60.0:.1f} min" if hours >= 1.0 / 60.0 else f"{hours * 3600.0:.1f} s"
