"""Stops with all of their causes: as they take over, of every camera, each told once."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode
from ls_ood_monitor.evaluation.judged_images import FrameRecord
from ls_ood_monitor.evaluation.stops import Cause, stops_of
from ls_ood_monitor.evaluation.timeline import ModeSample

NOMINAL, SLOW, STOP = FallbackMode
NEVER = "camera front: no alarm message has arrived yet"
ODD = "camera front: out of distribution, score {:.2f} above threshold 2.00"
BACK = "camera front: in distribution, score 1.00 within threshold 2.00; {} of 5 good frames to clear after: the image is black"


def says(*told: tuple[float, FallbackMode, str]) -> list[ModeSample]:
    """Decisions."""
    return [ModeSample(*one) for one in told]


def raised(time_s: float, camera: str, what: str, state: AlarmState = AlarmState.RAISED) -> FrameRecord:
    """An alarm, with what is said of its camera."""
    return FrameRecord(time_s, Alarm(camera, 1, state, 3.0, 2.0, f"camera {camera}: {what}"), STOP, None, np.nan)


def reasons(stop) -> list[tuple[float, str]]:
    """When each cause came, and what was said."""
    return [(cause.start_s, cause.reason) for cause in stop.causes]


def test_a_stop_at_the_start_tells_what_followed():
    """Nothing heard, then every frame out of distribution: both, each once, however the numbers change."""
    decisions = says((0.0, STOP, NEVER), *((0.05 + 0.05 * n, STOP, ODD.format(3.0 + n)) for n in range(100)))
    (stop,) = stops_of(decisions, [], 6.0, settle_s=2.0)
    assert (stop.start_s, stop.end_s, stop.start_up) == (0.0, 6.0, False)
    assert reasons(stop) == [(0.0, NEVER), (0.05, ODD.format(3.0))]
    assert stop.causes[0] == Cause("front", 0.0, NEVER)


@pytest.mark.parametrize(("released_s", "start_up"), [(0.2, True), (2.0, True), (2.1, False)])
def test_the_stop_with_which_a_drive_begins_is_known(released_s, start_up):
    """One that is soon released; the same later is a stop like any other."""
    decisions = says((0.0, STOP, NEVER), (released_s, NOMINAL, "all well"), (4.0, STOP, NEVER), (4.1, NOMINAL, ""))
    assert [stop.start_up for stop in stops_of(decisions, [], 5.0, settle_s=2.0)] == [start_up, False]


def test_a_short_recording_that_was_never_released_did_not_start_up():
    """It ended under STOP, and nobody knows what would have followed."""
    (stop,) = stops_of(says((0.0, STOP, NEVER)), [], 0.3, settle_s=2.0)
    assert not stop.start_up


def test_two_stops_have_causes_of_their_own():
    """What is between them is neither's, and the second tells the same cause again."""
    decisions = says(
        (1.0, NOMINAL, "all well"),
        (2.0, STOP, ODD.format(3.0)),
        (2.1, STOP, ODD.format(4.0)),
        (3.0, SLOW, "camera front: something"),
        (4.0, STOP, ODD.format(5.0)),
        (4.5, NOMINAL, "all well"),
    )
    first, second = stops_of(decisions, [], 9.0)
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (2.0, 3.0, 4.0, 4.5)
    assert (reasons(first), reasons(second)) == ([(2.0, ODD.format(3.0))], [(4.0, ODD.format(5.0))])


def test_further_cameras_are_told_by_their_alarms():
    """The decision names the first camera alone; those that are pending, optional, or raised outside of it are no cause."""
    decisions = says((2.0, STOP, ODD.format(3.0)), (3.0, STOP, ODD.format(3.0)), (4.0, NOMINAL, ""))
    alarms = [
        raised(1.9, "rear", "too early"),
        raised(2.0, "front", "out of distribution, score 3.00 above threshold 2.00"),
        raised(2.5, "left", "mud, score 3.1"),
        raised(2.6, "left", "mud, score -7.5e+02"),
        raised(2.7, "right", "only pending", AlarmState.PENDING),
        raised(2.8, "roof", "optional"),
        raised(2.9, "left", "no image for 1.10 s"),
        raised(4.0, "rear", "too late"),
    ]
    (stop,) = stops_of(decisions, alarms, 9.0, optional=("roof",))
    assert [(cause.camera, cause.start_s) for cause in stop.causes] == [("front", 2.0), ("left", 2.5), ("left", 2.9)]


def test_good_frames_that_are_awaited_are_no_cause_of_their_own():
    """But where a stop begins with them they are all that it has."""
    (stop,) = stops_of(
        says((2.0, STOP, ODD.format(3.0)), *((3.0 + n, STOP, BACK.format(n)) for n in range(4))), [], 9.0
    )
    assert reasons(stop) == [(2.0, ODD.format(3.0))]
    (stop,) = stops_of(says((2.0, STOP, BACK.format(1))), [], 9.0)
    assert reasons(stop) == [(2.0, BACK.format(1))]


def test_what_no_single_camera_causes_is_told_with_none():
    """A stop that is held after its cause, by a least time and until it is reset."""
    decisions = says(
        (2.0, STOP, ODD.format(3.0)),
        (2.1, STOP, "STOP lasts at least 2 s; by now: all cameras are in distribution"),
        (2.2, STOP, f"STOP lasts at least 2 s; by now: {ODD.format(1.0)}"),
        (4.0, STOP, f"stopped until reset; the cause is over: {ODD.format(3.0)}"),
    )
    (stop,) = stops_of(decisions, [], 9.0)
    assert [(cause.camera, cause.start_s) for cause in stop.causes] == [("front", 2.0), (None, 2.1), (None, 4.0)]


def test_no_decision_is_no_stop():
    """And neither is one that lasts no time."""
    assert stops_of([], [], 9.0) == []
    assert stops_of(says((9.0, STOP, NEVER)), [], 9.0) == []
