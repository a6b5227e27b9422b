"""What a calibrated monitor sees: delays against those that follow from the numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from ls_ood_monitor.anomalies import apply_anomaly
from ls_ood_monitor.calibration.sensitivity import PICTURE_CHANGES, CleanClip, measure_sensitivity
from ls_ood_monitor.config import AlarmSettings
from ls_ood_monitor.core.threshold import Threshold
from ls_ood_monitor.core.types import Frame

SECOND = 10**9
PERIOD = SECOND // 10
#: Scores are mean grey levels: clean 60, a frame above 160 is sudden, a median above 71 lasts.
THRESHOLD = Threshold(160.0, 0.01, 100, 10, 99, "made up", clean_median=60.0, lasting_value=71.0)
SETTINGS = AlarmSettings(3, 5, lasting_window_s=5.0)


def clip(seed: int = 0) -> CleanClip:
    """Five seconds of noise around grey level 60, after ten seconds of the same."""
    random = np.random.default_rng(seed)
    pictures = random.normal(60.0, 8.0, (50, 24, 32, 3)).clip(0, 255).astype(np.uint8)
    frames = [Frame(picture, 100 * SECOND + index * PERIOD, "front") for index, picture in enumerate(pictures)]
    before = [90 * SECOND + index * PERIOD for index in range(100)]
    return CleanClip(
        "monday", frames, before, [60.0] * 100, lambda images: np.array([float(image.mean()) for image in images])
    )


@pytest.fixture(scope="module")
def measured():
    """Two clips."""
    return measure_sensitivity([clip(), clip(1)], "brightness", THRESHOLD, SETTINGS)


def delays_of(measured, name: str, level: int) -> list[float]:
    """Delays of one change."""
    return next(own for key, own in measured.delays_s.items() if (key.name, key.level) == (name, level))


def brightness(name: str, severity: int) -> float:
    """Mean grey level of the changed first clip."""
    return float(np.mean([apply_anomaly(name, frame.image, severity, 0).mean() for frame in clip().frames]))


def test_delays_follow_from_the_scores(measured):
    """Far too much light is sudden: the third frame, after 0.2 s. Less light is nothing that this score sees."""
    assert brightness("overexposure", 5) > THRESHOLD.value
    assert delays_of(measured, "overexposure", 5) == [pytest.approx(0.2)] * 2
    assert delays_of(measured, "underexposure", 5) == [inf, inf]
    level = brightness("overexposure", 1)
    assert THRESHOLD.lasting_value < level < THRESHOLD.value
    # With the 26th frame more than half of the window of 5 s is too bright.
    assert delays_of(measured, "overexposure", 1) == [pytest.approx(2.5)] * 2


def test_shares_count_every_kind_and_clip(measured):
    """Harmless changes of exposure by 0.2 stops leave the score at 69, below the threshold."""
    assert delays_of(measured, "brighter", 2) == [inf, inf]
    own = [np.array(delays) for key, delays in measured.delays_s.items() if key.level == 5 and not key.is_harmless]
    assert measured.detected(1.0, level=5)["value"] == pytest.approx((np.array(own) <= 1.0).mean())
    assert measured.detected(5.0, level=5)["value"] >= measured.detected(1.0, level=5)["value"]


def test_facts_are_plain_and_complete(measured):
    """What goes into the bundle reads back from JSON, every condition with a delay a clip."""
    facts = json.loads(json.dumps(measured.facts(), allow_nan=False))
    assert len(facts["conditions"]) == len(PICTURE_CHANGES)
    assert {len(condition["delays_s"]) for condition in facts["conditions"]} == {2}
    assert (facts["clips"], facts["is_complete"]) == (2, True)


def test_time_may_end_before_the_clips():
    """The first level of the first clip is always measured, and the rest is reported as missing."""
    steps: list[int] = []
    short = measure_sensitivity(
        [clip(), clip(1)], "brightness", THRESHOLD, SETTINGS, max_seconds=0.0, progress=steps.append
    )
    assert (short.clips, short.is_complete) == (1, False)
    assert {change.level for change in short.delays_s} == {3}
    assert steps == list(range(1, len(short.delays_s) + 1))
    facts = short.facts()
    assert [share["level"] for share in facts["anomalies"]] == [3, 3]
    assert facts["harmless"] == []


def test_without_a_lasting_path_only_the_sudden_one_detects():
    """The same clip, the same threshold a frame."""
    alone = measure_sensitivity([clip()], "brightness", replace(THRESHOLD, lasting_value=float("nan")), SETTINGS)
    assert delays_of(alone, "overexposure", 5) == [pytest.approx(0.2)]
    assert delays_of(alone, "overexposure", 1) == [inf]
