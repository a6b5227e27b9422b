"""Thresholds of both alarm paths for a target of false alarms an hour."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from ls_ood_monitor.calibration.alarm_thresholds import (
    CleanVideo,
    alarm_thresholds,
    false_alarm_bursts,
    hours_needed,
    supported_target,
)
from ls_ood_monitor.config import AlarmSettings
from ls_ood_monitor.core.alarm import AlarmFilter
from ls_ood_monitor.core.bursts import BURST_GAP_S, BurstCount, count_bursts
from ls_ood_monitor.core.threshold import Threshold
from ls_ood_monitor.core.types import AlarmState
from ls_ood_monitor.errors import CalibrationError

ORIGIN = "leave-one-block-out"
SETTINGS = AlarmSettings(3, 5, lasting_window_s=5.0)


def video(lengths, hours: float, rate_hz: float = 10.0, cameras: int = 1) -> CleanVideo:
    """Drives of so many frames for each camera."""
    streams, stamps, drives, first = [], [], [], 0
    for drive, length in enumerate(lengths):
        for _ in range(cameras):
            streams.append(np.arange(first, first + length))
            stamps.append(10**9 + np.round(np.arange(length) / rate_hz * 1e9).astype(np.int64))
            drives.append(np.full(length, drive))
            first += length
    return CleanVideo(streams, np.concatenate(stamps), np.concatenate(drives), hours)


def clean_scores(clean: CleanVideo, seed: int) -> np.ndarray:
    """Slowly varying scores with short bursts, so that alarms last, split and follow each other."""
    random = np.random.default_rng(seed)
    count = len(clean.stamps_ns)
    scores = np.convolve(random.normal(size=count + 3), np.ones(4) / 4, mode="valid")
    return scores + 3.0 * np.convolve(random.random(count) < 0.005, np.ones(6), mode="same")


def filter_bursts(scores, clean: CleanVideo, threshold: Threshold) -> int:
    """Bursts of onsets of the vehicle's own filter."""
    seconds, onsets = clean.seconds(), []
    for stream in clean.streams:
        alarm_filter, before = AlarmFilter(SETTINGS, "front", threshold.lasting_levels), None
        for frame in stream:
            alarm = alarm_filter.update(int(clean.stamps_ns[frame]), float(scores[frame]), threshold.value)
            if alarm.state is AlarmState.RAISED is not before:
                onsets.append(seconds[frame])
            before = alarm.state
    return count_bursts(onsets)


@pytest.mark.parametrize("seed", range(4))
def test_both_thresholds_keep_the_target_under_the_vehicles_own_filter(seed):
    """12 hours, 95 % bound: at most 7 bursts keep a target of 1.1 an hour (the bound of 7 is 13.15 / 12)."""
    clean = video([3000, 2500], 12.0, cameras=2)
    scores = clean_scores(clean, seed)
    found = alarm_thresholds(scores, clean, 1.1, settings=SETTINGS, origin=ORIGIN, blocks=9)
    assert len(false_alarm_bursts(scores, found, clean, SETTINGS)) <= 7
    assert filter_bursts(scores, clean, found) <= 7
    assert (found.n, found.blocks, found.target_per_hour) == (len(scores), 9, 1.1)
    assert found.target_rate == pytest.approx((scores > found.value).mean(), abs=1e-3)
    assert found.clean_median < found.lasting_value < found.value


@pytest.mark.parametrize("seed", range(4))
def test_the_next_lower_threshold_breaks_the_target(seed):
    """Brute force, 7 bursts allowed: 3 of the sudden path alone, 7 of both; the next lower thresholds exceed that."""
    clean = video([2000], 12.0)
    scores = clean_scores(clean, seed)
    found = alarm_thresholds(scores, clean, 1.1, settings=SETTINGS, origin=ORIGIN)
    windows = np.array([min(scores[i : i + 3]) for i in range(len(scores) - 2)])
    padded = np.concatenate([np.full(50, np.median(scores)), scores[1:]])
    medians = np.quantile(sliding_window_view(padded, 50), 0.5, axis=1, method="inverted_cdf")

    def bursts(sudden: float, lasting: float = np.inf) -> int:
        raised = np.concatenate([[False, False], windows > sudden]) | (medians > lasting)
        return count_bursts(clean.seconds()[raised])

    assert all(bursts(value) <= 3 for value in np.unique(windows[windows >= found.value]))
    assert bursts(windows[windows < found.value].max()) > 3
    assert all(bursts(found.value, value) <= 7 for value in np.unique(medians[medians >= found.lasting_value]))
    assert bursts(found.value, medians[medians < found.lasting_value].max()) > 7


def test_the_bound_without_any_alarm_is_the_largest_evidence():
    """Three hours support one an hour with no alarm at all: both thresholds are the largest that clean driving showed."""
    clean = video([500], 3.0)
    scores = clean_scores(clean, 0)
    found = alarm_thresholds(scores, clean, 1.0, settings=SETTINGS, origin=ORIGIN)
    assert found.value == max(min(scores[i : i + 3]) for i in range(498))
    assert len(false_alarm_bursts(scores, found, clean, SETTINGS)) == 0
    assert found.warning == ""


def test_too_few_hours_are_refused_or_noted():
    """Two hours without an alarm cannot promise one an hour: three are needed (rule of three)."""
    clean, scores = video([100], 2.0), np.arange(100.0)
    with pytest.raises(CalibrationError, match=r"2\.0 h .* here 1\.5; at least 3\.0 h"):
        alarm_thresholds(scores, clean, 1.0, settings=SETTINGS, origin=ORIGIN)
    small = alarm_thresholds(scores, clean, 1.0, settings=SETTINGS, origin=ORIGIN, allow_small=True)
    assert "rule of three" in small.warning
    assert small.value == 97.0  # the smallest of the last three: the third frame above it never comes
    assert supported_target(2.0) == pytest.approx(-np.log(0.05) / 2.0)
    assert hours_needed(20.0) == pytest.approx(-np.log(0.05) / 20.0)


@pytest.mark.parametrize(
    ("scores", "clean", "target", "words"),
    [
        (np.arange(100.0), video([100], 9.0), 0.0, "larger than 0"),
        (np.arange(2.0), video([2], 9.0), 1.0, "3 frames in a row"),
        (np.full(9, np.nan), video([9], 9.0), 1.0, "not finite"),
        (np.arange(9.0), video([9], 0.0), 1.0, "record longer"),
    ],
)
def test_impossible_targets_are_refused(scores, clean, target, words):
    """A target of nothing, drives of a frame or two, scores that are no numbers."""
    with pytest.raises(CalibrationError, match=words):
        alarm_thresholds(scores, clean, target, settings=SETTINGS, origin=ORIGIN)


def test_alarms_that_follow_each_other_closely_are_one_burst():
    """Whichever camera raises them, and in whatever order they are counted."""
    assert count_bursts([]) == 0
    assert count_bursts([0.0, BURST_GAP_S, 2 * BURST_GAP_S]) == 1
    assert count_bursts([3 * BURST_GAP_S, 0.0]) == 2
    random = np.random.default_rng(0)
    times = random.uniform(0.0, 300.0, 200)
    growing = BurstCount()
    for count, time_s in enumerate(times, 1):
        assert growing.add(float(time_s)) == count_bursts(times[:count])
