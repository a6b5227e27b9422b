"""What is said of a summary: the verdict in a sentence, in good grammar, and nothing about what was not there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ls_ood_monitor.core.intervals import EventRate
from ls_ood_monitor.evaluation.pool import pool
from ls_ood_monitor.evaluation.results import (
    AcceptanceResult,
    ClipAlarm,
    ClipComparison,
    Delays,
    EventCheck,
    EventOutcome,
    PoolSummary,
    Rule,
    Stop,
    Summary,
)
from ls_ood_monitor.evaluation.summary_text import (
    advice,
    again_in_clip,
    alarm_delay,
    counted,
    events_sentence,
    false_alarm_rate,
    headline,
    passed_sentence,
    pool_headline,
    stop_delay,
    stops_sentence,
)


def stop(start_s: float, end_s: float, start_up: bool = False) -> Stop:
    """A stop, as in the summary."""
    return Stop(start_s, end_s, start_up, ())


@pytest.fixture
def summary(make_summary):
    """A summary of 20 s."""

    def make(**changes: Any) -> Summary:
        alarms = {"false_per_hour": EventRate(0, 0.005, 0.0, 9.0, 9.0), **changes.pop("alarms", {})}
        return make_summary(**{"stops": (stop(0.0, 0.05, True),), "alarms": alarms, **changes})

    return make


def event(**changes: Any) -> EventOutcome:
    """An event that raised its alarm in time."""
    return replace(EventOutcome("front", "fog", 1.0, 2.0, 0.2, 0.3), **changes)


@pytest.mark.parametrize(("count", "words"), [(0, "0 alarms"), (1, "1 alarm"), (2, "2 alarms")])
def test_one_is_no_plural(count, words):
    """In every sentence that counts."""
    assert counted(count, "alarm") == words


@pytest.mark.parametrize(
    ("stops", "raised", "words"),
    [
        ([], 0, "Would not have stopped; no alarm."),
        ([stop(0.0, 0.05, True)], 1, "Would not have stopped; 1 alarm."),
        ([stop(0.0, 0.05, True), stop(2.0, 4.5)], 1, "Would have stopped once, 2.5 s of 20.0 s; 1 alarm."),
        ([stop(2.0, 4.5), stop(6.0, 9.8)], 2, "Would have stopped twice, 6.3 s of 20.0 s; 2 alarms."),
        ([stop(n, n + 0.5) for n in range(3)], 3, "Would have stopped 3 times, 1.5 s of 20.0 s; 3 alarms."),
        ([stop(0.0, 20.0)], 1, "Would not have moved: STOP for all 20.0 s; 1 alarm."),
    ],
)
def test_stops_are_counted_without_the_usual_one(summary, stops, raised, words):
    """That with which every drive begins."""
    shown = summary(stops=tuple(stops), alarms={"raised": raised})
    assert stops_sentence(shown) == words


def test_the_headline_is_that_of_whoever_judges(summary):
    """Acceptance before events before neither; damage is never good."""
    assert headline(summary()) == ("good", "Would not have stopped; no alarm.")
    assert headline(summary(stops=(stop(2.0, 4.0),)))[0] == "unsure"
    events = summary(truth="events", events=(event(),))
    assert headline(events)[0] == "good"
    assert headline(events)[1].startswith(
        "Every event raised its alarm and stopped the vehicle in time; no false stop. "
    )
    late = summary(truth="events", judgement=EventCheck(False, ("fog: no alarm was raised.", "a second.")))
    assert headline(late)[0] == "bad"
    assert headline(late)[1].startswith("Not as the events ask (2 points): fog: no alarm was raised. Would not")
    rules = (Rule("a", True, ""), Rule("b", False, ""))
    broken = summary(truth="events", acceptance=AcceptanceResult(False, rules))
    assert headline(broken) == ("bad", "Acceptance broken: 1 of 2 limits. Would not have stopped; no alarm.")
    passed = replace(late, acceptance=AcceptanceResult(True, rules[:1]))
    assert headline(passed)[0] == "good"
    damaged = replace(passed, truncated="What can be read ends at 3.0 s.")
    assert headline(damaged) == (
        "unsure",
        "Acceptance passed. Would not have stopped; no alarm. Only a part could be read.",
    )


def test_what_was_not_driven_is_not_judged(summary):
    """No clean driving, no event: neither is said to have gone well."""
    assert passed_sentence(summary(decision={"clean_s": 0.0})) == "no event; there was no clean driving to judge by"
    alone = {"raised": 1, "false": 1, "false_per_hour": None}
    text = false_alarm_rate(summary(alarms=alone, truth="events"))
    assert text == "1 false alarm; there was no clean driving to tell a rate by"
    clip = ClipComparison((), "", True)
    assert false_alarm_rate(summary(clip=clip)) == "no rate of false alarms: a clip is cut around its alarm"
    assert false_alarm_rate(summary()).startswith("0 false alarms (no events given: every alarm counts): 0.0 an hour")


@pytest.mark.parametrize(
    ("delay_s", "was_on", "words"),
    [(None, False, "never"), (0.2, False, "after 0.20 s"), (0.0, True, "was on already")],
)
def test_what_was_on_already_came_after_nothing(delay_s, was_on, words):
    """Of alarm and stop alike."""
    outcome = event(alarm_delay_s=7.0, stop_delay_s=delay_s, stop_was_on=was_on)
    assert stop_delay(outcome) == words
    assert alarm_delay(outcome) == "after 7.00 s"


def test_all_events_are_summed_up(summary):
    """Median delay, share of their time under STOP, and the way back; what never came is counted."""
    decision = {"clean_s": 9.0, "hold_ratio": 0.9, "time_to_release_s": 0.85, "not_released": 0}
    shown = summary(alarms={"delay_s": Delays(0.4, 0.4)}, decision=decision)
    assert events_sentence(shown) == (
        "of all events: alarm after 0.40 s (median), STOP in 90.0 % of their time, NOMINAL 0.85 s after their end at the latest"
    )
    never = {**decision, "hold_ratio": 0.0, "time_to_release_s": None, "not_released": 2}
    shown = summary(alarms={"delay_s": Delays(None, None)}, decision=never)
    assert events_sentence(shown) == "of all events: STOP in 0.0 % of their time, never again after 2"


@pytest.mark.parametrize(
    ("above", "events", "clip", "words"),
    [
        (0.98, (), None, "98.0 % of the frames are above the threshold"),
        (0.98, (event(),), None, "98.0 % of the frames outside events are above"),
        (0.5, (), None, ""),
        (None, (), None, ""),
        (0.98, (), ClipComparison((), "", True), ""),
    ],
)
def test_a_bundle_of_other_cameras_is_named_as_one(summary, above, events, clip, words):
    """With what to do; not of a clip, which is cut around an alarm."""
    text = advice(summary(ood={"clean_above_threshold": above}, events=events, clip=clip))
    assert text.startswith(words)
    assert ("ls-ood calibrate" in text) == bool(words)


def pooled(
    *summaries: Summary, failed: int = 0, passed: bool | None = None, rules: tuple[Rule, ...] = ()
) -> PoolSummary:
    """A pool of such recordings."""
    names = {f"drive {number}": summary for number, summary in enumerate(summaries)}
    lost = {f"lost {number}": "gone" for number in range(failed)}
    return replace(pool([*names, *lost], names, lost, None), acceptance=AcceptanceResult(passed, rules))


def test_the_headline_of_a_set(summary):
    """Acceptance before events before neither; what is missing or damaged is never good."""
    calm, fine = summary(), summary(truth="events", stops=(stop(2.0, 4.0),), alarms={"raised": 1})
    late = replace(fine, judgement=EventCheck(False, ("late",)))
    assert pool_headline(pooled(calm, calm)) == ("good", "Would have stopped in 0 of 2 recordings; no alarm.")
    assert pool_headline(pooled(calm, fine)) == (
        "good",
        "As the events ask in 1 recording. Would have stopped in 1 of 2 recordings; 1 alarm.",
    )
    tone, words = pool_headline(pooled(calm, fine, late))
    assert tone == "bad"
    assert words.startswith("1 of 2 recordings with events not as they ask. Would have stopped in 2 of 3")
    kept, broken = (replace(fine, acceptance=AcceptanceResult(passed)) for passed in (True, False))
    assert pool_headline(pooled(kept, kept, passed=True))[0] == "good"
    rules = (Rule("a", False, ""), Rule("b", True, ""))
    tone, words = pool_headline(pooled(kept, broken, passed=False, rules=rules))
    assert tone == "bad"
    assert words.startswith("Acceptance broken by 1 of 2 recordings and by 1 limit of all together. ")
    tone, words = pool_headline(pooled(kept, failed=1))
    assert (tone, words[:23], words[-38:]) == (
        "unsure",
        "Acceptance not decided.",
        "1 of 2 recordings could not be judged.",
    )
    damaged = replace(kept, truncated="What can be read ends at 3.0 s.")
    assert pool_headline(pooled(kept, damaged, passed=True))[0] == "unsure"


def test_a_clip_is_told_alarm_by_alarm():
    """Raised again, by another score, by a fault instead, not at all, of a silent camera; under another bundle."""
    own = ClipAlarm("front", 7, 3.5, "", True, 3.5, "", True)
    alarms = (
        own,
        replace(own, same=False, score_again=3.75),
        replace(own, same=False, score_again=None, fault_again="black"),
        replace(own, same=False, raised_again=False, score_again=None),
        replace(own, stamp_ns=0, score=None, score_again=None, fault_again="stale"),
    )
    clip = ClipComparison(alarms, "ab" * 32, same_bundle=False)
    start = "the clip's alarm of camera front at stamp 7 was"
    assert again_in_clip(clip) == [
        f"{start} raised again at the same stamp by the same score 3.5.",
        f"{start} raised again at the same stamp, but by score 3.75, not score 3.5.",
        f"{start} raised again at the same stamp, but by fault black, not score 3.5.",
        f"{start} not raised again at that stamp.",
        "the clip's alarm of camera front, which was silent, was raised again.",
        "The clip was recorded under another bundle, abababababab.",
    ]
    assert again_in_clip(ClipComparison((), "", same_bundle=True)) == ["clip.json names no alarm."]
