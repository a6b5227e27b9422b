"""Alarm filter: hits and misses to states."""

from __future__ import annotations

from itertools import accumulate, cycle, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ls_ood_monitor.config import AlarmSettings
from ls_ood_monitor.core.alarm import RELEASE_SHARE, AlarmFilter, LastingLevels
from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import AlarmState
from ls_ood_monitor.wording import sentence


def run(story: str, trigger: int = 3, release: int = 2) -> str:
    """Feed g(ood), b(ad), f(ault), n(an) frames and return the states' first letters."""
    alarm_filter = AlarmFilter(AlarmSettings(trigger, release), "front")
    states = []
    for index, kind in enumerate(story):
        if kind == "f":
            alarm = alarm_filter.fault(index, Cause(CauseKind.UNREADABLE, detail="broken"))
        else:
            alarm = alarm_filter.update(index, {"g": 1.0, "b": 9.0, "n": float("nan")}[kind], 5.0)
        states.append(alarm.state.value[0])
    return "".join(states)


@pytest.mark.parametrize(
    ("story", "states"),
    [
        ("g", "C"),
        ("b", "P"),
        ("bbb", "PPR"),
        ("gbbg", "CPPC"),
        ("gbbbgg", "CPPRRC"),
        ("gbbbgbgg", "CPPRRRRC"),
        ("gbgbgb", "CPCPCP"),
        ("fff", "PPR"),
        ("gnnn", "CPPR"),
        ("gbfn", "CPPR"),
        ("gbbbgfgg", "CPPRRRRC"),
    ],
)
def test_states_follow_the_counts(story, states):
    """Three bad frames in a row raise, two good ones clear, one good frame ends a pending alarm; faults count as bad."""
    assert run(story) == states


def test_a_trigger_of_one_raises_at_once():
    """1 / 1 is immediate in both directions."""
    assert run("gbg", 1, 1) == "CRC"


@pytest.mark.parametrize(
    ("score", "threshold"), [(np.nan, 5.0), (np.inf, 5.0), (-np.inf, 5.0), (1.0, np.nan), (1.0, np.inf)]
)
def test_what_is_not_a_number_is_never_clear(score, threshold):
    """Scores and thresholds that are not finite are faults, whatever the comparison would say."""
    alarm = AlarmFilter(AlarmSettings(), "front").update(1, score, threshold)
    assert alarm.state is not AlarmState.CLEAR
    assert alarm.cause.kind.is_fault


def test_a_score_equal_to_the_threshold_is_in_distribution():
    """OoD is above the threshold, not at it: the calibrated quantile itself is a clean score."""
    assert AlarmFilter(AlarmSettings(), "front").update(1, 5.0, 5.0).state is AlarmState.CLEAR


def test_reasons_name_camera_and_values():
    """The sentence names the camera, the score, the threshold and the count."""
    reason = sentence(AlarmFilter(AlarmSettings(), "left").update(1, 9.0, 5.0).cause)
    assert "left" in reason
    assert "9.00" in reason
    assert "5.00" in reason
    assert "1 of 3" in reason


def test_a_held_alarm_says_what_it_is_held_for():
    """The last bad frame, or the loss, not only that the present frame is good; a later alarm has a reason of its own."""
    alarm_filter = AlarmFilter(AlarmSettings(1, 3), "front")
    alarm_filter.update(1, 9.0, 5.0)
    alarm_filter.fault(2, Cause(CauseKind.UNREADABLE, detail="the image is black"))
    held = "camera front: in distribution, score 1.00 within threshold 5.00; {} of 3 good frames to clear after: {}"
    assert sentence(alarm_filter.update(3, 1.0, 5.0).cause) == held.format(1, "the image is black")
    assert sentence(alarm_filter.update(4, 1.0, 5.0).cause) == held.format(2, "the image is black")
    alarm_filter.mark_unavailable(Cause(CauseKind.STALE, value=1.0, limit=0.5))
    assert sentence(alarm_filter.update(5, 1.0, 5.0).cause) == held.format(1, "no image for 1.0 s (limit 0.50 s)")


def test_random_stories_keep_the_rule():
    """Against the rule written out: RAISED exactly between `trigger` bad in a row and `release` good in a row."""
    random = np.random.default_rng(0)
    for _ in range(200):
        story = "".join(random.choice(list("gb"), size=40))
        trigger, release = (int(value) for value in random.integers(1, 5, 2))
        raised, expected = False, []
        for end in range(1, len(story) + 1):
            past = story[:end]
            if past.endswith("b" * trigger):
                raised = True
            elif raised and past.endswith("g" * release):
                raised = False
            expected.append("R" if raised else "C" if past[-1] == "g" else "P")
        assert run(story, trigger, release) == "".join(expected)


def test_reset_forgets():
    """After a reset an earlier alarm is no longer held."""
    alarm_filter = AlarmFilter(AlarmSettings(1, 5), "front")
    alarm_filter.update(1, 9.0, 5.0)
    alarm_filter.reset()
    assert alarm_filter.update(2, 1.0, 5.0).state is AlarmState.CLEAR


def test_three_unusable_frames_in_a_row_raise():
    """A frame that cannot be judged has no score to weigh: three in a row are an alarm."""
    alarm_filter = AlarmFilter(AlarmSettings(), "front")
    alarm_filter.update(1, 0.0, 1.0)
    states = [alarm_filter.fault(stamp, Cause(CauseKind.BLACK)).state for stamp in (2, 3, 4)]
    assert states == [AlarmState.PENDING, AlarmState.PENDING, AlarmState.RAISED]
    assert alarm_filter.fault(5, Cause(CauseKind.BLACK)).fault == "black"


@pytest.mark.parametrize("every", [2, 3])
def test_a_fault_that_comes_and_goes_raises_and_stays(every):
    """Every second or third frame black is a broken camera, though never three in a row."""
    alarm_filter = AlarmFilter(AlarmSettings(3, 5), "front")
    states = [
        alarm_filter.fault(index, Cause(CauseKind.BLACK)).state
        if index % every == 0
        else alarm_filter.update(index, 0.5, 1.0).state
        for index in range(1, 40)
    ]
    first = states.index(AlarmState.RAISED)
    assert first < 3 * every
    assert set(states[first:]) == {AlarmState.RAISED}


def test_a_rare_fault_does_not_raise():
    """One frame in five is told, and no more."""
    alarm_filter = AlarmFilter(AlarmSettings(3, 5), "front")
    for index in range(1, 60):
        if index % 5 == 0:
            assert alarm_filter.fault(index, Cause(CauseKind.BLACK)).state is AlarmState.PENDING
        else:
            assert alarm_filter.update(index, 0.5, 1.0).state is AlarmState.CLEAR


LEVELS = LastingLevels(threshold=2.0, clean_median=1.0)
SETTINGS = AlarmSettings(3, 5, lasting_window_s=4.0)


def drive(alarm_filter: AlarmFilter, scores, rate_hz: float, begin_s: float = 1.0) -> list:
    """Alarms along scores (None = a black frame) against a threshold of 5, at a frame rate."""
    alarms = []
    for index, score in enumerate(scores):
        stamp_ns = round((begin_s + index / rate_hz) * 1e9)
        alarms.append(
            alarm_filter.fault(stamp_ns, Cause(CauseKind.BLACK))
            if score is None
            else alarm_filter.update(stamp_ns, score, 5.0)
        )
    return alarms


@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 30.0])
def test_a_lasting_score_raises_after_the_same_time_at_every_frame_rate(rate_hz):
    """After a step from 1 to 4 the median crosses 2 when more than half of the window of 4 s is above."""
    scores = [1.0] * round(2 * rate_hz) + [4.0] * round(3 * rate_hz)
    alarms = drive(AlarmFilter(SETTINGS, "front", LEVELS), scores, rate_hz)
    raised = next(index for index, alarm in enumerate(alarms) if alarm.state is AlarmState.RAISED)
    after_s = (raised + 1) / rate_hz - 2.0
    assert 2.0 < after_s <= 2.0 + 1.5 / rate_hz
    alarm = alarms[raised]
    assert (alarm.cause.kind, alarm.cause.value, alarm.cause.limit) == (CauseKind.LASTING, alarm.lasting_score, 2.0)
    assert "for seconds" in sentence(alarm.cause)
    assert all(entry.state is AlarmState.CLEAR for entry in alarms[:raised])


def test_the_median_is_that_of_numpy():
    """At an even frame rate with an odd number of frames in the window: the median of the last scores, clean ones before."""
    scores = np.random.default_rng(0).normal(1.5, 3.0, 300)
    alarms = drive(AlarmFilter(AlarmSettings(3, 5, lasting_window_s=3.1), "front", LEVELS), scores, 10.0)
    padded = np.concatenate([np.full(31, 1.0), scores[1:]])  # how long the first frame has lasted is not known
    expected = np.median(np.lib.stride_tricks.sliding_window_view(padded, 31), axis=1)
    np.testing.assert_array_equal([alarm.lasting_score for alarm in alarms], expected)


def test_frames_count_with_the_time_that_they_stand_for():
    """Uneven frames: the weighted median of numpy's inverted distribution over the last 4 s."""
    random = np.random.default_rng(1)
    steps, scores = random.uniform(0.2, 0.4, 200), random.normal(size=200)
    times = 1.0 + np.cumsum(steps)
    alarm_filter = AlarmFilter(SETTINGS, "front", LEVELS)
    found = [
        alarm_filter.update(round(time * 1e9), score, 9.0).lasting_score
        for time, score in zip(times, scores, strict=True)
    ]
    for index in range(50, 200):
        begins = np.maximum(times - steps, times[index] - 4.0)[: index + 1]
        weights = np.maximum(times[: index + 1] - begins, 0.0)
        expected = np.quantile(scores[: index + 1], 0.5, weights=weights, method="inverted_cdf")
        assert found[index] == expected


def test_a_burst_does_not_last():
    """A second of scores of any height raises the sudden path alone, and no longer than its five good frames."""
    alarms = drive(AlarmFilter(SETTINGS, "front", LastingLevels(4.0, 1.0)), [1.0] * 10 + [99.0] * 10 + [1.0] * 10, 10.0)
    assert {alarm.cause.kind for alarm in alarms} == {CauseKind.SUDDEN, CauseKind.IN_DISTRIBUTION}
    assert alarms[24].state is AlarmState.CLEAR


def test_a_drastic_disturbance_is_forgotten_soon():
    """The median is clean again when half of the window is, however high the scores were."""
    alarms = drive(AlarmFilter(SETTINGS, "front", LEVELS), [1e9] * 100 + [1.0] * 100, 10.0)
    clear = next(index for index, alarm in enumerate(alarms) if alarm.state is AlarmState.CLEAR)
    assert (clear - 99) / 10.0 == pytest.approx(2.0, abs=0.1)
    assert alarms[clear - 1].cause.kind is CauseKind.LASTING


def test_it_clears_well_below_its_threshold():
    """Between the release level 1.9 and the threshold 2 a raised alarm stays, and a clear one stays clear."""
    between = [1.0 + 1.5 * (1.0 + RELEASE_SHARE) / 2.0 / 1.5] * 80
    raised = drive(AlarmFilter(SETTINGS, "front", LEVELS), [1.0] + [4.0] * 40 + between, 10.0)[-1]
    assert (raised.state, raised.cause.kind) == (AlarmState.RAISED, CauseKind.LASTING)
    assert drive(AlarmFilter(SETTINGS, "front", LEVELS), between, 10.0)[-1].state is AlarmState.CLEAR


def test_gaps_and_faults_neither_clear_nor_raise_a_lasting_alarm():
    """After a gap of a minute a frame counts as two at most, and frames that cannot be judged do not change the median."""
    alarm_filter = AlarmFilter(SETTINGS, "front", LEVELS)
    raised = drive(alarm_filter, [1.0] + [4.0] * 22, 10.0)[-1]
    fault = drive(alarm_filter, [None], 10.0, begin_s=4.0)[0]
    assert (fault.state, fault.fault, fault.lasting_score) == (AlarmState.RAISED, "black", raised.lasting_score)
    assert fault.cause.underlying.kind is CauseKind.LASTING
    # 2.2 s of 4 are high, and a clean frame pushes out what is clean: it takes 0.3 s of high scores to leave.
    assert drive(alarm_filter, [1.0], 10.0, begin_s=63.0)[0].lasting_score == 4.0
    after = drive(alarm_filter, [1.0] * 30, 10.0, begin_s=63.1)
    assert next(index for index, alarm in enumerate(after) if alarm.lasting_score == 1.0) == 17
    fresh = AlarmFilter(AlarmSettings(3, 5, lasting_window_s=0.1), "front", LEVELS)
    assert drive(fresh, [4.0], 10.0)[0].lasting_score == 1.0  # how long the first frame has lasted is not known
    assert drive(fresh, [4.0], 10.0, begin_s=0.5)[0].lasting_score == 1.0  # a stamp that goes back adds nothing
    assert drive(fresh, [4.0], 10.0, begin_s=0.6)[0].lasting_score == 4.0


@given(st.lists(st.integers(1, 200), min_size=1, max_size=8).filter(lambda steps: max(steps) >= 20))
def test_uneven_stamps_do_not_slow_the_lasting_alarm(steps_ms):
    """Whatever the rhythm, scores that stay high raise after half of the window of 4 s and two of the longest steps."""
    alarm_filter = AlarmFilter(SETTINGS, "front", LEVELS)
    times_ms = list(accumulate(islice(cycle(steps_ms), 12 * 1000 // min(steps_ms) + 20)))
    begin_ms = next(at_ms for at_ms in times_ms if at_ms > 2 * sum(steps_ms) + 1000)
    for at_ms in times_ms:
        alarm = alarm_filter.update(at_ms * 1_000_000, 1.0 if at_ms < begin_ms else 4.0, 5.0)
        if alarm.state is AlarmState.RAISED:
            assert 2000 - max(steps_ms) <= at_ms - begin_ms <= 2000 + 2 * max(steps_ms)
            return
        assert at_ms - begin_ms <= 2000 + 2 * max(steps_ms)


def test_a_sudden_alarm_keeps_its_cause_while_the_median_is_high():
    """As long as the sudden path is raised it is the cause; the lasting path takes over when its good frames are counted."""
    settings = AlarmSettings(3, 5, lasting_window_s=1.0)
    alarms = drive(AlarmFilter(settings, "front", LEVELS), [1.0] * 10 + [9.0] * 10 + [3.0] * 30, 10.0)
    kinds = [alarm.cause.kind for alarm in alarms[12:]]
    assert kinds[:8] == [CauseKind.SUDDEN] * 8
    assert kinds[8:12] == [CauseKind.IN_DISTRIBUTION] * 4
    assert alarms[20].cause.underlying.kind is CauseKind.SUDDEN
    assert kinds[12:] == [CauseKind.LASTING] * 26
    assert all(alarm.state is AlarmState.RAISED for alarm in alarms[12:])


def test_without_levels_there_is_no_lasting_path():
    """A bundle without a lasting threshold alarms by frames alone."""
    alarm = drive(AlarmFilter(SETTINGS, "front"), [4.9] * 100, 10.0)[-1]
    assert alarm.state is AlarmState.CLEAR
    assert np.isnan(alarm.lasting_threshold)


def test_reset_forgets_what_lasted():
    """After a reset the window is full of the clean median."""
    alarm_filter = AlarmFilter(SETTINGS, "front", LEVELS)
    drive(alarm_filter, [4.0] * 100, 10.0)
    alarm_filter.reset()
    assert drive(alarm_filter, [1.0], 10.0)[0].state is AlarmState.CLEAR
