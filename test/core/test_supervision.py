"""Supervisor: the worst camera wins, and whatever is missing or contradictory means STOP."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.config import SupervisorSettings
from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.supervision import Supervisor
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode
from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.wording import sentence

SECOND = 1_000_000_000
NOMINAL, SLOW, STOP = FallbackMode.NOMINAL, FallbackMode.SLOW, FallbackMode.STOP


def alarm(
    camera: str, state: AlarmState = AlarmState.CLEAR, stamp: int = 1, *, is_fault: bool = False, **changes
) -> Alarm:
    """A consistent alarm, unless changed."""
    score = 1.0 if state is AlarmState.CLEAR else 9.0
    judged = CauseKind.IN_DISTRIBUTION if state is AlarmState.CLEAR else CauseKind.SUDDEN
    kind = CauseKind.INFERENCE if is_fault else judged
    return Alarm(
        **{
            "camera": camera,
            "stamp_ns": stamp,
            "state": state,
            "score": score,
            "threshold": 5.0,
            "cause": Cause(kind, camera, score, 5.0),
            **changes,
        }
    )


def make(*cameras: str, **settings) -> Supervisor:
    """A supervisor of these cameras."""
    return Supervisor(SupervisorSettings(**settings), cameras)


def test_never_heard_is_stop():
    """Before the first message of every camera the command is STOP, however long."""
    supervisor = make("front", "left")
    assert supervisor.decide(0).mode is STOP
    supervisor.observe(alarm("front"), SECOND)
    decision = supervisor.decide(SECOND)
    assert decision.mode is STOP
    assert "left" in sentence(decision.cause)
    supervisor.observe(alarm("left"), SECOND)
    assert supervisor.decide(SECOND).mode is NOMINAL


@pytest.mark.parametrize(
    ("front", "left", "mode"),
    [
        (AlarmState.CLEAR, AlarmState.CLEAR, NOMINAL),
        (AlarmState.CLEAR, AlarmState.PENDING, SLOW),
        (AlarmState.PENDING, AlarmState.CLEAR, SLOW),
        (AlarmState.RAISED, AlarmState.CLEAR, STOP),
        (AlarmState.PENDING, AlarmState.RAISED, STOP),
        (AlarmState.RAISED, AlarmState.RAISED, STOP),
    ],
)
def test_the_worst_camera_wins(front, left, mode):
    """NOMINAL < SLOW < STOP over all cameras."""
    supervisor = make("front", "left")
    for camera, state in (("front", front), ("left", left)):
        supervisor.observe(alarm(camera), 0)
        supervisor.observe(alarm(camera, state, stamp=2), 0)
    assert supervisor.decide(0).mode is mode


@pytest.mark.parametrize("slow_on_pending", [True, False])
def test_a_camera_that_was_never_clear_is_stop(slow_on_pending):
    """PENDING lets nobody move before the first clear frame, after a clock jump again."""
    supervisor = make("front", slow_on_pending=slow_on_pending)
    supervisor.observe(alarm("front", AlarmState.PENDING, stamp=1), 5)
    decision = supervisor.decide(5)
    assert decision.mode is STOP
    assert "has not been clear since" in sentence(decision.cause)
    supervisor.observe(alarm("front", stamp=2), 6)
    supervisor.observe(alarm("front", AlarmState.PENDING, stamp=3), 7)
    assert supervisor.decide(7).mode is (SLOW if slow_on_pending else NOMINAL)
    supervisor.observe(alarm("front", AlarmState.PENDING, stamp=4), 1)
    assert supervisor.decide(1).mode is STOP


def test_slow_on_pending_can_be_turned_off():
    """Then a pending alarm lets the vehicle go on."""
    supervisor = make("front", slow_on_pending=False)
    supervisor.observe(alarm("front"), 0)
    supervisor.observe(alarm("front", AlarmState.PENDING, stamp=2), 0)
    assert supervisor.decide(0).mode is NOMINAL


def test_silence_is_stop_and_fresh_alarms_end_it():
    """At the limit still fine, beyond it STOP naming camera and age; the next alarm ends it."""
    supervisor = make("front", alarm_timeout_s=0.5)
    supervisor.observe(alarm("front", stamp=1), 0)
    assert supervisor.decide(SECOND // 2).mode is NOMINAL
    decision = supervisor.decide(SECOND // 2 + 1_000_000)
    assert decision.mode is STOP
    assert "camera front: silent for 0.50 s" in sentence(decision.cause)
    supervisor.observe(alarm("front", stamp=2), SECOND)
    assert supervisor.decide(SECOND).mode is NOMINAL


def test_a_clock_that_runs_back_returns_to_the_start():
    """A looped recording is STOP until every camera is heard again, for that reason."""
    supervisor = make("front")
    supervisor.observe(alarm("front"), 10 * SECOND)
    assert supervisor.decide(10 * SECOND).mode is NOMINAL
    decision = supervisor.decide(5 * SECOND)
    assert decision.mode is STOP
    assert "ran back" in sentence(decision.cause)
    supervisor.observe(alarm("front"), 5 * SECOND)
    assert supervisor.decide(5 * SECOND).mode is NOMINAL


def test_an_alarm_older_than_the_last_is_not_trusted():
    """A stamp that goes back is STOP until the next newer one."""
    supervisor = make("front")
    supervisor.observe(alarm("front", stamp=100), 0)
    supervisor.observe(alarm("front", stamp=50), 1)
    assert supervisor.decide(2).mode is STOP
    supervisor.observe(alarm("front", stamp=60), 3)
    assert supervisor.decide(4).mode is NOMINAL


def test_an_alarm_without_a_stamp_does_not_hide_the_newest_one():
    """Between a fault without a frame and an old CLEAR the supervisor still knows how far the frames had come."""
    supervisor = make("front")
    supervisor.observe(alarm("front", stamp=100), 0)
    supervisor.observe(alarm("front", AlarmState.PENDING, stamp=0, is_fault=True), 1)
    assert supervisor.decide(1).mode is SLOW
    supervisor.observe(alarm("front", stamp=50), 2)
    assert supervisor.decide(2).mode is STOP
    supervisor.observe(alarm("front", stamp=51), 3)
    assert supervisor.decide(3).mode is NOMINAL


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        "front: CLEAR",
        alarm("front", state=None),
        alarm("front", state="CLEAR"),
        alarm("front", score=None),
        alarm("front", threshold="5.0"),
        alarm("front", stamp=None),
        alarm("front", cause=None),
        alarm(["front"]),
        alarm(None),
    ],
)
def test_what_is_no_alarm_is_stop_and_never_raises(nonsense):
    """A field of the wrong kind stops the vehicle with that reason, for as long as it may still be heard."""
    supervisor = make("front", alarm_timeout_s=0.5)
    supervisor.observe(alarm("front"), 0)
    supervisor.observe(nonsense, 0)
    decision = supervisor.decide(1)
    assert decision.mode is STOP
    assert "no alarm" in sentence(decision.cause)
    supervisor.observe(alarm("front", stamp=2), SECOND)
    assert supervisor.decide(SECOND).mode is NOMINAL


def test_numbers_of_numpy_are_numbers():
    """A score computed in float32 and a stamp read from an array are as good as Python's own."""
    supervisor = make("front")
    supervisor.observe(alarm("front", stamp=np.int64(3), score=np.float32(1.0), threshold=np.float64(5.0)), 0)
    assert supervisor.decide(0).mode is NOMINAL


def test_an_unknown_camera_is_stop_while_it_is_heard():
    """A camera nobody configured means that somebody is wrong; the reason names it."""
    supervisor = make("front", alarm_timeout_s=0.5)
    supervisor.observe(alarm("front"), 0)
    supervisor.observe(alarm("periscope"), 0)
    assert "'periscope', which is not configured (configured: front)" in sentence(supervisor.decide(1).cause)
    assert "camera periscope: in distribution" in sentence(supervisor.decide(1).cause)
    assert supervisor.decide(1).mode is STOP
    supervisor.observe(alarm("front", stamp=2), SECOND)
    assert supervisor.decide(SECOND).mode is NOMINAL


@pytest.mark.parametrize(
    "changes",
    [
        {"score": np.nan},
        {"threshold": np.nan},
        {"score": np.inf},
        {"score": -np.inf},
        {"threshold": np.inf},
        {"is_fault": True},
        {"score": 5.1},
        {"stamp": 0},
        {"stamp": -7},
    ],
)
def test_a_clear_alarm_that_contradicts_itself_is_stop(changes):
    """CLEAR above the threshold, without a finite comparison or a stamp, or together with a fault, is not trusted."""
    supervisor = make("front")
    supervisor.observe(alarm("front", **changes), 0)
    assert supervisor.decide(0).mode is STOP


def test_no_camera_is_stop():
    """Nothing to watch is nothing to trust."""
    assert make().decide(0).mode is STOP


def test_since_tells_when_the_mode_began():
    """It stays over decisions of one mode and moves with the mode."""
    supervisor = make("front")
    assert supervisor.decide(5).since_ns == 5
    assert supervisor.decide(9).since_ns == 5
    supervisor.observe(alarm("front"), 11)
    assert supervisor.decide(12).since_ns == 12


def test_latched_stop():
    """STOP outlives its cause until reset; reset is refused while the cause lasts; the start itself does not latch."""
    supervisor = make("front", stop_requires_reset=True)
    assert supervisor.decide(0).mode is STOP
    supervisor.observe(alarm("front", stamp=1), 1)
    assert supervisor.decide(1).mode is NOMINAL
    supervisor.observe(alarm("front", AlarmState.RAISED, stamp=2), 2)
    assert supervisor.decide(2).mode is STOP
    assert supervisor.reset(3).kind is CauseKind.SUDDEN
    supervisor.observe(alarm("front", stamp=4), 4)
    held = supervisor.decide(4)
    assert held.mode is STOP
    assert "until reset" in sentence(held.cause)
    assert supervisor.reset(5) is None
    assert supervisor.decide(5).mode is NOMINAL


@pytest.mark.parametrize(("is_fault", "held"), [(False, True), (True, False)])
def test_an_alarm_before_the_first_release(is_fault, held):
    """A frame judged out of distribution latches from the start on; cameras that are still waking up do not."""
    supervisor = make("left", "front", stop_requires_reset=True)
    supervisor.observe(alarm("front", AlarmState.RAISED, 1, is_fault=is_fault), 0)
    supervisor.observe(alarm("left"), 0)
    supervisor.observe(alarm("front", stamp=2), SECOND // 10)
    assert (supervisor.decide(SECOND // 10).mode is STOP) == held
    assert supervisor.reset(SECOND // 10) is None
    assert supervisor.decide(SECOND // 10).mode is NOMINAL


def test_a_stop_between_two_decisions_is_latched_too():
    """The latch does not depend on how often somebody asks."""
    supervisor = make("front", stop_requires_reset=True)
    supervisor.observe(alarm("front", stamp=1), 1)
    supervisor.decide(1)
    supervisor.observe(alarm("front", AlarmState.RAISED, stamp=2), 2)
    supervisor.observe(alarm("front", stamp=3), 3)
    assert supervisor.decide(3).mode is STOP


@pytest.mark.parametrize("raised_before", [False, True])
def test_a_jump_of_the_clock_does_not_open_the_latch(raised_before):
    """A clock that runs back is itself a cause, and a stop held before it is held after it."""
    supervisor = make("front", stop_requires_reset=True)
    supervisor.observe(alarm("front", stamp=1), 10)
    assert supervisor.decide(10).mode is NOMINAL
    if raised_before:
        supervisor.observe(alarm("front", AlarmState.RAISED, stamp=2), 11)
        assert supervisor.decide(11).mode is STOP
    supervisor.decide(5)
    assert supervisor.reset(5) is not None
    supervisor.observe(alarm("front", stamp=3), 6)
    held = supervisor.decide(6)
    assert held.mode is STOP
    assert "ran back" in sentence(held.cause)
    assert supervisor.reset(7) is None
    assert supervisor.decide(7).mode is NOMINAL


@pytest.mark.parametrize("cause", ["silence", "unknown camera", "old stamp", "nonsense"])
def test_every_cause_of_a_stop_latches(cause):
    """Not only a raised alarm: whatever stopped the vehicle holds it, and reset names what still persists."""
    supervisor = make("front", stop_requires_reset=True, alarm_timeout_s=0.5)
    supervisor.observe(alarm("front", stamp=10), 0)
    assert supervisor.decide(0).mode is NOMINAL
    now = 1
    if cause == "silence":
        now = SECOND
    elif cause == "unknown camera":
        supervisor.observe(alarm("periscope"), now)
    elif cause == "old stamp":
        supervisor.observe(alarm("front", stamp=5), now)
    else:
        supervisor.observe(None, now)
    why = sentence(supervisor.decide(now).cause)
    assert sentence(supervisor.reset(now)) == why
    supervisor.observe(alarm("front", stamp=11), now + SECOND)
    assert supervisor.decide(now + SECOND).mode is STOP
    assert supervisor.reset(now + SECOND) is None
    assert supervisor.decide(now + SECOND).mode is NOMINAL


def test_a_fault_from_the_future_does_not_age_the_alarms_to_come():
    """The frame may have been refused for that very stamp: the next clear alarm in its stream is trusted."""
    supervisor = make("front")
    supervisor.observe(alarm("front", stamp=10), 0)
    supervisor.observe(alarm("front", AlarmState.PENDING, stamp=10**18, score=np.nan, is_fault=True), 1)
    assert supervisor.decide(1).mode is SLOW
    supervisor.observe(alarm("front", stamp=20), 2)
    assert supervisor.decide(2).mode is NOMINAL


def test_statuses_name_every_camera():
    """One entry a camera in the configured order, age None when never heard."""
    supervisor = make("front", "left")
    supervisor.observe(alarm("left"), 0)
    front, left = supervisor.statuses(SECOND // 4)
    assert (front.camera, front.age_s, front.mode) == ("front", None, STOP)
    assert (left.camera, left.age_s, left.mode) == ("left", 0.25, NOMINAL)


def test_random_stories_are_never_nominal_without_fresh_clear_cameras():
    """Over thousands of random steps NOMINAL implies that every camera's last alarm is fresh, in order and CLEAR."""
    random = np.random.default_rng(0)
    cameras = ("front", "left", "rear")
    for _ in range(60):
        supervisor, now = make(*cameras, alarm_timeout_s=0.5), 0
        last: dict[str, tuple[Alarm, int]] = {}
        old: dict[str, bool] = {}
        nominal = 0
        for stamp in range(1, 201):
            now += int(random.integers(0, SECOND // 8))
            if random.random() < 0.01:
                now, last = now - SECOND, {}
            camera = str(random.choice([*cameras, "ghost"], p=[0.33, 0.33, 0.33, 0.01]))
            state = AlarmState(str(random.choice(["CLEAR", "PENDING", "RAISED"], p=[0.9, 0.06, 0.04])))
            message = alarm(camera, state, stamp)
            if random.random() < 0.02:
                message = alarm(camera, state, stamp, score=np.nan)
            elif random.random() < 0.02 and camera in last:
                message = alarm(camera, state, last[camera][0].stamp_ns - 1)
            is_old = camera in last and message.stamp_ns < last[camera][0].stamp_ns
            supervisor.observe(message, now)
            old[camera] = is_old
            last[camera] = (message, now)
            decision = supervisor.decide(now)
            if decision.mode is NOMINAL:
                nominal += 1
                for name in cameras:
                    heard, at = last[name]
                    assert now - at <= SECOND // 2
                    assert heard.state is AlarmState.CLEAR
                    assert np.isfinite(heard.score)
                    assert not old[name]
                assert "ghost" not in last or now - last["ghost"][1] > SECOND // 2
        assert nominal > 0


def ood(camera: str, stamp: int) -> Alarm:
    """An alarm of a judged frame far out of distribution."""
    return alarm(camera, AlarmState.RAISED, stamp=stamp, score=9.0)


def test_caution_falls_one_mode_at_a_time_each_for_its_least_time():
    """Rising is immediate; STOP lasts 1 s and SLOW 2 s, and then NOMINAL; the reason tells what is waited for."""
    supervisor = make("front", min_stop_s=1.0, min_slow_s=2.0, alarm_timeout_s=60.0)
    supervisor.observe(alarm("front", stamp=1), 0)
    assert supervisor.decide(0).mode is NOMINAL
    supervisor.observe(ood("front", 2), SECOND)
    assert supervisor.decide(SECOND).mode is STOP
    supervisor.observe(alarm("front", stamp=3), SECOND + 1)
    expected = [(1.5, STOP), (1.99, STOP), (2.0, SLOW), (3.9, SLOW), (4.0, NOMINAL)]
    for at_s, mode in expected:
        decision = supervisor.decide(round(at_s * SECOND))
        assert decision.mode is mode, at_s
    supervisor.observe(ood("front", 4), 5 * SECOND)
    supervisor.decide(5 * SECOND)
    supervisor.observe(alarm("front", stamp=5), 5 * SECOND + 1)
    assert "STOP lasts at least 1 s; by now: all cameras are in distribution" in sentence(
        supervisor.decide(5 * SECOND + 2).cause
    )


def test_an_optional_camera_slows_and_does_not_stop():
    """Out of distribution, silent or broken: SLOW. The required camera still stops, and nothing moves before it is clear."""
    supervisor = make("front", "rear", optional_cameras=("rear",), alarm_timeout_s=0.5)
    assert supervisor.decide(0).mode is STOP
    supervisor.observe(alarm("front", stamp=1), 0)
    assert supervisor.decide(0).mode is SLOW  # rear was never heard
    supervisor.observe(alarm("rear", stamp=1), 0)
    assert supervisor.decide(0).mode is NOMINAL
    supervisor.observe(ood("rear", 2), 1)
    decision = supervisor.decide(1)
    assert decision.mode is SLOW
    assert "optional camera" in sentence(decision.cause)
    supervisor.observe(ood("front", 2), 2)
    assert supervisor.decide(2).mode is STOP


@pytest.mark.parametrize(
    ("optional", "words"), [(("roof",), "names roof, but cameras are front, rear"), (("front", "rear"), "every camera")]
)
def test_optional_cameras_that_cannot_be_are_refused(optional, words):
    """An unknown camera among them is a mistake, and without a required camera nothing would hold the vehicle."""
    with pytest.raises(ConfigError, match=words):
        make("front", "rear", optional_cameras=optional)


def test_so_many_cameras_must_agree_to_stop():
    """One of two out of distribution slows, two stop; silence of one stops whatever the count."""
    supervisor = make("front", "left", "right", cameras_to_stop=2, alarm_timeout_s=0.5)
    for name in ("front", "left", "right"):
        supervisor.observe(alarm(name, stamp=1), 0)
    supervisor.observe(ood("front", 2), 1)
    decision = supervisor.decide(1)
    assert decision.mode is SLOW
    assert "1 of the 2 cameras that stop the vehicle" in sentence(decision.cause)
    supervisor.observe(ood("left", 2), 2)
    assert supervisor.decide(2).mode is STOP
    supervisor.observe(alarm("left", stamp=3), 3)
    assert supervisor.decide(3).mode is SLOW
    late = SECOND
    supervisor.observe(ood("front", 3), late)
    supervisor.observe(alarm("left", stamp=4), late)
    decision = supervisor.decide(late)
    assert decision.mode is STOP
    assert "right: silent" in sentence(decision.cause)


def test_a_single_camera_out_of_distribution_does_not_latch_where_two_are_needed():
    """What did not stop the vehicle does not hold it."""
    supervisor = make("front", "left", cameras_to_stop=2, stop_requires_reset=True)
    for stamp, name in enumerate(("front", "left"), 1):
        supervisor.observe(alarm(name, stamp=stamp), 0)
    supervisor.observe(ood("front", 3), 1)
    supervisor.observe(alarm("front", stamp=4), 2)
    assert supervisor.decide(2).mode is NOMINAL


def test_a_sender_that_is_gone_is_forgotten_at_once():
    """Not after the silence that it takes by the clock; every camera must be heard again."""
    supervisor = make("front", "left")
    for name in ("front", "left"):
        supervisor.observe(alarm(name, stamp=1), 0)
    assert supervisor.decide(0).mode is NOMINAL
    supervisor.forget_alarms(Cause(CauseKind.SENDER_LOST), 1)
    decision = supervisor.decide(1)
    assert decision.mode is STOP
    assert "no longer alive" in sentence(decision.cause)
    supervisor.observe(alarm("front", stamp=2), 2)
    assert supervisor.decide(2).mode is STOP
    supervisor.observe(alarm("left", stamp=2), 3)
    assert supervisor.decide(3).mode is NOMINAL


@pytest.mark.parametrize("cause", ["raised", "silence", "gone", "contradiction"])
def test_a_camera_that_called_for_a_stop_releases_it_only_by_being_clear(cause):
    """PENDING after a stop does not let the vehicle move, though the camera was clear before it."""
    supervisor = make("front", alarm_timeout_s=0.5)
    supervisor.observe(alarm("front", stamp=1), 0)
    supervisor.observe(alarm("front", AlarmState.PENDING, stamp=2), SECOND // 10)
    assert supervisor.decide(SECOND // 10).mode is SLOW
    now = SECOND // 5
    if cause == "raised":
        supervisor.observe(alarm("front", AlarmState.RAISED, stamp=3), now)
    elif cause == "gone":
        supervisor.forget_alarms(Cause(CauseKind.SENDER_LOST), now)
    elif cause == "contradiction":
        supervisor.observe(alarm("front", stamp=3, score=9.0), now)
    else:
        now = 2 * SECOND
    assert supervisor.decide(now).mode is STOP
    supervisor.observe(alarm("front", AlarmState.PENDING, stamp=4), now)
    decision = supervisor.decide(now)
    assert decision.mode is STOP
    assert "it has not been clear since" in sentence(decision.cause)
    supervisor.observe(alarm("front", stamp=5), now)
    assert supervisor.decide(now).mode is NOMINAL
    supervisor.observe(alarm("front", AlarmState.PENDING, stamp=6), now)
    assert supervisor.decide(now).mode is SLOW


def test_two_processes_that_speak_for_one_camera_are_stop():
    """Whatever they say, for as long as both are heard; a process that was restarted is one, and two cameras may have two."""
    supervisor = make("front", "left", alarm_timeout_s=0.5)
    supervisor.observe(alarm("front", stamp=1, source="car:1"), 0)
    supervisor.observe(alarm("left", stamp=1, source="car:2"), 0)
    assert supervisor.decide(0).mode is NOMINAL
    supervisor.observe(alarm("front", stamp=2, source="car:2"), SECOND // 10)
    decision = supervisor.decide(SECOND // 10)
    assert decision.mode is STOP
    assert "2 processes speak for it (car:1, car:2)" in sentence(decision.cause)
    for step in range(2, 6):  # the first one falls silent
        supervisor.observe(alarm("front", stamp=2 + step, source="car:2"), step * SECOND // 10)
        supervisor.observe(alarm("left", stamp=2 + step, source="car:2"), step * SECOND // 10)
        assert supervisor.decide(step * SECOND // 10).mode is STOP
    supervisor.observe(alarm("front", stamp=9, source="car:2"), 6 * SECOND // 10)
    assert supervisor.decide(6 * SECOND // 10).mode is NOMINAL


def test_more_cameras_to_stop_than_are_required_are_refused():
    """Nothing that they see would stop the vehicle; optional ones do not count."""
    with pytest.raises(ConfigError, match=r"cameras_to_stop is 2, but 1 cameras are required"):
        make("front", cameras_to_stop=2)
    with pytest.raises(ConfigError, match="would stop the vehicle"):
        make("front", "rear", cameras_to_stop=2, optional_cameras=("rear",))
    make("front", "left", "rear", cameras_to_stop=2, optional_cameras=("rear",))


@pytest.mark.parametrize("before", ["nothing", "fault", "silence", "gone"])
def test_only_a_camera_that_was_clear_before_may_merely_slow(before):
    """Two cameras are needed to stop: one that is out of distribution slows, unless something else was wrong with it."""
    supervisor = make("front", "left", cameras_to_stop=2, alarm_timeout_s=0.5)
    now = SECOND
    if before != "nothing":
        supervisor.observe(alarm("front", stamp=1), now)
    if before == "fault":
        supervisor.observe(alarm("front", AlarmState.RAISED, stamp=2, is_fault=True), now)
    elif before == "gone":
        supervisor.forget_alarms(Cause(CauseKind.SENDER_LOST), now)
    elif before == "silence":
        now += SECOND
    supervisor.observe(alarm("left", stamp=3), now)
    supervisor.observe(alarm("front", AlarmState.RAISED, stamp=4), now)
    assert supervisor.decide(now).mode is STOP
    assert supervisor.reset(now) is not None
    supervisor.observe(alarm("front", stamp=5), now)
    supervisor.observe(alarm("front", AlarmState.RAISED, stamp=6), now)
    assert supervisor.decide(now).mode is SLOW
    supervisor.observe(alarm("left", AlarmState.RAISED, stamp=7), now)
    assert supervisor.decide(now).mode is STOP


def test_alarms_that_were_long_on_the_way_are_old():
    """The supervisor was stopped for 4 s; what it finds in its queue then is not fresh, and the next alarm is."""
    supervisor = make("front", alarm_timeout_s=0.5)
    for step in range(10):
        sent = SECOND + step * SECOND // 10
        supervisor.observe(alarm("front", stamp=sent, sent_ns=sent), sent + 777)
        assert supervisor.decide(sent + 777).mode is NOMINAL
    now = 6 * SECOND
    for step in range(10, 20):
        sent = SECOND + step * SECOND // 10
        supervisor.observe(alarm("front", stamp=sent, sent_ns=sent), now)
        assert supervisor.decide(now).mode is STOP
    supervisor.observe(alarm("front", stamp=now, sent_ns=now - 777), now)
    assert supervisor.decide(now).mode is NOMINAL


def test_the_same_frame_again_is_no_news():
    """A clear alarm that is repeated with one stamp grows old; a fault with that stamp counts."""
    supervisor = make("front", alarm_timeout_s=0.5)
    for step in range(4):
        supervisor.observe(alarm("front", stamp=5), step * SECOND // 5)
    assert supervisor.decide(3 * SECOND // 5).mode is STOP
    supervisor.observe(alarm("front", stamp=6), SECOND)
    supervisor.observe(alarm("front", AlarmState.RAISED, stamp=6, is_fault=True), SECOND)
    assert supervisor.decide(SECOND).mode is STOP


def test_a_stop_between_two_decisions_lasts_its_least_time():
    """Raised and clear within one message, and after a clock that ran back."""
    supervisor = make("front", min_stop_s=5.0)
    supervisor.observe(alarm("front", stamp=1), 10 * SECOND)
    assert supervisor.decide(10 * SECOND).mode is NOMINAL
    supervisor.observe(alarm("front", AlarmState.RAISED, stamp=2), 11 * SECOND)
    supervisor.observe(alarm("front", stamp=3), 11 * SECOND)
    assert supervisor.decide(11 * SECOND).mode is STOP
    supervisor.observe(alarm("front", stamp=4), 16 * SECOND)
    assert supervisor.decide(16 * SECOND).mode is NOMINAL
    supervisor.observe(alarm("front", stamp=5), 3 * SECOND)
    assert supervisor.decide(3 * SECOND).mode is STOP


def test_a_fault_slows_even_where_pending_does_not():
    """With slow_on_pending off a score above the threshold is waited for, a frame that cannot be judged is not."""
    supervisor = make("front", slow_on_pending=False)
    supervisor.observe(alarm("front", stamp=1), 0)
    supervisor.observe(alarm("front", AlarmState.PENDING, stamp=2), 0)
    assert supervisor.decide(0).mode is NOMINAL
    supervisor.observe(alarm("front", AlarmState.PENDING, stamp=3, is_fault=True), 0)
    assert supervisor.decide(0).mode is SLOW


LASTING = Cause(CauseKind.LASTING, "front", 1.5, 1.2)


def raised(kind: CauseKind, stamp: int, underlying: Cause | None = None) -> Alarm:
    """A RAISED alarm of the front camera with this cause."""
    return alarm("front", AlarmState.RAISED, stamp, cause=Cause(kind, "front", 1.5, 1.2, underlying=underlying))


@pytest.mark.parametrize("kind", [CauseKind.SUDDEN, CauseKind.LASTING])
@pytest.mark.parametrize("mode", [STOP, SLOW])
def test_each_path_has_a_policy_of_its_own(kind, mode):
    """By default both stop; either may slow instead, and the other one stops as before."""
    name = {CauseKind.SUDDEN: "on_sudden", CauseKind.LASTING: "on_lasting"}[kind]
    supervisor = make("front", **{name: mode.name.lower()})
    supervisor.observe(alarm("front"), 0)
    supervisor.observe(raised(kind, 2), 1)
    assert supervisor.decide(1).mode is mode
    assert supervisor.statuses(1)[0].is_ood
    other = CauseKind.LASTING if kind is CauseKind.SUDDEN else CauseKind.SUDDEN
    supervisor.observe(raised(other, 3), 2)
    assert supervisor.decide(2).mode is STOP


def test_a_lasting_alarm_does_not_release_a_stop():
    """Where a lasting alarm slows, it still takes a clear frame to end a stop, at the start and after a sudden alarm."""
    supervisor = make("front", on_lasting="slow")
    supervisor.observe(raised(CauseKind.LASTING, 1), 0)
    assert supervisor.decide(0).mode is STOP
    assert supervisor.decide(0).cause.kind is CauseKind.NOT_CLEARED
    supervisor.observe(alarm("front", stamp=2), 1)
    assert supervisor.decide(1).mode is NOMINAL
    supervisor.observe(raised(CauseKind.SUDDEN, 3), 2)
    supervisor.observe(raised(CauseKind.LASTING, 4), 3)
    assert supervisor.decide(3).mode is STOP
    supervisor.observe(alarm("front", stamp=5), 4)
    supervisor.observe(raised(CauseKind.LASTING, 6), 5)
    assert supervisor.decide(5).mode is SLOW


def test_a_single_fault_within_a_lasting_alarm_does_not_stop_where_that_slows():
    """The alarm stays RAISED because of what lasts; a fault that raises the alarm itself stops."""
    supervisor = make("front", on_lasting="slow")
    supervisor.observe(alarm("front"), 0)
    supervisor.observe(raised(CauseKind.LASTING, 2), 1)
    supervisor.observe(raised(CauseKind.BLACK, 3, underlying=LASTING), 2)
    assert supervisor.decide(2).mode is SLOW
    supervisor.observe(raised(CauseKind.BLACK, 4), 3)
    assert supervisor.decide(3).mode is STOP


def test_a_clear_alarm_whose_mean_is_too_high_is_not_trusted():
    """The numbers of both paths must agree with CLEAR."""
    supervisor = make("front")
    supervisor.observe(alarm("front", lasting_score=1.1, lasting_threshold=1.2), 0)
    assert supervisor.decide(0).mode is NOMINAL
    supervisor.observe(alarm("front", stamp=2, lasting_score=1.3, lasting_threshold=1.2), 1)
    assert supervisor.decide(1).cause.kind is CauseKind.CONTRADICTION
