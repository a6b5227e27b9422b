"""The nouns: how a score is told against its threshold."""

from __future__ import annotations

from math import isnan, nan

import pytest

from ls_ood_monitor.core.types import Alarm, AlarmState, score_over_threshold


@pytest.mark.parametrize(
    ("score", "threshold", "ratio"), [(3.0, 2.0, 1.5), (-1.0, 2.0, -0.5), (4.0, 0.0, 4.0), (-0.5, -1.0, -0.5)]
)
def test_a_ratio_is_of_a_positive_threshold_only(score, threshold, ratio):
    """Elsewhere the score stands for itself; an alarm tells the same."""
    assert score_over_threshold(score, threshold) == ratio
    assert Alarm("front", 1, AlarmState.CLEAR, score, threshold, "").ratio == ratio


@pytest.mark.parametrize(("score", "threshold"), [(nan, 1.0), (1.0, nan), (nan, nan), (nan, 0.0)])
def test_what_is_not_known_has_no_ratio(score, threshold):
    """NaN, never a number that might be drawn."""
    assert isnan(score_over_threshold(score, threshold))
