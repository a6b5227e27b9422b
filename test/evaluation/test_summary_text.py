"""What is said of a summary: the verdict in a sentence, in good grammar, and nothing about what was not there."""

from __future__ import annotations

from typing import Any

import pytest

from ls_ood_monitor.evaluation.summary_text import (
    advice,
    again_in_clip,
    counted,
    delay,
    false_alarm_rate,
    judged_well,
    of_all_events,
    pool_verdict,
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
        "ood": {"clean_above_threshold": 0.0},
        "clip": None,
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
    """Acceptance before events before neither; damage is never good."""
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
    assert verdict(broken) == ("bad", "Acceptance broken: 1 of 2 limits. Would not have stopped; no alarm.")
    passed = {**late, "gate": {"passed": True, "rules": rules[:1]}}
    assert verdict(passed)[0] == "good"
    damaged = {**passed, "truncated": "What can be read ends at 3.0 s."}
    assert verdict(damaged) == (
        "unsure",
        "Acceptance passed. Would not have stopped; no alarm. Only a part could be read.",
    )


def test_what_was_not_driven_is_not_judged():
    """No clean driving, no event: neither is said to have gone well."""
    assert judged_well(summary(decision={"clean_s": 0.0})) == "no event; there was no clean driving to judge by"
    alone = {"raised": 1, "false": 1, "false_per_hour": None}
    told = false_alarm_rate(summary(alarms=alone, truth="events"))
    assert told == "1 false alarm; there was no clean driving to tell a rate by"
    assert false_alarm_rate(summary(clip={"alarms": []})) == "no rate of false alarms: a clip is cut around its alarm"
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


def test_all_events_are_told_together():
    """Median delay, share of their time under STOP, and the way back; what never came is counted."""
    decision = {"clean_s": 9.0, "hold_ratio": 0.9, "time_to_resume_s": 0.85, "not_resumed": 0}
    told = summary(alarms={"delay_s": {"median": 0.4}}, decision=decision)
    assert of_all_events(told) == (
        "of all events: alarm after 0.40 s (median), STOP in 90.0 % of their time, NOMINAL 0.85 s after their end at the latest"
    )
    never = {**decision, "hold_ratio": 0.0, "time_to_resume_s": None, "not_resumed": 2}
    told = summary(alarms={"delay_s": {"median": None}}, decision=never)
    assert of_all_events(told) == "of all events: STOP in 0.0 % of their time, never again after 2"


@pytest.mark.parametrize(
    ("above", "events", "clip", "words"),
    [
        (0.98, [], None, "98.0 % of the frames are above the threshold"),
        (0.98, [{}], None, "98.0 % of the frames outside events are above"),
        (0.5, [], None, ""),
        (None, [], None, ""),
        (0.98, [], {"alarms": []}, ""),
    ],
)
def test_a_bundle_of_other_cameras_is_named_as_one(above, events, clip, words):
    """With what to do; not of a clip, which is cut around an alarm."""
    told = advice(summary(ood={"clean_above_threshold": above}, events=events, clip=clip))
    assert told.startswith(words)
    assert ("ls-ood calibrate" in told) == bool(words)


def pooled(*recordings: dict[str, Any], failed: int = 0, passed: bool | None = None, rules: Any = ()) -> dict[str, Any]:
    """The parts of a pool that are told."""
    known = [one for one in recordings if one["truth"] == "events"]
    return {
        "recordings": [*({"error": "", **one} for one in recordings), *[{"error": "gone"}] * failed],
        "failed": failed,
        "alarms": {"raised": sum(one["alarms"]["raised"] for one in recordings)},
        "gate": {"passed": passed, "rules": list(rules)},
        "judgement": {"passed": all(one["judgement"]["passed"] for one in known) if known else None},
    }


def test_the_verdict_of_a_set():
    """Acceptance before events before neither; what is missing or damaged is never good."""
    calm, fine = summary(), summary(truth="events", stops=[stop(2.0, 4.0)], alarms={"raised": 1})
    late = {**fine, "judgement": {"passed": False, "failures": ["late"]}}
    assert pool_verdict(pooled(calm, calm)) == ("good", "Would have stopped in 0 of 2 recordings; no alarm.")
    assert pool_verdict(pooled(calm, fine)) == (
        "good",
        "As the events ask in 1 recording. Would have stopped in 1 of 2 recordings; 1 alarm.",
    )
    tone, words = pool_verdict(pooled(calm, fine, late))
    assert tone == "bad"
    assert words.startswith("1 of 2 recordings with events not as they ask. Would have stopped in 2 of 3")
    kept, broken = {**fine, "gate": {"passed": True}}, {**fine, "gate": {"passed": False}}
    assert pool_verdict(pooled(kept, kept, passed=True))[0] == "good"
    tone, words = pool_verdict(pooled(kept, broken, passed=False, rules=[{"passed": False}, {"passed": True}]))
    assert tone == "bad"
    assert words.startswith("Acceptance broken by 1 of 2 recordings and by 1 limit of all together. ")
    tone, words = pool_verdict(pooled(kept, failed=1))
    assert (tone, words[:23], words[-38:]) == (
        "unsure",
        "Acceptance not decided.",
        "1 of 2 recordings could not be judged.",
    )
    damaged = {**kept, "truncated": "What can be read ends at 3.0 s."}
    assert pool_verdict(pooled(kept, damaged, passed=True))[0] == "unsure"


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
