"""The way of one camera from arrival to alarm: which check speaks first, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.config import AlarmSettings, HealthSettings
from ls_ood_monitor.core.camera_watch import CameraWatch, alarm_without_frame
from ls_ood_monitor.core.input_validation import Fault, InputFault
from ls_ood_monitor.core.types import AlarmState, Frame, FrameResult

SECOND = 10**9
NOW = 10**6 * SECOND


def frame(stamp_ns: int, size: tuple[int, int] = (48, 64)) -> Frame:
    """A picture like no other."""
    random = np.random.default_rng(stamp_ns % 2**32)
    return Frame(random.integers(0, 256, (*size, 3), dtype=np.uint8), stamp_ns, "front")


def result(stamp_ns: int, score: float) -> FrameResult:
    """The network's verdict, threshold 2."""
    mask = np.zeros((48, 64), np.uint8)
    return FrameResult(frame(stamp_ns), score, 2.0, "spatial", segmentation=mask, confidence=mask)


@pytest.fixture
def watch() -> CameraWatch:
    """Three bad frames raise, two good ones clear, half a second of silence is stale, 0.4 s of age late."""
    health = HealthSettings(max_age_s=0.4, min_rate_hz=5.0, expected_encoding="bgr8")
    made = CameraWatch("front", AlarmSettings(3, 2), 1.0, health, timeout_s=0.5)
    made.start(0)
    return made


def test_a_good_frame_goes_to_the_network_and_clears(watch):
    """Nothing is wrong with it; its verdict is CLEAR, and a bad one is not."""
    watch.arrivals.arrived(SECOND // 10)
    assert watch.examine(frame(NOW), "bgr8", SECOND // 10, NOW) is None
    assert watch.judged(result(NOW, 1.0), 0, NOW).state is AlarmState.CLEAR
    assert watch.judged(result(NOW + 1, 3.0), 0, NOW).state is AlarmState.PENDING


@pytest.mark.parametrize(
    ("stamp_ns", "encoding", "arrivals", "fault"),
    [
        (0, "bgr8", (0.1,), Fault.NO_STAMP),
        (NOW - SECOND, "bgr8", (0.1,), Fault.LATE),
        (NOW, "rgb8", (0.1,), Fault.ENCODING),
        (NOW, "bgr8", (0.0, 0.4), Fault.RATE),
    ],
)
def test_each_check_can_speak(watch, stamp_ns, encoding, arrivals, fault):
    """The stamp, the age, the encoding, the rate."""
    for moment in arrivals:
        watch.arrivals.arrived(round(moment * SECOND))
    assert watch.examine(frame(stamp_ns), encoding, round(arrivals[-1] * SECOND), NOW).fault is fault


def test_a_verdict_that_comes_late_counts_as_a_bad_frame(watch):
    """A good score of half a second ago is no news: three of them raise."""
    states = [watch.judged(result(NOW + step, 1.0), SECOND // 2, 0).state for step in range(3)]
    assert states == [AlarmState.PENDING, AlarmState.PENDING, AlarmState.RAISED]


def test_silence_raises_at_once_and_good_frames_clear(watch):
    """However short it was beyond the limit; a camera that is merely slow is told by its frames."""
    watch.arrivals.arrived(SECOND // 10)
    assert watch.judged(result(NOW - 1, 1.0), 0, 0).state is AlarmState.CLEAR
    assert watch.silence(SECOND // 2, "front/image") is None
    found = watch.silence(2 * SECOND, "front/image")
    assert found.fault is Fault.STALE
    assert found.reason.endswith("on front/image")
    states = [watch.judged(result(NOW + step, 1.0), 0, 0).state for step in range(2)]
    assert states == [AlarmState.RAISED, AlarmState.CLEAR]


def test_a_camera_that_was_lost_must_be_cleared(watch):
    """A network that hung, or a node that could not judge it: one good frame is not enough."""
    watch.judged(result(NOW, 1.0), 0, 0)
    watch.lose(InputFault(Fault.HUNG, "the network hangs"))
    states = [watch.judged(result(NOW + step, 1.0), 0, 0).state for step in range(1, 3)]
    assert states == [AlarmState.RAISED, AlarmState.CLEAR]


def test_an_alarm_without_a_frame_is_raised_and_says_why():
    """No stamp, no score, the name of the fault."""
    alarm = alarm_without_frame("front", InputFault(Fault.HUNG, "the network hangs"))
    assert (alarm.state, alarm.is_fault, alarm.fault, alarm.stamp_ns) == (AlarmState.RAISED, True, "hung", 0)
    assert np.isnan(alarm.score)
    assert alarm.reason == "camera front: the network hangs"
