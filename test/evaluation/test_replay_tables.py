"""The rows of a replay: what was put in comes out, causes on causes included, and no picture is kept."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.core.causes import AlarmProgress, Cause, CauseKind, ProgressGoal
from ls_ood_monitor.core.supervision import root_cause
from ls_ood_monitor.core.types import Alarm, AlarmState, Decision, FallbackMode, Frame, Verdict
from ls_ood_monitor.evaluation.replay_tables import ReplayRecorder
from ls_ood_monitor.wording import sentence

BLACK = Cause(CauseKind.BLACK, "front", 1.0, 0.99, "4")
WAITS = Cause(
    CauseKind.IN_DISTRIBUTION, "front", 1.25, 2.0, progress=AlarmProgress(ProgressGoal.CLEAR, 2, 5), underlying=BLACK
)
CAUSES = [
    Cause(CauseKind.NEVER_HEARD, "left"),
    Cause(CauseKind.ALL_CLEAR),
    Cause(CauseKind.UNREADABLE, "front", detail="größer than 3 bytes"),
    Cause(CauseKind.SUDDEN, "front", 3.0, 2.0, progress=AlarmProgress(ProgressGoal.RAISE, 2, 3)),
    WAITS,
    Cause(
        CauseKind.MIN_TIME,
        "front",
        limit=2.0,
        detail="STOP",
        underlying=Cause(CauseKind.NOT_CLEARED, "front", underlying=WAITS),
    ),
]


def test_causes_come_out_as_they_were():
    """With their progress, and the causes that they stand on; in any order."""
    recorder = ReplayRecorder([])
    for number, cause in enumerate(CAUSES):
        recorder.add_decision(float(number), Decision(FallbackMode.STOP, cause, 0))
    tables = recorder.tables()
    rows = tables.decisions["cause"].reverse()
    assert tables.sentences(rows) == [sentence(cause) for cause in reversed(CAUSES)]
    assert [cause.kind for cause in tables.causes_at(rows)] == [cause.kind for cause in reversed(CAUSES)]
    assert root_cause(tables.causes_at(rows)[0]).kind is CauseKind.BLACK
    assert tables.sentences([]) == []


def test_a_cause_that_lasts_is_kept_once():
    """As that of a stop, at every tick."""
    recorder = ReplayRecorder([])
    for number in range(10_000):
        recorder.add_decision(number / 20.0, Decision(FallbackMode.STOP, CAUSES[number // 5000], 0))
    tables = recorder.tables()
    assert (len(tables.decisions), len(tables.causes)) == (10_000, 2)


def test_alarms_come_out_in_their_order():
    """Every column; without a score where there is none, and images apart from silences."""
    recorder = ReplayRecorder(["larem", "multistage"])
    frame = Frame(np.ones((24, 32, 3), np.uint8), 10**18 + 1, "front")
    verdict = Verdict(frame, 3.0, 2.0, "larem", {"larem": 3.0, "multistage": 7.0})
    judged = Alarm("front", 10**18 + 1, AlarmState.RAISED, 3.0, 2.0, CAUSES[3])
    bad = Alarm("front", 5, AlarmState.PENDING, np.nan, np.nan, CAUSES[2])
    stale = Cause(CauseKind.STALE, "left", 1.1, 1.0, "/left/image")
    recorder.add_image(0.1, judged, FallbackMode.STOP, verdict, 12.5)
    recorder.add_silence(0.2, Alarm("left", 0, AlarmState.RAISED, np.nan, np.nan, stale), FallbackMode.STOP)
    recorder.add_image(0.3, bad, FallbackMode.SLOW, None)
    assert (recorder.images, recorder.last_image_s) == (2, 0.3)
    tables = recorder.tables()
    alarms = tables.alarms.to_dict(as_series=False)
    assert alarms["time_s"] == [0.1, 0.2, 0.3]
    assert alarms["camera"] == ["front", "left", "front"]
    assert alarms["stamp_ns"] == [10**18 + 1, 0, 5]
    assert alarms["state"] == ["RAISED", "RAISED", "PENDING"]
    assert alarms["mode"] == ["STOP", "STOP", "SLOW"]
    assert alarms["fault"] == [None, "stale", "unreadable"]
    assert alarms["score.multistage"] == [7.0, None, None]
    assert alarms["latency_ms"] == pytest.approx([12.5, np.nan, np.nan], nan_ok=True)
    assert alarms["score"] == pytest.approx([3.0, np.nan, np.nan], nan_ok=True)
    assert tables.images["time_s"].to_list() == [0.1, 0.3]
    assert (
        tables.sentences(tables.alarms["cause"])[1] == "camera left: no image for 1.1 s (limit 1.00 s) on /left/image"
    )


def test_many_rows_take_few_bytes():
    """Some hundred bytes an image, its cause included, where an object takes thousands."""
    recorder = ReplayRecorder(["a", "b", "c", "d"])
    for number in range(20_000):
        score = float(np.sin(number))
        cause = Cause(CauseKind.IN_DISTRIBUTION, "front", score, 2.0)
        alarm = Alarm("front", number + 1, AlarmState.CLEAR, score, 2.0, cause)
        recorder.add_image(number / 10.0, alarm, FallbackMode.NOMINAL, None, 5.0)
    tables = recorder.tables()
    assert len(tables.alarms) == len(tables.causes) == 20_000
    assert tables.alarms.estimated_size() + tables.causes.estimated_size() < 200 * 20_000
