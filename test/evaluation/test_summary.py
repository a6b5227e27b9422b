"""Figures of a replay that are not those of a live recording: the way back to NOMINAL, event by event."""

from __future__ import annotations

from math import inf

import pytest

from ls_ood_monitor.core.types import FallbackMode
from ls_ood_monitor.evaluation.summary import _resume_s
from ls_ood_monitor.evaluation.timeline import ModeSample
from ls_ood_monitor.recordings.events import Event

MODES = {"n": FallbackMode.NOMINAL, "s": FallbackMode.SLOW, "S": FallbackMode.STOP}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("nnnnnnnnnnnn", None),  # missed: it has cost nothing, and tells no time
        ("nnnnnSSSnnnn", 2.0),  # from 5 to 8, the event ends at 6
        ("nnnnsSSnnnnn", 1.0),  # by way of SLOW
        ("nnnSSnnnnnnn", 0.0),  # back before its end
        ("nnnSnSSSnnnn", 2.0),  # a second stop within it
        ("nnnnnnnSSnnn", 3.0),  # short event, late alarm: the stop came within a second after its end
        ("nnnnnnnnSSnn", None),  # later: it is another cause's
        ("nnnnSSnnSSnn", 0.0),  # likewise, after its own
        ("SSSSSSSnnnnn", 1.0),  # on since before it
        ("SSSnnnnnnnnn", None),  # over before it
        ("nnnnSSSSSSSS", inf),  # never again
        ("nnnnSSssssss", inf),  # SLOW is not NOMINAL
    ],
)
def test_the_way_back_is_told_by_events_that_cost_one(said, expected):
    """An event from 4 to 6 s, a decision a second; a stop that comes within a second after it is its own."""
    decisions = [ModeSample(float(second), MODES[letter]) for second, letter in enumerate(said)]
    assert _resume_s(Event("front", 4.0, 6.0, "fog"), decisions, 1.0) == expected
