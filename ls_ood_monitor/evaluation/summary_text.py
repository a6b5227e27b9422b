"""What a summary says, in the words of terminal and report alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

GOOD, UNSURE, BAD = "good", "unsure", "bad"
#: A larger share of clean frames above the threshold is a bundle of other cameras.
_UNFIT = 0.5


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
        words = f"Acceptance broken: {broken} of {counted(count, 'limit')}." if broken else "Acceptance passed."
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
    parts = [
        words,
        stop_verdict(summary),
        "Only a part could be read." if summary["truncated"] else "",
        advice(summary),
    ]
    return tone, " ".join(filter(None, parts))


def pool_verdict(pooled: Mapping[str, Any]) -> tuple[str, str]:
    """Likewise of a set of recordings (``pool.pool``)."""
    judged = [one for one in pooled["recordings"] if not one["error"]]
    tone, words = _pool_tone(pooled, judged)
    stopped, raised = sum(bool(stops_on_the_way(one)) for one in judged), pooled["alarms"]["raised"]
    parts = [
        words,
        f"Would have stopped in {stopped} of {counted(len(judged), 'recording')}; "
        f"{counted(raised, 'alarm') if raised else 'no alarm'}.",
    ]
    if pooled["failed"]:
        parts.append(f"{pooled['failed']} of {counted(len(pooled['recordings']), 'recording')} could not be judged.")
    if any(one["truncated"] for one in judged):
        parts.append("Of some only a part could be read.")
    if tone == GOOD and len(parts) > 2:
        tone = UNSURE
    return tone, " ".join(filter(None, parts))


def _pool_tone(pooled: Mapping[str, Any], judged: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """By the gate, else by the events, else by there being no stop."""
    passed, of_events = pooled["gate"]["passed"], pooled["judgement"]["passed"]
    if passed is not None:
        broken = sum(one["gate"]["passed"] is False for one in judged)
        together = sum(not rule["passed"] for rule in pooled["gate"]["rules"])
        by = [f"{broken} of {counted(len(judged), 'recording')}"] if broken else []
        by += [f"{counted(together, 'limit')} of all together"] if together else []
        return (GOOD, "Acceptance passed.") if passed else (BAD, f"Acceptance broken by {' and by '.join(by)}.")
    if any(one["gate"]["passed"] is not None for one in judged):
        return UNSURE, "Acceptance not decided."
    if of_events is not None:
        bad = sum(not one["judgement"]["passed"] for one in judged if one["truth"] == "events")
        known = sum(one["truth"] == "events" for one in judged)
        if bad:
            return BAD, f"{bad} of {counted(known, 'recording')} with events not as they ask."
        return GOOD, f"As the events ask in {counted(known, 'recording')}."
    calm = judged and not any(stops_on_the_way(one) or one["alarms"]["raised"] for one in judged)
    return (GOOD if calm else UNSURE), ""


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


def share(value: float | None) -> str:
    """In per cent, or that there is none."""
    return "-" if value is None else f"{100 * value:.1f} %"


def of_all_events(summary: Mapping[str, Any]) -> str:
    """The usual delay of the alarm, the share of their time under STOP, and the longest way back to NOMINAL."""
    median_s, decision = summary["alarms"]["delay_s"]["median"], summary["decision"]
    parts = [] if median_s is None else [f"alarm after {median_s:.2f} s (median)"]
    parts.append(f"STOP in {share(decision['hold_ratio'])} of their time")
    if decision["time_to_resume_s"] is not None:
        parts.append(f"NOMINAL {decision['time_to_resume_s']:.2f} s after their end at the latest")
    if decision["not_resumed"]:
        parts.append(f"never again after {decision['not_resumed']}")
    return f"of all events: {', '.join(parts)}"


def advice(summary: Mapping[str, Any]) -> str:
    """What to do where most frames that should be clean are above the threshold, in a sentence; empty = nothing."""
    above = summary["ood"]["clean_above_threshold"]
    if above is None or above <= _UNFIT or summary["clip"]:
        return ""
    where = "outside events " if summary["events"] else ""
    return (
        f"{share(above)} of the frames {where}are above the threshold: if they are usual driving, this bundle does not fit "
        "these cameras; ls-ood calibrate makes one that does, from a clean recording of them."
    )


def false_alarm_rate(summary: Mapping[str, Any]) -> str:
    """False alarms and their rate, where there was a time to tell it by."""
    if summary["clip"]:
        return "no rate of false alarms: a clip is cut around its alarm"
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
