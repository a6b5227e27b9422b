"""What is said of a summary: the verdict in a sentence, in good grammar, and nothing about what was not there."""

from __future__ import annotations

from typing import Any

import pytest

from ls_ood_monitor.offline.evaluation.words import (
    again_in_clip,
    counted,
    delay,
    false_alarm_rate,
    judged_well,
    stop_verdict,
    verdict,
)


def stop(start_s: float, end_s: float, start_up: bool = False) -> dict[str, Any]:
    """A stop, as in the summary."""
    return {"start_s": start_s, "end_s": end_s, "start_up": start_up, "reasons": []}


def summary(**changes: Any) -> dict[str, Any]:
    """The parts of a summary of 20 s that are told."""
    return {
        "truth": "none: every alarm counts as false",
        "truncated": "",
        "duration_s": 20.0,
        "stops": [stop(0.0, 0.05, True)],
        "alarms": {"raised": 0, "false": 0, "false_per_hour": {"per_hour": 0.0, "low": 0.0, "high": 9.0}},
        "decision": {"clean_s": 18.0},
        "events": [],
        "judgement": {"passed": True, "failures": []},
        "gate": {"passed": None, "rules": []},
        **changes,
    }


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
def test_stops_are_counted_without_the_usual_one(stops, raised, words):
    """That with which every drive begins."""
    told = summary(stops=stops, alarms={"raised": raised})
    assert stop_verdict(told) == words


def test_the_verdict_is_that_of_whoever_judges():
    """Gate before events before neither; damage is never good."""
    assert verdict(summary()) == ("good", "Would not have stopped; no alarm.")
    assert verdict(summary(stops=[stop(2.0, 4.0)]))[0] == "unsure"
    events = summary(truth="events", events=[{}])
    assert verdict(events)[0] == "good"
    assert verdict(events)[1].startswith(
        "Every event raised its alarm and stopped the vehicle in time; no false stop. "
    )
    late = summary(truth="events", judgement={"passed": False, "failures": ["fog: no alarm was raised.", "a second."]})
    assert verdict(late)[0] == "bad"
    assert verdict(late)[1].startswith("Not as the events ask (2 points): fog: no alarm was raised. Would not")
    rules = [{"passed": True}, {"passed": False}]
    broken = summary(truth="events", gate={"passed": False, "rules": rules})
    assert verdict(broken) == ("bad", "Gate broken: 1 of 2 limits. Would not have stopped; no alarm.")
    passed = {**late, "gate": {"passed": True, "rules": rules[:1]}}
    assert verdict(passed)[0] == "good"
    damaged = {**passed, "truncated": "What can be read ends at 3.0 s."}
    assert verdict(damaged) == ("unsure", "Gate passed. Would not have stopped; no alarm. Only a part could be read.")


def test_what_was_not_driven_is_not_judged():
    """No clean driving, no event: neither is said to have gone well."""
    assert judged_well(summary(decision={"clean_s": 0.0})) == "no event; there was no clean driving to judge by"
    alone = {"raised": 1, "false": 1, "false_per_hour": None}
    told = false_alarm_rate(summary(alarms=alone, truth="events"))
    assert told == "1 false alarm; there was no clean driving to tell a rate by"
    assert false_alarm_rate(summary()).startswith("0 false alarms (no events given: every alarm counts): 0.0 an hour")


@pytest.mark.parametrize(
    ("delay_s", "was_on", "words"),
    [(None, False, "never"), (0.2, False, "after 0.20 s"), (0.0, True, "was on already")],
)
def test_what_was_on_already_came_after_nothing(delay_s, was_on, words):
    """Of alarm and stop alike."""
    event = {"alarm_delay_s": 7.0, "alarm_was_on": False, "stop_delay_s": delay_s, "stop_was_on": was_on}
    assert delay(event, "stop") == words
    assert delay(event, "alarm") == "after 7.00 s"


def test_a_clip_is_told_alarm_by_alarm():
    """Raised again, by another score, by a fault instead, not at all, of a silent camera; under another bundle."""
    own = {"camera": "front", "stamp_ns": 7, "score": 3.5, "fault": "", "raised_again": True}
    clip = {
        "same_bundle": False,
        "bundle_sha256": "ab" * 32,
        "alarms": [
            {**own, "same": True, "score_again": 3.5, "fault_again": ""},
            {**own, "same": False, "score_again": 3.75, "fault_again": ""},
            {**own, "same": False, "score_again": None, "fault_again": "black"},
            {**own, "same": False, "raised_again": False, "score_again": None, "fault_again": ""},
            {**own, "same": True, "stamp_ns": 0, "score": None, "score_again": None, "fault_again": "stale"},
        ],
    }
    start = "the clip's alarm of camera front at stamp 7 was"
    assert again_in_clip(clip) == [
        f"{start} raised again at the same stamp by the same score 3.5.",
        f"{start} raised again at the same stamp, but by score 3.75, not score 3.5.",
        f"{start} raised again at the same stamp, but by fault black, not score 3.5.",
        f"{start} not raised again at that stamp.",
        "the clip's alarm of camera front, which was silent, was raised again.",
        "The clip was recorded under another bundle, abababababab.",
    ]
    assert again_in_clip({"same_bundle": True, "bundle_sha256": "", "alarms": []}) == ["clip.json names no alarm."]
