"""Alarms and commands held against events, of a replay and of running nodes alike.

Every event must raise its camera's alarm, a stop must be commanded in time, and none in clean driving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from statistics import median

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..core.bursts import count_span_bursts
from ..core.intervals import event_rate
from ..core.types import AlarmState, FallbackMode
from ..recordings.events import Event
from .results import AlarmFigures, Assessment, DecisionFigures, Delays, EventCheck, EventOutcome, Latency
from .timespans import Limits, Span, clean_spans, event_spans, length_s, overlaps, spans_of

#: State and stop command are topics of their own, a tick apart.
_SAME_MOMENT_S = 0.2
_RAISED = pl.col("state") == AlarmState.RAISED.value


def assess(
    events: Sequence[Event],
    alarms: pl.DataFrame,
    decisions: pl.DataFrame,
    stops: pl.DataFrame,
    duration_s: float,
    limits: Limits,
    reason_of: Callable[[int], str],
) -> Assessment:
    """Hold alarms and stop commands against the events.

    The stop commands alone are judged; of the decisions only the reason is read, to say why a stop was false. False alarms
    an hour are counted against clean driving, all cameras together.

    All tables are in order of time: ``alarms`` have ``time_s``, ``camera`` and ``state``, ``decisions`` ``time_s`` and
    ``mode``, ``stops`` ``time_s`` and ``stop``. ``reason_of`` gives the reason of a decision by its row.
    """
    commands = spans_of(stops["time_s"], stops["stop"], duration_s)
    held = [(span.begin_s, span.end_s) for span in commands if span.value]
    outcomes = tuple(_outcome(event, alarms, stops, limits) for event in events)
    clean = clean_spans(events, duration_s, limits.release_s)
    false_stops, clean_s = overlaps(clean, held), length_s(clean)
    false_stop_s = length_s(false_stops)
    failures = [failure for outcome in outcomes for failure in _failures(outcome, limits)]
    if false_stops:
        at_s = false_stops[0][0]
        failures.append(
            f"stop was commanded for {false_stop_s:.2f} s in the clean parts, first at {at_s:.2f} s"
            f"{_reason_at(decisions, at_s, reason_of)}."
        )
    if not len(stops) or not len(alarms):
        failures.append("nothing was received from the nodes.")
    false = count_span_bursts(span for spans in false_alarms(events, alarms, limits).values() for span in spans)
    covered = event_spans(events)
    held_s, covered_s = length_s(overlaps(held, covered)), length_s(covered)
    not_nominal = spans_of(decisions["time_s"], decisions["mode"] != FallbackMode.NOMINAL.name, inf)
    # An event that stands until the end cannot tell whether the vehicle would have gone on.
    releases = [time_to_release(event, not_nominal, limits.stop_s) for event in events if event.end_s < duration_s]
    return Assessment(
        duration_s=duration_s,
        frames=len(alarms),
        cameras=tuple(sorted(alarms["camera"].unique().cast(pl.String))),
        alarms=alarm_figures(outcomes, _rises(alarms), false, clean_s),
        decision=DecisionFigures(
            time_to_stop_s=time_to_stop(outcomes),
            false_stop_s=false_stop_s,
            clean_s=clean_s,
            false_stop_ratio=fraction(false_stop_s, clean_s),
            held_s=held_s,
            event_s=covered_s,
            hold_ratio=fraction(held_s, covered_s),
            time_to_release_s=longest(value for value in releases if value != inf),
            not_released=releases.count(inf),
            messages=len(decisions),
        ),
        events=outcomes,
        judgement=EventCheck(not failures, tuple(failures)),
    )


def alarm_figures(events: Sequence[EventOutcome], raised: int, false: int, clean_s: float) -> AlarmFigures:
    """Figures of alarms that rose ``raised`` times, ``false`` of them outside events, in so much clean driving."""
    delays = [event.alarm_delay_s for event in events if event.alarm_delay_s is not None]
    return AlarmFigures(
        events=len(events),
        detected=len(delays),
        raised=raised,
        false=false,
        delay_s=Delays(median(delays) if delays else None, max(delays, default=None)),
        detected_share=fraction(len(delays), len(events)),
        false_per_hour=event_rate(false, clean_s / 3600.0) if clean_s > 0.0 else None,
    )


def time_to_stop(events: Sequence[EventOutcome]) -> float | None:
    """The longest time to STOP, seconds, of the events that did not begin under it."""
    return longest(event.stop_delay_s for event in events if not event.stop_was_on)


def longest(times: Iterable[float | None]) -> float | None:
    """The largest of the times that there are, seconds."""
    return max((time_s for time_s in times if time_s is not None), default=None)


def fraction(part: float, whole: float) -> float | None:
    """A share; None of nothing."""
    return part / whole if whole else None


def false_alarms(events: Sequence[Event], alarms: pl.DataFrame, limits: Limits) -> dict[str, list[tuple[float, float]]]:
    """Begin and end, seconds, of each alarm that rises without an event of its camera; by camera."""
    found = {}
    for camera in sorted(alarms["camera"].unique().cast(pl.String)):
        own = alarms.filter(pl.col("camera") == camera)
        spans = spans_of(own["time_s"], own.select(_RAISED)["state"], inf)
        due = [(event.start_s, event.end_s + limits.release_s) for event in events if event.camera == camera]
        found[camera] = [
            (span.begin_s, span.end_s)
            for number, span in enumerate(spans)
            # A camera that has shown nothing is reported as RAISED: that is no false alarm.
            if span.value and number and not any(start_s <= span.begin_s <= end_s for start_s, end_s in due)
        ]
    return found


def time_to_release(event: Event, not_nominal: Sequence[Span], stop_s: float) -> float | None:
    """Seconds from an event's end to NOMINAL; None where the event caused no SLOW or STOP, infinite without NOMINAL.

    The way back is that from the last command but NOMINAL that was on when the event began or came in it, or, if there was
    none, from the first that came within ``stop_s`` after it. ``not_nominal`` are spans in which NOMINAL was commanded (0) and
    in which not (1), the last of them without an end.
    """
    on = [span for span in not_nominal if span.value and span.begin_s <= event.end_s + stop_s]
    during = [span for span in on if span.begin_s <= event.end_s and span.end_s >= event.start_s]
    after = [span for span in on if span.begin_s > event.end_s]
    if not during and not after:
        return None
    return max(0.0, (during[-1] if during else after[0]).end_s - event.end_s)


def latency_of(times_ms: pl.Series) -> Latency:
    """Percentiles of what is finite."""
    finite = times_ms.filter(times_ms.is_finite()).to_numpy()
    return Latency(*map(float, np.percentile(finite, [50, 95, 99]))) if len(finite) else Latency(None, None, None)


def _rises(alarms: pl.DataFrame) -> int:
    """How often a camera's alarm rises, a first one that is RAISED included."""
    was_raised = _RAISED.shift(1, fill_value=False).over("camera")
    return len(alarms.filter(_RAISED & ~was_raised))


def _outcome(event: Event, alarms: pl.DataFrame, stops: pl.DataFrame, limits: Limits) -> EventOutcome:
    own = alarms.filter(pl.col("camera") == event.camera)
    own_s, raised = own["time_s"].to_numpy(), own.select(_RAISED)["state"].to_numpy()
    stops_s, stop = stops["time_s"].to_numpy(), stops["stop"].to_numpy()
    # The first stop command holds from the start of the recording.
    stop_was_on = _was_on(np.append(-1.0, stops_s), np.append(stop[:1], stop), event.start_s) if len(stop) else False
    return EventOutcome(
        event.camera,
        event.label,
        event.start_s,
        event.end_s,
        _delay_s(own_s, raised, event, limits.stop_s),
        0.0 if stop_was_on else _delay_s(stops_s, stop, event, limits.stop_s),
        _was_on(own_s, raised, event.start_s),
        stop_was_on,
    )


def _delay_s(times: NDArray[np.float64], on: NDArray[np.bool_], event: Event, stop_s: float) -> float | None:
    """Seconds from the event's start to the first time that it is on."""
    within = times[on & (times >= event.start_s) & (times <= event.end_s + stop_s)]
    return float(within[0]) - event.start_s if len(within) else None


def _was_on(times: NDArray[np.float64], on: NDArray[np.bool_], moment_s: float) -> bool:
    """Whether it was on before a moment, and still at the first message from then on."""
    first = int(np.searchsorted(times, moment_s))
    return 0 < first < len(times) and bool(on[first - 1] and on[first])


def _failures(outcome: EventOutcome, limits: Limits) -> list[str]:
    event = f"{outcome.label} on camera {outcome.camera} at {outcome.start_s:g} s"
    failures = [] if outcome.alarm_delay_s is not None else [f"{event}: no alarm was raised."]
    if outcome.stop_delay_s is None:
        failures.append(f"{event}: no stop was commanded.")
    elif outcome.stop_delay_s > limits.stop_s:
        failures.append(f"{event}: stop came after {outcome.stop_delay_s:.2f} s (limit {limits.stop_s:g} s).")
    return failures


def _reason_at(decisions: pl.DataFrame, time_s: float, reason_of: Callable[[int], str]) -> str:
    """Why the nearest decision that calls for a stop did so."""
    apart_s = (pl.col("time_s") - time_s).abs()
    is_stop = pl.col("mode") == FallbackMode.STOP.name
    calls = decisions.with_row_index("row").filter(is_stop & (apart_s < _SAME_MOMENT_S))
    return f" ({reason_of(calls.sort(apart_s, maintain_order=True)['row'][0])})" if len(calls) else ""
