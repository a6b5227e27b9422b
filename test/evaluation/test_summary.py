"""Figures of a replay: the way back to NOMINAL, event by event, and what is written comes back."""

from __future__ import annotations

import json
from math import inf

import pytest

from ls_ood_monitor.core.intervals import event_rate
from ls_ood_monitor.evaluation.assessment import time_to_release
from ls_ood_monitor.evaluation.results import (
    AcceptanceResult,
    CameraFigures,
    ClipAlarm,
    ClipComparison,
    EventOutcome,
    Rule,
    SilenceFigures,
    Stop,
    StopReason,
    Summary,
    from_plain,
    rounded,
    to_plain,
)
from ls_ood_monitor.evaluation.timespans import spans_of
from ls_ood_monitor.recordings.events import Event


@pytest.mark.parametrize(
    ("commands", "expected"),
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
def test_the_way_back_is_told_by_events_that_cost_one(commands, expected):
    """An event from 4 to 6 s, a decision a second; a stop that comes within a second after it is its own."""
    cautions = spans_of(range(len(commands)), [letter != "n" for letter in commands], inf)
    assert time_to_release(Event("front", 4.0, 6.0, "fog"), cautions, 1.0) == expected


def test_a_summary_is_read_as_it_was_written(make_summary):
    """Through JSON, with everything in it; of the same types."""
    summary = make_summary(
        alarms={"false_per_hour": event_rate(3, 1.0)},
        events=(EventOutcome("front", "fog", 1.0, 2.0, 0.25, None),),
        faults={"black": 3},
        by_camera={"front": CameraFigures(60, 0, 3)},
        silences=(SilenceFigures("left", 3.0, 4.0, 10),),
        stops=(Stop(1.0, 2.0, False, (StopReason(None, 1.5, "why", "latched"),)),),
        acceptance=AcceptanceResult(False, (Rule("max_faults", False, "3"),)),
        clip=ClipComparison((ClipAlarm("front", 7, None, "black", True, 3.5, "", False),), "ab", True),
    )
    written = json.loads(json.dumps(to_plain(summary), allow_nan=False))
    assert from_plain(Summary, written) == summary
    assert written["alarms"]["false_per_hour"]["per_hour"] == 3.0
    assert "recording" not in written["events"][0]  # of a set alone
    del written["stops"]
    with pytest.raises(KeyError):
        from_plain(Summary, written)


def test_times_are_rounded_to_the_microsecond(make_summary):
    """Those of the network, too; shares are left as they are."""
    summary = make_summary(duration_s=1.23456789, decision={"hold_ratio": 0.123456789, "time_to_stop_s": 0.123456789})
    found = rounded(summary)
    assert (found.duration_s, found.decision.time_to_stop_s) == (1.234568, 0.123457)
    assert found.decision.hold_ratio == 0.123456789
