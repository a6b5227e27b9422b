"""Stops with all of their reasons: as they take over, of every camera, each named once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ls_ood_monitor.core.causes import AlarmProgress, Cause, CauseKind, ProgressGoal
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode
from ls_ood_monitor.evaluation.replay import FrameRecord
from ls_ood_monitor.evaluation.results import Stop, StopReason
from ls_ood_monitor.evaluation.stops import stops_of
from ls_ood_monitor.wording import sentence

NOMINAL, SLOW, STOP = FallbackMode
NEVER = Cause(CauseKind.NEVER_HEARD, "front")
CLEAR = Cause(CauseKind.ALL_CLEAR)
BLANK = Cause(CauseKind.BLANK, "front", detail="0")


def odd(score: float, camera: str = "front", **changes) -> Cause:
    """Out of distribution."""
    return Cause(CauseKind.SUDDEN, camera, score, 2.0, **changes)


def back(count: int) -> Cause:
    """In distribution again, but not for long enough."""
    progress = AlarmProgress(ProgressGoal.CLEAR, count, 5)
    return Cause(CauseKind.IN_DISTRIBUTION, "front", 1.0, 2.0, progress=progress, underlying=BLANK)


def raised(time_s: float, cause: Cause, state: AlarmState = AlarmState.RAISED) -> FrameRecord:
    """The alarm of an image."""
    return FrameRecord(time_s, Alarm(cause.camera, 1, state, 3.0, 2.0, cause), STOP, None)


@pytest.fixture
def stops(tables_of):
    """Stops of decisions and alarms."""

    def find(decisions, alarms: Sequence[FrameRecord] = (), duration_s: float = 9.0, **options) -> list[Stop]:
        return stops_of(tables_of(alarms, decisions=decisions), duration_s, **options)

    return find


def reasons(stop: Stop) -> list[tuple[float, str]]:
    """When each reason came, and what it says."""
    return [(reason.start_s, reason.reason) for reason in stop.reasons]


def test_a_stop_at_the_start_tells_what_followed(stops):
    """Nothing heard, then every frame out of distribution: both, each once, however the numbers change."""
    decisions = [(0.0, STOP, NEVER), *((0.05 + 0.05 * n, STOP, odd(3.0 + n)) for n in range(100))]
    (stop,) = stops(decisions, duration_s=6.0, settle_s=2.0)
    assert (stop.start_s, stop.end_s, stop.start_up) == (0.0, 6.0, False)
    assert reasons(stop) == [(0.0, sentence(NEVER)), (0.05, sentence(odd(3.0)))]
    assert stop.reasons[0] == StopReason("front", 0.0, sentence(NEVER), "never_heard")


@pytest.mark.parametrize(("released_s", "start_up"), [(0.2, True), (2.0, True), (2.1, False)])
def test_the_stop_with_which_a_drive_begins_is_known(stops, released_s, start_up):
    """One that is soon released; the same later is a stop like any other."""
    decisions = [(0.0, STOP, NEVER), (released_s, NOMINAL, CLEAR), (4.0, STOP, NEVER), (4.1, NOMINAL, CLEAR)]
    assert [stop.start_up for stop in stops(decisions, duration_s=5.0, settle_s=2.0)] == [start_up, False]


def test_a_short_recording_that_was_never_released_did_not_start_up(stops):
    """It ended under STOP, and nobody knows what would have followed."""
    (stop,) = stops([(0.0, STOP, NEVER)], duration_s=0.3, settle_s=2.0)
    assert not stop.start_up


def test_two_stops_have_reasons_of_their_own(stops):
    """What is between them is neither's, and the second names the same reason again."""
    decisions = [
        (1.0, NOMINAL, CLEAR),
        (2.0, STOP, odd(3.0)),
        (2.1, STOP, odd(4.0)),
        (3.0, SLOW, BLANK),
        (4.0, STOP, odd(5.0)),
        (4.5, NOMINAL, CLEAR),
    ]
    first, second = stops(decisions)
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (2.0, 3.0, 4.0, 4.5)
    assert (reasons(first), reasons(second)) == ([(2.0, sentence(odd(3.0)))], [(4.0, sentence(odd(5.0)))])


def test_further_cameras_are_named_by_their_alarms(stops):
    """The decision names the first camera alone; those that are pending, optional, or raised outside of it are no reason."""
    decisions = [(2.0, STOP, odd(3.0)), (3.0, STOP, odd(3.0)), (4.0, NOMINAL, CLEAR)]
    alarms = [
        raised(1.9, odd(3.0, "rear")),
        raised(2.0, odd(3.0)),
        raised(2.5, odd(3.1, "left")),
        raised(2.6, odd(-7.5e2, "left")),
        raised(2.7, odd(3.0, "right"), AlarmState.PENDING),
        raised(2.8, odd(3.0, "roof")),
        raised(2.9, Cause(CauseKind.STALE, "left", 1.1, 1.0)),
        raised(4.0, odd(3.0, "rear")),
    ]
    (stop,) = stops(decisions, alarms, optional=("roof",))
    assert [(reason.camera, reason.start_s) for reason in stop.reasons] == [
        ("front", 2.0),
        ("left", 2.5),
        ("left", 2.9),
    ]


def test_good_frames_that_are_awaited_are_no_reason_of_their_own(stops):
    """But where a stop begins with them they are all that it has, by the name of what they stand for."""
    (stop,) = stops([(2.0, STOP, odd(3.0)), *((3.0 + n, STOP, back(n)) for n in range(4))])
    assert reasons(stop) == [(2.0, sentence(odd(3.0)))]
    (stop,) = stops([(2.0, STOP, back(1))])
    assert reasons(stop) == [(2.0, sentence(back(1)))]
    assert stop.reasons[0].cause == "blank"


def test_a_camera_that_was_not_clear_is_named_by_what_is_the_matter(stops):
    """That it has not been clear since the start is no other reason."""
    pending = odd(3.0, progress=AlarmProgress(ProgressGoal.RAISE, 1, 3))
    (stop,) = stops([(2.0, STOP, Cause(CauseKind.NOT_CLEARED, "front", underlying=pending)), (2.1, STOP, odd(3.0))])
    assert [(reason.camera, reason.start_s, reason.cause) for reason in stop.reasons] == [("front", 2.0, "sudden")]


def test_what_no_single_camera_causes_is_named_with_none(stops):
    """A stop that is held after its cause, by a least time and until it is reset."""

    def held(cause: Cause) -> Cause:
        return Cause(CauseKind.MIN_TIME, cause.camera, limit=2.0, detail="STOP", underlying=cause)

    decisions = [
        (2.0, STOP, odd(3.0)),
        (2.1, STOP, held(CLEAR)),
        (2.2, STOP, held(odd(1.0))),
        (4.0, STOP, Cause(CauseKind.LATCHED, "front", underlying=odd(3.0))),
    ]
    (stop,) = stops(decisions)
    assert [(reason.camera, reason.start_s, reason.cause) for reason in stop.reasons] == [
        ("front", 2.0, "sudden"),
        (None, 2.1, "all_clear"),
        (None, 4.0, "sudden"),
    ]


def test_no_decision_is_no_stop(stops):
    """And neither is one that lasts no time."""
    assert stops([]) == []
    assert stops([(9.0, STOP, NEVER)]) == []
    assert stops([(1.0, NOMINAL, CLEAR)], [raised(2.0, odd(np.nan))]) == []
