"""The pipeline without input and output: which check comes first, what is counted, and when decisions are handed out."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.config import AlarmSettings, HealthSettings, SupervisorSettings
from ls_ood_monitor.core.alarm import LastingLevels
from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.pipeline import PerceptionPipeline, SupervisorLoop, VehiclePipeline, alarm_without_frame
from ls_ood_monitor.core.supervision import Supervisor
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode, Frame, Verdict
from ls_ood_monitor.wording import sentence

SECOND = 10**9
NOW = 10**6 * SECOND
GOOD, BAD = 1.0, 3.0


def image(stamp_ns: int) -> Frame:
    """A picture like no other."""
    pixels = np.random.default_rng(stamp_ns % 2**32).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return Frame(pixels, stamp_ns, "front")


@pytest.fixture
def perception() -> PerceptionPipeline:
    """Three bad frames raise, two good ones clear, half a second of silence is stale, 0.4 s of age late."""
    health = HealthSettings(max_age_s=0.4, min_rate_hz=5.0, expected_encoding="bgr8")
    made = PerceptionPipeline(("front",), AlarmSettings(3, 2), LastingLevels(), health, timeout_s=0.5)
    made.start(0)
    return made


def judged(perception: PerceptionPipeline, stamp_ns: int, score: float = GOOD, held_ns: int = 0) -> Alarm:
    """The alarm after a frame that passes the checks and gets this score, threshold 2."""
    frame = image(stamp_ns)
    assert perception.check(frame, "bgr8", 0, 0) is None
    return perception.count(frame, Verdict(frame, score, 2.0, "spatial"), held_ns, 0)


def states(perception, stamps, score=GOOD, held_ns=0):
    """States after images that come one after the other."""
    return [judged(perception, stamp, score, held_ns).state for stamp in stamps]


def test_a_good_frame_is_judged_and_clears(perception):
    """A good score is CLEAR, and a bad one after it is PENDING."""
    perception.on_arrival("front", SECOND // 10)
    assert states(perception, [NOW]) == [AlarmState.CLEAR]
    assert states(perception, [NOW + 1], BAD) == [AlarmState.PENDING]


@pytest.mark.parametrize(
    ("stamp_ns", "encoding", "arrivals_s", "kind"),
    [
        (0, "bgr8", (0.1,), CauseKind.NO_STAMP),
        (NOW - SECOND, "bgr8", (0.1,), CauseKind.LATE),
        (NOW, "rgb8", (0.1,), CauseKind.ENCODING),
        (NOW, "bgr8", (0.0, 0.4), CauseKind.RATE),
    ],
)
def test_each_check_can_refuse_an_image(perception, stamp_ns, encoding, arrivals_s, kind):
    """The stamp, the age, the encoding and the rate are checked before the network sees the frame."""
    for moment_s in arrivals_s:
        perception.on_arrival("front", round(moment_s * SECOND))
    cause = perception.check(image(stamp_ns), encoding, round(arrivals_s[-1] * SECOND), NOW)
    assert cause is not None
    assert cause.kind is kind


def test_an_image_that_could_not_be_judged_is_a_fault_of_its_camera(perception):
    """Its cause is passed on, and the camera is named in it."""
    alarm = perception.count_fault("front", NOW, Cause(CauseKind.UNREADABLE, detail="no end marker"))
    assert sentence(alarm.cause) == "camera front: no end marker; 1 of 3 bad frames to raise"


def test_a_verdict_that_comes_late_counts_as_a_bad_frame(perception):
    """A good score of half a second ago is no news: three of them raise."""
    assert states(perception, [NOW, NOW + 1, NOW + 2], held_ns=SECOND // 2) == [
        AlarmState.PENDING,
        AlarmState.PENDING,
        AlarmState.RAISED,
    ]


def test_silence_raises_at_once_and_good_frames_clear(perception):
    """An alarm of a silent camera names the topic; two good frames clear it."""
    perception.topics["front"] = "/front/image"
    perception.on_arrival("front", SECOND // 10)
    assert states(perception, [NOW - 1]) == [AlarmState.CLEAR]
    assert perception.on_tick(SECOND // 2) == []
    (alarm,) = perception.on_tick(2 * SECOND)
    assert (alarm.cause.kind, alarm.state) == (CauseKind.STALE, AlarmState.RAISED)
    assert sentence(alarm.cause).endswith("on /front/image")
    assert states(perception, [NOW, NOW + 1]) == [AlarmState.RAISED, AlarmState.CLEAR]


def test_a_camera_that_nobody_could_judge_must_be_cleared(perception):
    """After a network that hung one good frame is not enough."""
    states(perception, [NOW])
    (alarm,) = perception.on_tick(0, Cause(CauseKind.HUNG, value=2.0, limit=1.0))
    assert sentence(alarm.cause) == (
        "camera front: perception cannot judge it: the network has been at one batch for 2.0 s (limit 1.00 s)"
    )
    assert states(perception, [NOW + 1, NOW + 2]) == [AlarmState.RAISED, AlarmState.CLEAR]


def test_an_alarm_without_a_frame_is_raised_and_names_its_cause():
    """It has no stamp and no score."""
    alarm = alarm_without_frame("front", Cause(CauseKind.HUNG, value=2.0, limit=1.0))
    assert (alarm.state, alarm.is_fault, alarm.fault, alarm.stamp_ns) == (AlarmState.RAISED, True, "hung", 0)
    assert np.isnan(alarm.score)


def test_a_new_stop_is_handed_out_at_once_and_other_changes_at_the_tick():
    """A stop waits for no tick; its release does."""
    decisions: list[tuple[int, FallbackMode]] = []
    loop = SupervisorLoop(
        Supervisor(SupervisorSettings(), ("front",)), lambda decision, at_ns: decisions.append((at_ns, decision.mode))
    )
    pipeline = PerceptionPipeline(("front",), AlarmSettings(1, 1), LastingLevels(), HealthSettings(), 1.0)
    pipeline.start(0)
    loop.tick(0)
    loop.observe([judged(pipeline, 1)], 1)
    assert decisions == [(0, FallbackMode.STOP)]
    loop.tick(2)
    loop.observe([judged(pipeline, 2, BAD)], 3)
    assert decisions[1:] == [(2, FallbackMode.NOMINAL), (3, FallbackMode.STOP)]


def test_timers_of_a_vehicle_fire_in_their_order():
    """Ten looks for silence and twenty decisions a second; a camera that never sends is reported after its timeout."""
    silences: list[int] = []
    decisions: list[int] = []
    perception = PerceptionPipeline(("front",), AlarmSettings(), LastingLevels(), HealthSettings(), timeout_s=0.5)
    vehicle = VehiclePipeline(
        perception,
        Supervisor(SupervisorSettings(), ("front",)),
        publish_rate_hz=20.0,
        begin_ns=NOW,
        on_silence=lambda alarm, decision, at_ns: silences.append(at_ns - NOW),
        on_decision=lambda decision, at_ns: decisions.append(at_ns - NOW),
    )
    vehicle.advance(NOW + SECOND)
    assert decisions == [tick * SECOND // 20 for tick in range(21)]
    assert silences == [tick * SECOND // 10 for tick in range(6, 11)]
    assert vehicle.observe(judged(perception, NOW + SECOND), NOW + SECOND).mode is FallbackMode.STOP
