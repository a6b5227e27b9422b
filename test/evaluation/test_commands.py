"""Decisions in columns: what was put in comes out, and the stop command of the same moments."""

from __future__ import annotations

import pytest

from ls_ood_monitor.core.types import FallbackMode
from ls_ood_monitor.evaluation.commands import Decisions
from ls_ood_monitor.evaluation.timeline import ModeSample, StopSample

GIVEN = [
    (0.0, FallbackMode.STOP, "not heard"),
    (0.05, FallbackMode.STOP, "not heard"),
    (0.1, FallbackMode.NOMINAL, "all clear"),
    (0.15, FallbackMode.SLOW, "not heard"),
]


def test_what_is_kept_comes_out():
    """By number, from behind, by part, and in order; a reason that comes back later is that of its own moment."""
    decisions = Decisions()
    assert not decisions
    for one in GIVEN:
        decisions.append(*one)
    assert list(decisions) == [ModeSample(*one) for one in GIVEN]
    assert decisions[-1] == ModeSample(*GIVEN[-1])
    assert decisions[1:3] == [ModeSample(*one) for one in GIVEN[1:3]]
    assert list(decisions.stops) == [StopSample(one[0], one[1] is FallbackMode.STOP) for one in GIVEN]
    assert decisions.stops[:1] == [StopSample(0.0, True)]
    assert len(decisions) == len(decisions.stops) == 4
    for columns in (decisions, decisions.stops):
        with pytest.raises(IndexError):
            columns[4]
