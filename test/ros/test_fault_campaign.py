"""A short run of the fault campaign (``benchmarks/faults.py``): every fault once, against the real nodes as processes."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("rclpy")

from support.faults import FAULTS, Outcome, run_campaign

#: Causes of the last decision of each fault; either may be the last. The rest of the campaign takes minutes: see the script.
EXPECTED = {
    "camera silent": {"stale"},
    "camera frozen": {"frozen"},
    "camera black": {"black"},
    "half frames": {"unreadable"},
    "another size": {"size"},
    "stamps an hour ahead": {"clock_ahead"},
    "stamps run backwards": {"clock_back", "alarm_out_of_order"},
    "flood of 1000 forged alarms a second": {"several_senders"},
    "perception hung (SIGSTOP)": {"sender_lost"},
    "perception killed (SIGKILL)": {"sender_lost"},
    "every other frame black": {"black"},
    "supervisor stalled (SIGSTOP), perception killed": {"silent", "sender_lost"},
    "inference out of memory": {"inference"},
    "weights NaN": {"not_finite"},
    "inference takes 0.8 s": {"late", "hung", "stale", "silent"},
}


def test_every_fault_stops_the_vehicle_with_a_reason(ros, tmp_path):
    """STOP with the reason, held for as long as the fault lasts, and NOMINAL after it; times are judged by the script."""
    faults = [fault for fault in FAULTS if fault.name in EXPECTED]
    assert len(faults) == len(EXPECTED)
    for outcome in run_campaign(faults, 1, tmp_path, dict(os.environ)):
        assert not outcome.missed, outcome
        assert not outcome.false_clears, outcome
        assert len(outcome.recovery_s) == 1
        assert outcome.reason.startswith("STOP: ")
        assert outcome.because in EXPECTED[outcome.name], outcome


@pytest.mark.parametrize(
    ("changes", "passed"),
    [
        ({}, True),
        ({"to_stop_s": [0.2, 0.81]}, False),
        ({"missed": 1}, False),
        ({"false_clears": 1}, False),
        ({"longest_silence_s": 0.3}, False),
    ],
)
def test_the_campaign_can_fail(changes, passed):
    """Too late once, never stopped, released too early, or a command that falls silent."""
    values = {"to_stop_s": [0.2, 0.79], "recovery_s": [1.0], "longest_silence_s": 0.06, **changes}
    assert Outcome("any", "3 frames", 0.3, **values).passed is passed
