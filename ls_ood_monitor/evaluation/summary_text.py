"""What a summary says, in sentences for terminal and report alike."""

from __future__ import annotations

from .results import ClipAlarm, ClipComparison, EventOutcome, Figures, PoolSummary, Summary

GOOD, UNSURE, BAD = "good", "unsure", "bad"
#: A larger share of clean frames above the threshold is a bundle of other cameras.
_UNFIT = 0.5


def counted(count: int, noun: str) -> str:
    """``1 alarm``, ``2 alarms``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def headline(summary: Summary) -> tuple[str, str]:
    """How it went (``GOOD``, ``UNSURE``, ``BAD``), and why in a sentence or two."""
    acceptance, tone, text = summary.acceptance, UNSURE, ""
    if acceptance.passed is not None:
        count, broken = len(acceptance.rules), len(acceptance.broken)
        tone = GOOD if acceptance.passed else BAD
        text = f"Acceptance broken: {broken} of {counted(count, 'limit')}." if broken else "Acceptance passed."
    elif summary.has_events:
        failures = summary.judgement.failures
        tone = GOOD if summary.judgement.passed else BAD
        text = f"{passed_sentence(summary).capitalize()}."
        if failures:
            text = f"Not as the events ask ({counted(len(failures), 'point')}): {failures[0]}"
    elif not summary.alarms.raised and not summary.stops_on_the_way:
        tone = GOOD
    if summary.truncated:
        tone = BAD if tone == BAD else UNSURE
    part = "Only a part could be read." if summary.truncated else ""
    return tone, " ".join(filter(None, (text, stops_sentence(summary), part, advice(summary))))


def pool_headline(pooled: PoolSummary) -> tuple[str, str]:
    """The same of a set of recordings."""
    summaries, raised = pooled.summaries, pooled.alarms.raised
    tone, text = _pool_tone(pooled)
    stopped = sum(bool(summary.stops_on_the_way) for summary in summaries)
    alarms = counted(raised, "alarm") if raised else "no alarm"
    parts = [text, f"Would have stopped in {stopped} of {counted(len(summaries), 'recording')}; {alarms}."]
    if pooled.failed:
        parts.append(f"{pooled.failed} of {counted(len(pooled.recordings), 'recording')} could not be judged.")
    if any(summary.truncated for summary in summaries):
        parts.append("Of some only a part could be read.")
    if tone == GOOD and len(parts) > 2:
        tone = UNSURE
    return tone, " ".join(filter(None, parts))


def _pool_tone(pooled: PoolSummary) -> tuple[str, str]:
    """By the acceptance, else by the events, else by there being no stop."""
    summaries, acceptance = pooled.summaries, pooled.acceptance
    if acceptance.passed is not None:
        broken = sum(summary.acceptance.passed is False for summary in summaries)
        together = len(acceptance.broken)
        by = [f"{broken} of {counted(len(summaries), 'recording')}"] if broken else []
        by += [f"{counted(together, 'limit')} of all together"] if together else []
        passed = GOOD, "Acceptance passed."
        return passed if acceptance.passed else (BAD, f"Acceptance broken by {' and by '.join(by)}.")
    if any(summary.acceptance.passed is not None for summary in summaries):
        return UNSURE, "Acceptance not decided."
    if pooled.judgement.passed is not None:
        known = [summary for summary in summaries if summary.has_events]
        bad = sum(not summary.judgement.passed for summary in known)
        if bad:
            return BAD, f"{bad} of {counted(len(known), 'recording')} with events not as they ask."
        return GOOD, f"As the events ask in {counted(len(known), 'recording')}."
    calm = summaries and not any(summary.stops_on_the_way or summary.alarms.raised for summary in summaries)
    return (GOOD if calm else UNSURE), ""


def stops_sentence(summary: Summary) -> str:
    """How often and how long the vehicle would have stopped, and how many alarms there were."""
    stops, duration_s = summary.stops_on_the_way, summary.duration_s
    raised = summary.alarms.raised
    alarms = counted(raised, "alarm") if raised else "no alarm"
    if not stops:
        return f"Would not have stopped; {alarms}."
    if stops[0].start_s <= 0.0 and stops[0].end_s >= duration_s:
        return f"Would not have moved: STOP for all {duration_s:.1f} s; {alarms}."
    held_s = sum(stop.end_s - stop.start_s for stop in stops)
    times = {1: "once", 2: "twice"}.get(len(stops), f"{len(stops)} times")
    return f"Would have stopped {times}, {held_s:.1f} s of {duration_s:.1f} s; {alarms}."


def passed_sentence(summary: Summary) -> str:
    """What a judgement that was passed says; it says nothing of what the recording does not hold."""
    events = "every event raised its alarm and stopped the vehicle in time" if summary.events else "no event"
    if summary.decision.clean_s > 0.0:
        return f"{events}; no false stop"
    return f"{events}; there was no clean driving to judge by"


def share(value: float | None) -> str:
    """In per cent, or that there is none."""
    return "-" if value is None else f"{100 * value:.1f} %"


def events_sentence(summary: Summary) -> str:
    """The median delay of the alarm, the share of their time under STOP, and the longest way back to NOMINAL."""
    median_s, decision = summary.alarms.delay_s.median, summary.decision
    parts = [] if median_s is None else [f"alarm after {median_s:.2f} s (median)"]
    parts.append(f"STOP in {share(decision.hold_ratio)} of their time")
    if decision.time_to_release_s is not None:
        parts.append(f"NOMINAL {decision.time_to_release_s:.2f} s after their end at the latest")
    if decision.not_released:
        parts.append(f"never again after {decision.not_released}")
    return f"of all events: {', '.join(parts)}"


def advice(summary: Summary) -> str:
    """What to do where most frames that should be clean are above the threshold, in a sentence; empty = nothing."""
    above = summary.ood.clean_above_threshold
    if above is None or above <= _UNFIT or summary.clip:
        return ""
    where = "outside events " if summary.events else ""
    return (
        f"{share(above)} of the frames {where}are above the threshold: if they are usual driving, this bundle does not fit "
        "these cameras; ls-ood calibrate makes one that does, from a clean recording of them."
    )


def false_alarm_rate(summary: Summary) -> str:
    """False alarms and their rate, where there was a time to measure it on."""
    if summary.clip:
        return "no rate of false alarms: a clip is cut around its alarm"
    text = counted(summary.alarms.false, "false alarm")
    if not summary.has_events:
        text += " (no events given: every alarm counts)"
    rate = summary.alarms.false_per_hour
    if rate is None:
        return f"{text}; there was no clean driving to tell a rate by"
    return f"{text}: {rate.per_hour:.1f} an hour (95 % interval {rate.low:.1f} to {rate.high:.1f})"


def counts(figures: Figures) -> str:
    """How many alarms without a verdict there were of each fault; empty = none."""
    return ", ".join(f"{name} {number}" for name, number in figures.faults.items())


def alarm_delay(event: EventOutcome) -> str:
    """When the alarm of an event came."""
    return _delay(event.alarm_delay_s, event.alarm_was_on)


def stop_delay(event: EventOutcome) -> str:
    """When the stop of an event came."""
    return _delay(event.stop_delay_s, event.stop_was_on)


def _delay(delay_s: float | None, was_on: bool) -> str:
    if delay_s is None:
        return "never"
    return "was on already" if was_on else f"after {delay_s:.2f} s"


def again_in_clip(clip: ClipComparison) -> list[str]:
    """Whether the alarms of a clip were raised again, a sentence each."""
    sentences = [_again(alarm) for alarm in clip.alarms] or ["clip.json names no alarm."]
    if not clip.same_bundle:
        sentences.append(f"The clip was recorded under another bundle, {clip.bundle_sha256[:12]}.")
    return sentences


def _again(alarm: ClipAlarm) -> str:
    named = f"the clip's alarm of camera {alarm.camera}"
    if not alarm.stamp_ns:
        return f"{named}, which was silent, was {'' if alarm.raised_again else 'not '}raised again."
    named += f" at stamp {alarm.stamp_ns}"
    if not alarm.raised_again:
        return f"{named} was not raised again at that stamp."
    first, again = _score_or_fault(alarm.score, alarm.fault), _score_or_fault(alarm.score_again, alarm.fault_again)
    if alarm.same:
        return f"{named} was raised again at the same stamp by the same {first}."
    return f"{named} was raised again at the same stamp, but by {again}, not {first}."


def _score_or_fault(score: float | None, fault: str) -> str:
    return f"score {score!r}" if score is not None else f"fault {fault or 'unknown'}"
