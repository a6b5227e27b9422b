"""What a summary says, in the words of terminal and report alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GOOD, UNSURE, BAD = "good", "unsure", "bad"


def counted(count: int, noun: str) -> str:
    """``1 alarm``, ``2 alarms``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def verdict(summary: Mapping[str, Any]) -> tuple[str, str]:
    """How it went (``GOOD``, ``UNSURE``, ``BAD``), and the verdict in a sentence or two."""
    gate, tone, words = summary["gate"], UNSURE, ""
    if gate["passed"] is not None:
        count = len(gate["rules"])
        broken = sum(not rule["passed"] for rule in gate["rules"])
        tone = GOOD if gate["passed"] else BAD
        words = f"Gate broken: {broken} of {counted(count, 'limit')}." if broken else "Gate passed."
    elif summary["truth"] == "events":
        judgement = summary["judgement"]
        tone = GOOD if judgement["passed"] else BAD
        failures = judgement["failures"]
        words = (
            f"Not as the events ask ({counted(len(failures), 'point')}): {failures[0]}"
            if failures
            else f"{judged_well(summary).capitalize()}."
        )
    elif not summary["alarms"]["raised"] and not stops_on_the_way(summary):
        tone = GOOD
    if summary["truncated"]:
        tone = BAD if tone == BAD else UNSURE
    parts = [words, stop_verdict(summary), "Only a part could be read." if summary["truncated"] else ""]
    return tone, " ".join(filter(None, parts))


def stops_on_the_way(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Stops but for the usual one at the start."""
    return [stop for stop in summary["stops"] if not stop["start_up"]]


def stop_verdict(summary: Mapping[str, Any]) -> str:
    """How often and how long the vehicle would have stopped, and how many alarms there were."""
    stops, duration_s = stops_on_the_way(summary), summary["duration_s"]
    raised = summary["alarms"]["raised"]
    alarms = counted(raised, "alarm") if raised else "no alarm"
    if not stops:
        return f"Would not have stopped; {alarms}."
    if stops[0]["start_s"] <= 0.0 and stops[0]["end_s"] >= duration_s:
        return f"Would not have moved: STOP for all {duration_s:.1f} s; {alarms}."
    held_s = sum(stop["end_s"] - stop["start_s"] for stop in stops)
    times = {1: "once", 2: "twice"}.get(len(stops), f"{len(stops)} times")
    return f"Would have stopped {times}, {held_s:.1f} s of {duration_s:.1f} s; {alarms}."


def judged_well(summary: Mapping[str, Any]) -> str:
    """What a judgement that was passed says; it says nothing of what the recording does not hold."""
    events = "every event raised its alarm and stopped the vehicle in time" if summary["events"] else "no event"
    if summary["decision"]["clean_s"] > 0.0:
        return f"{events}; no false stop"
    return f"{events}; there was no clean driving to judge by"


def false_alarm_rate(summary: Mapping[str, Any]) -> str:
    """False alarms and their rate, where there was a time to tell it by."""
    alarms = summary["alarms"]
    words = counted(alarms["false"], "false alarm")
    if summary["truth"] != "events":
        words += " (no events given: every alarm counts)"
    rate = alarms["false_per_hour"]
    if rate is None:
        return f"{words}; there was no clean driving to tell a rate by"
    return f"{words}: {rate['per_hour']:.1f} an hour (95 % interval {rate['low']:.1f} to {rate['high']:.1f})"


def delay(event: Mapping[str, Any], what: str) -> str:
    """When the ``alarm`` or the ``stop`` of an event came."""
    delay_s = event[f"{what}_delay_s"]
    if delay_s is None:
        return "never"
    return "was on already" if event[f"{what}_was_on"] else f"after {delay_s:.2f} s"


def again_in_clip(clip: Mapping[str, Any]) -> list[str]:
    """Whether the alarms of a clip were raised again, a sentence each (``evidence_clip``)."""
    told = []
    for one in clip["alarms"]:
        what = f"the clip's alarm of camera {one['camera']}"
        if not one["stamp_ns"]:
            told.append(f"{what}, which was silent, was {'' if one['raised_again'] else 'not '}raised again.")
            continue
        what += f" at stamp {one['stamp_ns']}"
        if not one["raised_again"]:
            told.append(f"{what} was not raised again at that stamp.")
        elif one["same"]:
            told.append(f"{what} was raised again at the same stamp by the same {_cause(one, '')}.")
        else:
            told.append(
                f"{what} was raised again at the same stamp, but by {_cause(one, '_again')}, not {_cause(one, '')}."
            )
    if not told:
        told.append("clip.json names no alarm.")
    if not clip["same_bundle"]:
        told.append(f"The clip was recorded under another bundle, {clip['bundle_sha256'][:12]}.")
    return told


def _cause(alarm: Mapping[str, Any], when: str) -> str:
    score = alarm[f"score{when}"]
    return f"score {score!r}" if score is not None else f"fault {alarm[f'fault{when}'] or 'unknown'}"
