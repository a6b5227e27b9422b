"""Alarm filter: hits and misses to states."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.config import AlarmSettings
from ls_ood_monitor.core.alarm import AlarmFilter, alarm_onsets
from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import AlarmState
from ls_ood_monitor.errors import ConfigError
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
    assert alarm.is_fault


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


@pytest.mark.parametrize(("trigger", "release"), [(1, 1), (3, 5), (2, 4)])
def test_onsets_of_a_whole_record_are_those_of_the_filter(trigger, release):
    """Counting over a record at once finds the frames at which the filter goes to RAISED."""
    random = np.random.default_rng(trigger)
    for share in (0.0, 0.2, 0.6, 1.0):
        bad = random.random(400) < share
        states = run("".join("gb"[int(flag)] for flag in bad), trigger, release)
        expected = [index for index in range(400) if states[index] == "R" and (index == 0 or states[index - 1] != "R")]
        assert alarm_onsets(bad, 0.5, AlarmSettings(trigger, release)).tolist() == expected


def states_of(scores, settings: AlarmSettings, clean_median: float = 0.0) -> str:
    """First letters of the states along scores against a threshold of 1."""
    alarm_filter = AlarmFilter(settings, "front", clean_median)
    return "".join(alarm_filter.update(index, score, 1.0).state.value[0] for index, score in enumerate(scores, 1))


def test_good_frames_between_do_not_start_a_window_again():
    """Three bad of the last five raise; bad frames farther apart do not; what is left in the window keeps it PENDING."""
    settings = AlarmSettings(3, 2, rule="window", window_frames=5)
    assert states_of([0, 2, 0, 2, 0, 2], settings) == "CPPPPR"
    assert states_of([2, 0, 0, 2, 0, 0, 2], settings) == "PPPPPPP"
    assert states_of([2, 0, 0, 0, 0, 0], settings) == "PPPPPC"
    assert states_of([2, 2, 2, 0, 0, 0], settings) == "PPRRCC"


def test_a_cumulative_sum_weighs_frames_by_their_excess():
    """Usual 0, threshold 1: a score of 1.25 adds a quarter, one of 0 takes one off, and one frame is half an alarm at most."""
    settings = AlarmSettings(3, 2, rule="cusum", cusum_limit=1.0)
    assert states_of([1.25] * 4, settings) == "PPPR"
    assert states_of([1.25, 1.25, 0.0, 1.25], settings) == "PPCP"
    assert states_of([99.0, 99.0], settings) == "PR"
    assert states_of([99.0, 0.0, 99.0, 0.9, 99.0, 1.1], settings) == "PCPPPR"
    assert states_of([1.5, 0.75, 1.5], settings) == "PPP"


def test_a_cumulative_sum_against_the_textbook():
    """Page's recursion S = max(0, S + x), written out with numpy, raises at the same frame."""
    random = np.random.default_rng(3)
    for _ in range(50):
        scores = random.normal(0.6, 0.6, 200)
        steps = np.minimum((scores - 1.0) / (1.0 - 0.2), 0.75)
        total, first = 0.0, None
        for index, step in enumerate(steps):
            total = max(0.0, total + step)
            if total >= 1.5:
                first = index
                break
        onsets = alarm_onsets(scores, 1.0, AlarmSettings(rule="cusum", cusum_limit=1.5), 0.2)
        assert (onsets[0] if len(onsets) else None) == first


@pytest.mark.parametrize("rule", ["consecutive", "window", "cusum"])
def test_as_many_unusable_frames_in_a_row_raise_by_every_rule(rule):
    """A frame that cannot be judged has no score to weigh: three in a row are an alarm."""
    alarm_filter = AlarmFilter(AlarmSettings(rule=rule), "front", 0.0)
    alarm_filter.update(1, 0.0, 1.0)
    states = [alarm_filter.fault(stamp, Cause(CauseKind.BLACK)).state for stamp in (2, 3, 4)]
    assert states == [AlarmState.PENDING, AlarmState.PENDING, AlarmState.RAISED]
    assert alarm_filter.fault(5, Cause(CauseKind.BLACK)).fault == "black"


def test_a_cumulative_sum_needs_a_usual_score():
    """A bundle that does not hold one is refused in a sentence, not used with a made-up unit."""
    with pytest.raises(ConfigError, match="median clean score"):
        AlarmFilter(AlarmSettings(rule="cusum"), "front")


@pytest.mark.parametrize("rule", ["window", "cusum"])
def test_onsets_by_every_rule_are_those_of_the_filter(rule):
    """Counting over a record at once finds the frames at which the filter goes to RAISED."""
    settings = AlarmSettings(2, 3, rule=rule, window_frames=4)
    scores = np.random.default_rng(1).normal(0.8, 0.5, 500)
    states = states_of(scores, settings)
    expected = [index for index in range(500) if states[index] == "R" and (index == 0 or states[index - 1] != "R")]
    assert expected
    assert alarm_onsets(scores, 1.0, settings, 0.0).tolist() == expected


@pytest.mark.parametrize("rule", ["consecutive", "window", "cusum"])
@pytest.mark.parametrize("every", [2, 3])
def test_a_fault_that_comes_and_goes_raises_and_stays(rule, every):
    """Every second or third frame black is a broken camera by any rule, though never three in a row."""
    alarm_filter = AlarmFilter(AlarmSettings(3, 5, rule=rule), "front", 0.0)
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
