"""The pipeline without input and output: which check comes first, what is counted, and when decisions are handed out."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.config import AlarmSettings, HealthSettings, SupervisorSettings
from ls_ood_monitor.core.alarm import LastingLevels
from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.pipeline import (
    Clock,
    InputImage,
    PerceptionPipeline,
    SupervisorLoop,
    VehiclePipeline,
    alarm_without_frame,
)
from ls_ood_monitor.core.supervision import Supervisor
from ls_ood_monitor.core.types import AlarmState, FallbackMode, Frame, Verdict
from ls_ood_monitor.wording import sentence

SECOND = 10**9
NOW = 10**6 * SECOND
GOOD, BAD = 1.0, 3.0


def image(stamp_ns: int, arrived_ns: int = 0, encoding: str = "bgr8", camera: str = "front") -> InputImage:
    """A picture like no other."""
    pixels = np.random.default_rng(stamp_ns % 2**32).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return InputImage(camera, stamp_ns, arrived_ns, Frame(pixels, stamp_ns, camera), encoding)


def network(score: float):
    """Gives every frame this score, threshold 2."""
    return lambda frames: [Verdict(frame, score, 2.0, "spatial") for frame in frames]


def stopped(steady_ns: int = 0, stamp_ns: int = 0) -> Clock:
    """Two clocks that stand still."""
    return Clock(lambda: steady_ns, lambda: stamp_ns)


@pytest.fixture
def perception() -> PerceptionPipeline:
    """Three bad frames raise, two good ones clear, half a second of silence is stale, 0.4 s of age late."""
    health = HealthSettings(max_age_s=0.4, min_rate_hz=5.0, expected_encoding="bgr8")
    made = PerceptionPipeline(("front",), AlarmSettings(3, 2), LastingLevels(), health, timeout_s=0.5)
    made.start(0)
    return made


def alarms(perception, images, score=GOOD, clock=None):
    """Alarms of images that go through the network together."""
    return [outcome.alarm for outcome in perception.judge(images, network(score), clock or stopped())]


def states(perception, stamps, score=GOOD, clock=None):
    """States after images that come one after the other."""
    return [alarms(perception, [image(stamp)], score, clock)[0].state for stamp in stamps]


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
    refused = image(stamp_ns, round(arrivals_s[-1] * SECOND), encoding)
    (outcome,) = perception.judge([refused], network(GOOD), stopped(stamp_ns=NOW))
    assert outcome.alarm.cause.kind is kind
    assert outcome.verdict is None


def test_an_image_that_could_not_be_read_is_a_fault_of_its_camera(perception):
    """Its cause is passed on, and the camera is named in it."""
    unreadable = InputImage("front", NOW, 0, None, fault=Cause(CauseKind.UNREADABLE, detail="no end marker"))
    (alarm,) = alarms(perception, [unreadable])
    assert sentence(alarm.cause) == "camera front: no end marker; 1 of 3 bad frames to raise"


def test_a_failed_network_is_a_fault_of_every_frame_it_was_given():
    """One failed batch counts once for each camera."""
    pipeline = PerceptionPipeline(("front", "left"), AlarmSettings(), LastingLevels(), HealthSettings(), 1.0)
    pipeline.start(0)
    images = [image(NOW, camera="front"), image(NOW + 1, camera="left")]
    failed = Cause(CauseKind.INFERENCE, detail="out of memory")
    outcomes = list(pipeline.judge(images, lambda frames: failed, stopped()))
    assert [(outcome.alarm.camera, outcome.alarm.fault) for outcome in outcomes] == [
        ("front", "inference"),
        ("left", "inference"),
    ]


def test_a_verdict_that_comes_late_counts_as_a_bad_frame(perception):
    """A good score of half a second ago is no news: three of them raise."""
    late = stopped(steady_ns=SECOND // 2)
    assert states(perception, [NOW, NOW + 1, NOW + 2], clock=late) == [
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
    loop.observe(alarms(pipeline, [image(1)]), 1)
    assert decisions == [(0, FallbackMode.STOP)]
    loop.tick(2)
    loop.observe(alarms(pipeline, [image(2)], BAD), 3)
    assert decisions[1:] == [(2, FallbackMode.NOMINAL), (3, FallbackMode.STOP)]


def test_timers_of_a_vehicle_fire_in_their_order():
    """Ten looks for silence and twenty decisions a second; a camera that never sends is reported after its timeout."""
    silences: list[int] = []
    decisions: list[int] = []
    vehicle = VehiclePipeline(
        PerceptionPipeline(("front",), AlarmSettings(), LastingLevels(), HealthSettings(), timeout_s=0.5),
        Supervisor(SupervisorSettings(), ("front",)),
        publish_rate_hz=20.0,
        begin_ns=NOW,
        on_silence=lambda alarm, decision, at_ns: silences.append(at_ns - NOW),
        on_decision=lambda decision, at_ns: decisions.append(at_ns - NOW),
    )
    vehicle.advance(NOW + SECOND)
    assert decisions == [tick * SECOND // 20 for tick in range(21)]
    assert silences == [tick * SECOND // 10 for tick in range(6, 11)]
    outcome, decision = vehicle.judge(image(NOW + SECOND, NOW + SECOND), network(GOOD))
    assert outcome.alarm.state is AlarmState.RAISED
    assert decision.mode is FallbackMode.STOP
