"""Alarm and supervisor under sequences that nobody thought of; the rules are stated here, not taken from the code."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ls_ood_monitor.config import AlarmSettings, SupervisorSettings
from ls_ood_monitor.core.alarm import AlarmFilter
from ls_ood_monitor.core.health import Fault, Finding
from ls_ood_monitor.core.supervision import Supervisor
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode

CAMERAS = ("front", "left", "rear")
OPTIONAL = "rear"
TIMEOUT_S = 0.5
NUMBERS = st.one_of(st.floats(), st.sampled_from([nan, inf, -inf, 0.0]))
STATES = st.sampled_from(list(AlarmState))


class SupervisorMachine(RuleBasedStateMachine):
    """Arbitrary alarms, times, resets and losses against what must hold whatever came before."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = SupervisorSettings(
            alarm_timeout_s=TIMEOUT_S, optional_cameras=(OPTIONAL,), min_stop_s=0.2, stop_requires_reset=self.latches
        )
        self.supervisor, self.twin = (Supervisor(self.settings, CAMERAS) for _ in range(2))
        self.now_ns = 1
        self.stamp_ns = 1
        self.last: dict[str, tuple[Alarm, int]] = {}

    latches = False

    def tell(self, alarm: object) -> None:
        """Both supervisors hear the same; what they decide may depend on nothing else."""
        self.supervisor.observe(alarm, self.now_ns)  # type: ignore[arg-type]
        self.twin.observe(alarm, self.now_ns)  # type: ignore[arg-type]

    @rule(camera=st.sampled_from(CAMERAS))
    def clear(self, camera: str) -> None:
        """A good frame."""
        self.stamp_ns += 1
        alarm = Alarm(camera, self.stamp_ns, AlarmState.CLEAR, 1.0, 2.0, "good")
        self.last[camera] = (alarm, self.now_ns)
        self.tell(alarm)

    @rule(
        camera=st.sampled_from((*CAMERAS, "periscope")),
        state=STATES,
        score=NUMBERS,
        threshold=NUMBERS,
        back=st.integers(0, 3),
        is_fault=st.booleans(),
    )
    def anything(self, camera, state, score, threshold, back, is_fault) -> None:
        """Any alarm that can be built, old stamps included."""
        self.stamp_ns += 1
        alarm = Alarm(camera, self.stamp_ns - back, state, score, threshold, "any", is_fault)
        self.last[camera] = (alarm, self.now_ns)
        self.tell(alarm)

    @rule(thing=st.one_of(st.none(), st.integers(), st.text(), st.binary()))
    def nonsense(self, thing: object) -> None:
        """Something that is no alarm."""
        self.tell(thing)

    @rule(step_s=st.sampled_from([0.01, 0.1, 0.3, 0.6, 5.0]))
    def time_passes(self, step_s: float) -> None:
        """The caller's clock goes on."""
        self.now_ns += round(step_s * 1e9)

    @rule()
    def the_sender_is_gone(self) -> None:
        """Liveliness was lost."""
        self.last.clear()
        self.supervisor.forget("gone", self.now_ns)
        self.twin.forget("gone", self.now_ns)

    @rule()
    def somebody_resets(self) -> None:
        """A reset is granted only when no camera calls for a stop."""
        granted, _ = self.supervisor.reset(self.now_ns)
        assert self.twin.reset(self.now_ns)[0] == granted
        if any(not self.is_fresh_and_good(camera) for camera in CAMERAS if camera != OPTIONAL):
            wrong = [camera for camera in CAMERAS if camera != OPTIONAL and not self.is_pending_at_worst(camera)]
            assert not (granted and wrong)

    def is_fresh_and_good(self, camera: str) -> bool:
        """Whether the camera's last alarm says CLEAR by its own numbers and is not too old."""
        if camera not in self.last:
            return False
        alarm, at_ns = self.last[camera]
        good = alarm.state is AlarmState.CLEAR and not alarm.is_fault and alarm.score <= alarm.threshold < inf
        return good and alarm.score > -inf and self.now_ns - at_ns <= TIMEOUT_S * 1e9

    def is_pending_at_worst(self, camera: str) -> bool:
        """Whether the camera's last alarm is fresh, and CLEAR or PENDING."""
        alarm, at_ns = self.last.get(camera, (None, 0))
        fresh = alarm is not None and self.now_ns - at_ns <= TIMEOUT_S * 1e9
        return fresh and alarm.state is not AlarmState.RAISED

    @invariant()
    def never_nominal_unless_every_required_camera_is_fresh_and_clear(self) -> None:
        """The one promise of the whole package."""
        decision = self.supervisor.decide(self.now_ns)
        assert decision.reason
        if decision.mode is FallbackMode.NOMINAL:
            assert all(self.is_fresh_and_good(camera) for camera in CAMERAS)
        if decision.mode < FallbackMode.STOP:
            assert all(self.is_pending_at_worst(camera) for camera in CAMERAS if camera != OPTIONAL)

    @invariant()
    def the_same_inputs_give_the_same_decision(self) -> None:
        """No hidden clock, no chance."""
        ours, other = self.supervisor.decide(self.now_ns), self.twin.decide(self.now_ns)
        assert ours == other

    @invariant()
    def silence_always_ends_in_stop(self) -> None:
        """Whatever was heard: without a further alarm it is STOP after the timeout (asked of a copy of the clock's time)."""
        if not any(self.now_ns - at_ns <= TIMEOUT_S * 1e9 for _, at_ns in self.last.values()):
            assert self.supervisor.decide(self.now_ns).mode is FallbackMode.STOP


class LatchingMachine(SupervisorMachine):
    """The same promises with a latch."""

    latches = True


SupervisorMachine.TestCase.settings = LatchingMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True
)
TestSupervisor = SupervisorMachine.TestCase
TestLatchingSupervisor = LatchingMachine.TestCase


@pytest.mark.parametrize("rule_name", ["consecutive", "window", "cusum"])
@settings(deadline=None, derandomize=True)
@given(story=st.lists(st.one_of(st.none(), NUMBERS), max_size=60), trigger=st.integers(1, 4), release=st.integers(1, 4))
def test_an_alarm_is_clear_only_after_a_good_frame(rule_name, story, trigger, release):
    """By every rule: CLEAR only when the frame itself is good; RAISED is left only after enough good frames in a row."""
    options = AlarmSettings(trigger, release, rule=rule_name, window_frames=max(5, trigger))
    alarm_filter = AlarmFilter(options, "front", usual=0.0)
    good_in_a_row, bad_in_a_row, before = 0, 0, AlarmState.PENDING
    for stamp, score in enumerate(story, 1):
        alarm = (
            alarm_filter.fault(stamp, Finding(Fault.BLACK, "black"))
            if score is None
            else alarm_filter.update(stamp, score, 1.0)
        )
        good = score is not None and -inf < score <= 1.0
        good_in_a_row = good_in_a_row + 1 if good else 0
        bad_in_a_row = 0 if good else bad_in_a_row + 1
        if alarm.state is AlarmState.CLEAR:
            assert good
        if before is AlarmState.RAISED and alarm.state is not AlarmState.RAISED:
            assert alarm.state is AlarmState.CLEAR
            assert good_in_a_row >= release
        if rule_name != "cusum" and bad_in_a_row >= trigger:
            assert alarm.state is AlarmState.RAISED
        before = alarm.state
