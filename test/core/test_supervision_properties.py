"""Alarm and supervisor under sequences that nobody thought of; the rules are stated here, not taken from the code."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ls_ood_monitor.config import AlarmSettings, SupervisorSettings
from ls_ood_monitor.core.alarm import AlarmFilter, LastingLevels
from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.supervision import Supervisor
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode
from ls_ood_monitor.wording import sentence

CAMERAS = ("front", "left", "rear")
OPTIONAL = "rear"
REQUIRED = ("front", "left")
TIMEOUT_NS = 500_000_000
MIN_STOP_NS = 200_000_000
NUMBERS = st.one_of(st.floats(), st.sampled_from([nan, inf, -inf, 0.0]))
STATES = st.sampled_from(list(AlarmState))


def cause(is_fault: bool = False) -> Cause:
    """Of a frame that was judged, or could not be."""
    return Cause(CauseKind.BLACK if is_fault else CauseKind.SUDDEN)


class SupervisorMachine(RuleBasedStateMachine):
    """Arbitrary alarms, times, resets and losses against what must hold whatever came before.

    What must hold is kept here in a few words a camera, not taken from the supervisor.
    """

    options: dict[str, object] = {}  # noqa: RUF012 - each machine below has its own

    def __init__(self) -> None:
        super().__init__()
        self.settings = SupervisorSettings(
            alarm_timeout_s=TIMEOUT_NS / 1e9,
            optional_cameras=(OPTIONAL,),
            min_stop_s=MIN_STOP_NS / 1e9,
            **self.options,  # type: ignore[arg-type]
        )
        self.supervisor, self.twin = (Supervisor(self.settings, CAMERAS) for _ in range(2))
        self.now_ns = 10**12
        self.stamp_ns = 1
        self.forget_all()
        self.mode: FallbackMode | None = None
        self.stop_began_ns = 0
        self.was_released = self.incident = False
        self.lasting_slows = self.settings.on_lasting == "slow"

    def forget_all(self) -> None:
        """Nothing heard, nobody clear."""
        self.last: dict[str, tuple[Alarm, int]] = {}
        self.newest: dict[str, int] = {}
        self.spoke: dict[str, dict[str, int]] = {camera: {} for camera in CAMERAS}
        self.cleared: set[str] = set()
        self.strayed: set[str] = set()
        self.intruded_ns = -(10**18)

    def tell(self, alarm: object) -> None:
        """Both supervisors hear the same; what they decide may depend on nothing else."""
        self.supervisor.observe(alarm, self.now_ns)  # type: ignore[arg-type]
        self.twin.observe(alarm, self.now_ns)  # type: ignore[arg-type]

    def hear(self, alarm: Alarm) -> None:
        """Keep what an alarm of a configured camera means, and tell it."""
        camera = alarm.camera
        self.spoke[camera][alarm.source] = self.now_ns
        is_old = 0 < alarm.stamp_ns < self.newest.get(camera, 0)
        is_repeated = alarm.state is AlarmState.CLEAR and alarm.stamp_ns == self.newest.get(camera)
        if alarm.stamp_ns > 0 and (is_old or not alarm.cause.kind.is_fault):
            self.newest[camera] = alarm.stamp_ns
        if not is_repeated:
            kept = replace(alarm, state=AlarmState.RAISED, cause=cause(is_fault=True)) if is_old else alarm
            self.last[camera] = (kept, self.now_ns)
            was_clear = camera in self.cleared
            is_odd = alarm.state is AlarmState.RAISED and not alarm.cause.kind.is_fault and not is_old
            is_lasting = is_odd and alarm.cause.kind is CauseKind.LASTING
            is_pending = (alarm.state is AlarmState.PENDING and not is_old) or (is_lasting and self.lasting_slows)
            is_odd = is_odd and not is_pending
            if is_old or not (is_odd or is_pending or is_good(alarm)) or len(self.speakers(camera)) > 1:
                self.distrust(camera)
            elif is_good(alarm):
                self.cleared.add(camera)
                self.strayed.discard(camera)
            elif is_odd:
                self.cleared.discard(camera)
                if was_clear:
                    self.strayed.add(camera)
            elif camera in self.strayed:  # pending after a stop
                self.distrust(camera)
        self.tell(alarm)

    def distrust(self, camera: str) -> None:
        """It called for a stop by something else than what it sees."""
        self.cleared.discard(camera)
        self.strayed.discard(camera)

    def speakers(self, camera: str) -> list[str]:
        """Sources heard of a camera lately."""
        return [source for source, at_ns in self.spoke[camera].items() if self.now_ns - at_ns <= TIMEOUT_NS]

    @rule(camera=st.sampled_from(CAMERAS))
    def clear(self, camera: str) -> None:
        """A good frame."""
        self.stamp_ns += 1
        self.hear(Alarm(camera, self.stamp_ns, AlarmState.CLEAR, 1.0, 2.0, cause(), source="a"))

    @rule(frames=st.integers(1, 8), judged=st.booleans())
    def all_is_well(self, frames: int, judged: bool) -> None:
        """Good frames of every camera for a while: without them hardly any story is ever released."""
        for _ in range(frames):
            self.now_ns += 100_000_000
            for camera in CAMERAS:
                self.clear(camera)
            if judged:
                self.the_promises()

    @rule(camera=st.sampled_from(CAMERAS))
    def strange(self, camera: str) -> None:
        """Out of distribution, judged."""
        self.stamp_ns += 1
        self.hear(Alarm(camera, self.stamp_ns, AlarmState.RAISED, 3.0, 2.0, cause(), source="a"))

    @rule(camera=st.sampled_from(CAMERAS))
    def lasting(self, camera: str) -> None:
        """Out of distribution for seconds."""
        self.stamp_ns += 1
        self.hear(Alarm(camera, self.stamp_ns, AlarmState.RAISED, 1.0, 2.0, Cause(CauseKind.LASTING), source="a"))

    @rule(
        camera=st.sampled_from(CAMERAS),
        state=STATES,
        score=NUMBERS,
        threshold=NUMBERS,
        back=st.integers(0, 3),
        is_fault=st.booleans(),
        source=st.sampled_from(["a", "a", "b"]),
    )
    def anything(self, camera, state, score, threshold, back, is_fault, source) -> None:
        """Any alarm that can be built, old stamps and a second process included."""
        self.stamp_ns += 1
        self.hear(Alarm(camera, self.stamp_ns - back, state, score, threshold, cause(is_fault), source))

    @rule(
        thing=st.one_of(
            st.none(),
            st.integers(),
            st.text(),
            st.just(Alarm("periscope", 1, AlarmState.CLEAR, 0, 1, Cause(CauseKind.BLACK))),
        )
    )
    def intrusion(self, thing: object) -> None:
        """Something that is no alarm, or one of a camera that nobody configured."""
        self.intruded_ns = self.now_ns
        self.tell(thing)

    @rule(camera=st.sampled_from(REQUIRED), is_fault=st.booleans())
    def pending(self, camera: str, is_fault: bool) -> None:
        """Not sure yet."""
        self.stamp_ns += 1
        self.hear(Alarm(camera, self.stamp_ns, AlarmState.PENDING, 3.0, 2.0, cause(is_fault), "a"))

    @rule(camera=st.sampled_from(REQUIRED), state=STATES, source=st.sampled_from(["a", "b"]), back=st.integers(0, 5))
    def a_good_number(self, camera: str, state: AlarmState, source: str, back: int) -> None:
        """An alarm that is fine but for its state, its sender or its age."""
        self.hear(Alarm(camera, max(1, self.stamp_ns - back), state, 1.0, 2.0, cause(), source=source))

    @rule(step_s=st.sampled_from([0.01, 0.02, 0.05, 0.1, 0.3, 0.6]))
    def time_passes(self, step_s: float) -> None:
        """The caller's clock goes on; whoever was silent for too long is not trusted any more."""
        self.now_ns += round(step_s * 1e9)
        for camera in CAMERAS:
            if not self.is_fresh(camera):
                self.distrust(camera)

    @rule(step_s=st.sampled_from([0.0, 0.0, 0.0, 0.001, 500.0]))
    def the_clock_runs_back(self, step_s: float) -> None:
        """Everything is to be heard again."""
        if step_s == 0.0:  # not too often, or nothing else happens
            return
        self.now_ns -= round(step_s * 1e9)
        self.forget_all()
        assert self.supervisor.decide(self.now_ns).mode is FallbackMode.STOP
        self.twin.decide(self.now_ns)
        self.stop_began_ns = self.now_ns
        self.mode = FallbackMode.STOP
        self.incident = self.incident or self.was_released

    @rule()
    def the_sender_is_gone(self) -> None:
        """Liveliness was lost."""
        self.last.clear()
        for camera in CAMERAS:
            self.distrust(camera)
        self.supervisor.forget_alarms(Cause(CauseKind.SENDER_LOST), self.now_ns)
        self.twin.forget_alarms(Cause(CauseKind.SENDER_LOST), self.now_ns)

    @rule()
    def somebody_resets(self) -> None:
        """A reset is granted only when nothing calls for a stop."""
        granted = self.supervisor.reset(self.now_ns) is None
        assert (self.twin.reset(self.now_ns) is None) == granted
        if granted:
            assert self.may_move()
            self.incident = False

    def is_fresh(self, camera: str) -> bool:
        """Whether the camera was heard within the timeout."""
        return camera in self.last and self.now_ns - self.last[camera][1] <= TIMEOUT_NS

    def may_move(self) -> bool:
        """Whether SLOW is allowed at all, by the rules of docs/safety.md."""
        if self.now_ns - self.intruded_ns <= TIMEOUT_NS:
            return False
        odd = 0
        for camera in REQUIRED:
            if not self.is_fresh(camera) or len(self.speakers(camera)) > 1:
                return False
            if camera in self.strayed:
                odd += 1
            elif camera not in self.cleared and not is_good(self.last[camera][0]):
                return False
        return odd < self.settings.cameras_to_stop

    @invariant()
    def the_promises(self) -> None:
        """Never NOMINAL unless all is well, STOP whenever it must be, for its least time, and until a reset if it latches."""
        decision, other = self.supervisor.decide(self.now_ns), self.twin.decide(self.now_ns)
        assert decision == other  # no hidden clock, no chance
        assert sentence(decision.cause)
        if decision.mode is FallbackMode.NOMINAL:
            assert all(self.is_fresh(camera) for camera in CAMERAS)
            for camera in CAMERAS:
                alarm = self.last[camera][0]
                waits = (
                    not self.settings.slow_on_pending
                    and alarm.state is AlarmState.PENDING
                    and not alarm.cause.kind.is_fault
                )
                assert is_good(alarm) or waits
        if decision.mode < FallbackMode.STOP:
            assert self.may_move()
            if self.mode is FallbackMode.STOP:
                assert self.now_ns - self.stop_began_ns >= MIN_STOP_NS
            assert not (self.settings.stop_requires_reset and self.incident)
            self.was_released = True
        elif self.was_released and not self.may_move():
            self.incident = True
        if decision.mode is FallbackMode.STOP and self.mode is not FallbackMode.STOP:
            self.stop_began_ns = self.now_ns
        self.mode = decision.mode


def is_good(alarm: Alarm) -> bool:
    """Whether an alarm says CLEAR by its own numbers."""
    clear = alarm.state is AlarmState.CLEAR and not alarm.cause.kind.is_fault and alarm.stamp_ns > 0
    return clear and -inf < alarm.score <= alarm.threshold < inf


def machine(**options: object) -> type:
    """The test of a machine with these settings."""
    kind = type("Machine", (SupervisorMachine,), {"options": options})
    kind.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None, derandomize=True)
    return kind.TestCase


TestSupervisor = machine()
TestLatchingSupervisor = machine(stop_requires_reset=True)
TestTwoCamerasToStop = machine(cameras_to_stop=2)
TestPendingDoesNotSlow = machine(slow_on_pending=False)
TestLastingSlows = machine(on_lasting="slow")


@settings(deadline=None, derandomize=True)
@given(story=st.lists(st.one_of(st.none(), NUMBERS), max_size=60), trigger=st.integers(1, 4), release=st.integers(1, 4))
def test_an_alarm_is_clear_only_after_a_good_frame(story, trigger, release):
    """CLEAR only when the frame is good and the median low; RAISED is left only after enough good frames in a row."""
    levels = LastingLevels(threshold=0.5, clean_median=0.0)
    alarm_filter = AlarmFilter(AlarmSettings(trigger, release), "front", levels)
    good_in_a_row, bad_in_a_row, before = 0, 0, None
    for stamp, score in enumerate(story, 1):
        alarm = (
            alarm_filter.fault(stamp * 10**8, Cause(CauseKind.BLACK))
            if score is None
            else alarm_filter.update(stamp * 10**8, score, 1.0)
        )
        good = score is not None and -inf < score <= 1.0
        good_in_a_row = good_in_a_row + 1 if good else 0
        bad_in_a_row = 0 if good else bad_in_a_row + 1
        if alarm.state is AlarmState.CLEAR:
            assert good
            assert alarm.lasting_score <= alarm.lasting_threshold
        if before is not None and before.state is AlarmState.RAISED is not alarm.state:
            assert alarm.state is AlarmState.CLEAR or before.cause.kind is CauseKind.LASTING
            assert good_in_a_row >= release or before.cause.kind is CauseKind.LASTING
        if bad_in_a_row >= trigger or alarm.lasting_score > alarm.lasting_threshold:
            assert alarm.state is AlarmState.RAISED
        assert alarm.lasting_score <= 1.0
        before = alarm
