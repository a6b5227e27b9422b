"""What was seen and commanded over a recording, judged against its events, and drawn as one picture.

Times are seconds on one axis: the recording's own, from its start. The judgement is the demo's gate: every event
raises its camera's alarm, a stop is commanded in time, and none is commanded in the clean parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..core.types import AlarmState, FallbackMode, score_over_threshold
from ..recordings.events import Event
from .downsampling import Span, keep_extremes, merge_spans

_STATE_COLOURS = {AlarmState.CLEAR: "#2e7d32", AlarmState.PENDING: "#f9a825", AlarmState.RAISED: "#c62828"}
_MODE_COLOURS = {FallbackMode.NOMINAL: "#2e7d32", FallbackMode.SLOW: "#f9a825", FallbackMode.STOP: "#c62828"}
#: Of one camera, and of the command, in the picture; it is some thousand dots wide.
_MAX_POINTS, _MAX_SPANS = 6000, 1000

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class ScoreSample:
    """One alarm message as received: when, which camera, what it said."""

    time_s: float
    camera: str
    state: AlarmState
    score: float
    threshold: float
    latency_ms: float


@dataclass(frozen=True, slots=True)
class ModeSample:
    """One decision as received."""

    time_s: float
    mode: FallbackMode
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StopSample:
    """One stop command as received: what a vehicle obeys."""

    time_s: float
    stop: bool


@dataclass(frozen=True)
class Limits:
    """What the gate accepts, seconds.

    Attributes:
        stop_s: from the start of an event to the stop command.
        resume_s: allowed after an event (and after the start of the recording) before stop counts as false.
    """

    stop_s: float = 1.0
    resume_s: float = 2.0


@dataclass(frozen=True)
class EventOutcome:
    """How one event went; None where the thing never happened.

    Attributes:
        event: that happened.
        alarm_delay_s: from its start to the alarm of its camera, seconds.
        stop_delay_s: from its start to the stop command, seconds.
        alarm_was_on: the alarm was raised before it began, and still.
        stop_was_on: so was the stop.
    """

    event: Event
    alarm_delay_s: float | None
    stop_delay_s: float | None
    alarm_was_on: bool = False
    stop_was_on: bool = False


@dataclass(frozen=True)
class Assessment:
    """Judgement of a recording.

    Attributes:
        outcomes: one an event.
        false_stop_s: time under STOP within the clean parts, seconds.
        clean_s: length of the clean parts, seconds.
        false_alarms: alarms raised on a camera outside its own events. No rule: a stop that is due hides some of them
            from the vehicle, but not from whoever reads the summary.
        failures: a sentence for each rule broken; empty = passed.
    """

    outcomes: tuple[EventOutcome, ...]
    false_stop_s: float
    clean_s: float
    false_alarms: int
    failures: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """True when no rule was broken."""
        return not self.failures


def judge(
    events: Sequence[Event],
    scores: Sequence[ScoreSample],
    modes: Sequence[ModeSample],
    stops: Sequence[StopSample],
    duration_s: float,
    limits: Limits = Limits(),
) -> Assessment:
    """Hold the alarms and the stop commands that were received against the events.

    The stop commands alone are judged; of the decisions only the reasons are read, to say why a stop was false.
    """
    failures: list[str] = []
    outcomes = []
    for event in events:
        alarm = _first(
            sample.time_s
            for sample in scores
            if sample.camera == event.camera
            and sample.state is AlarmState.RAISED
            and event.start_s <= sample.time_s <= event.end_s + limits.stop_s
        )
        stop = _first(
            sample.time_s
            for sample in stops
            if sample.stop and event.start_s <= sample.time_s <= event.end_s + limits.stop_s
        )
        states = ((one.time_s, one.state is AlarmState.RAISED) for one in scores if one.camera == event.camera)
        stop_was_on = _stop_was_on(stops, event.start_s)
        outcome = EventOutcome(
            event,
            _since(alarm, event.start_s),
            0.0 if stop_was_on else _since(stop, event.start_s),
            _was_on(states, event.start_s),
            stop_was_on,
        )
        outcomes.append(outcome)
        what = f"{event.label} on camera {event.camera} at {event.start_s:g} s"
        if outcome.alarm_delay_s is None:
            failures.append(f"{what}: no alarm was raised.")
        if outcome.stop_delay_s is None:
            failures.append(f"{what}: no stop was commanded.")
        elif outcome.stop_delay_s > limits.stop_s:
            failures.append(f"{what}: stop came after {outcome.stop_delay_s:.2f} s (limit {limits.stop_s:g} s).")
    clean = clean_parts(events, duration_s, limits.resume_s)
    spans = [(max(part[0], span[0]), min(part[1], span[1])) for part in clean for span in stop_spans(stops, duration_s)]
    spans = [(begin, end) for begin, end in spans if begin < end]
    false_stop = sum(end - begin for begin, end in spans)
    if spans:
        at_s = spans[0][0]
        failures.append(
            f"stop was commanded for {false_stop:.2f} s in the clean parts, first at {at_s:.2f} s{_reason_at(modes, at_s)}."
        )
    if not stops or not scores:
        failures.append("nothing was received from the nodes.")
    return Assessment(
        tuple(outcomes),
        false_stop,
        sum(end - start for start, end in clean),
        sum(false_alarms(events, scores, limits).values()),
        tuple(failures),
    )


def false_alarms(events: Sequence[Event], scores: Sequence[ScoreSample], limits: Limits) -> dict[str, int]:
    """Count the moments at which a camera's alarm rises without an event of that camera; by camera."""
    counts: dict[str, int] = {}
    for camera in sorted({sample.camera for sample in scores}):
        spans = [(event.start_s, event.end_s + limits.resume_s) for event in events if event.camera == camera]
        # A camera that has shown nothing is reported as RAISED: that is no false alarm.
        rises = _rises(scores, camera, AlarmState.RAISED)
        counts[camera] = sum(not any(start <= rise <= end for start, end in spans) for rise in rises)
    return counts


def _rises(scores: Sequence[ScoreSample], camera: str, before: AlarmState) -> Iterator[float]:
    """Moments at which a camera's alarm rises; ``before`` is its state before the first message."""
    for sample in scores:
        if sample.camera == camera:
            if sample.state is AlarmState.RAISED and before is not AlarmState.RAISED:
                yield sample.time_s
            before = sample.state


def clean_parts(events: Sequence[Event], duration_s: float, resume_s: float) -> list[tuple[float, float]]:
    """Stretches in which no stop is right: not during an event nor ``resume_s`` after one, nor at the very start."""
    parts, begin = [], resume_s
    for event in sorted(events, key=lambda item: item.start_s):
        if event.start_s > begin:
            parts.append((begin, event.start_s))
        begin = max(begin, event.end_s + resume_s)
    if duration_s > begin:
        parts.append((begin, duration_s))
    return parts


def summarise(
    verdict: Assessment,
    scores: Sequence[ScoreSample],
    modes: Sequence[ModeSample],
    duration_s: float,
    bundle_id: str,
) -> dict[str, Any]:
    """The machine-readable summary (``summary.json``); times in seconds, latencies in milliseconds."""
    latencies = np.fromiter((one.latency_ms for one in scores if isfinite(one.latency_ms)), np.float64)
    alarm_delays = [item.alarm_delay_s for item in verdict.outcomes if item.alarm_delay_s is not None]
    stop_delays = [
        item.stop_delay_s for item in verdict.outcomes if item.stop_delay_s is not None and not item.stop_was_on
    ]
    percentiles = np.percentile(latencies, [50, 95, 99]) if len(latencies) else [None] * 3
    return {
        "bundle": {"sha256": bundle_id},
        "duration_s": duration_s,
        "frames": len(scores),
        "cameras": sorted({sample.camera for sample in scores}),
        "alarms": {
            "events": len(verdict.outcomes),
            "detected": len(alarm_delays),
            "raised": sum(
                1 for camera in sorted({one.camera for one in scores}) for _ in _rises(scores, camera, AlarmState.CLEAR)
            ),
            "false": verdict.false_alarms,
            "delay_s": {
                "median": float(np.median(alarm_delays)) if alarm_delays else None,
                "max": max(alarm_delays, default=None),
            },
        },
        "decision": {
            "time_to_stop_s": max(stop_delays, default=None),
            "false_stop_s": verdict.false_stop_s,
            "clean_s": verdict.clean_s,
            "false_stop_ratio": verdict.false_stop_s / verdict.clean_s if verdict.clean_s else None,
            "messages": len(modes),
        },
        "events": [
            {
                "camera": item.event.camera,
                "label": item.event.label,
                "start_s": item.event.start_s,
                "end_s": item.event.end_s,
                "alarm_delay_s": item.alarm_delay_s,
                "stop_delay_s": item.stop_delay_s,
                "alarm_was_on": item.alarm_was_on,
                "stop_was_on": item.stop_was_on,
            }
            for item in verdict.outcomes
        ],
        "latency_ms": dict(
            zip(("p50", "p95", "p99"), (None if p is None else float(p) for p in percentiles), strict=True)
        ),
        "gate": {"passed": verdict.passed, "failures": list(verdict.failures)},
    }


def draw_timeline(
    path: Path,
    events: Sequence[Event],
    scores: Sequence[ScoreSample],
    modes: Sequence[ModeSample],
    duration_s: float,
    title: str,
) -> None:
    """Draw score over threshold per camera, with events, alarm states and the commanded mode, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    cameras = sorted({sample.camera for sample in scores} | {event.camera for event in events})
    figure = Figure(figsize=(11, 1.6 + 2.1 * len(cameras)), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(
        len(cameras) + 1, 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [*([1.0] * len(cameras)), 0.28]}
    )[:, 0]
    for axis, camera in zip(rows, cameras, strict=False):
        times, ratio, states = _drawn(scores, camera)
        for event in events:
            if event.camera == camera:
                axis.axvspan(event.start_s, event.end_s, color="#90a4ae", alpha=0.35, linewidth=0)
                axis.text(
                    (event.start_s + event.end_s) / 2,
                    0.04,
                    event.label,
                    ha="center",
                    va="bottom",
                    transform=axis.get_xaxis_transform(),
                    fontsize=10,
                )
        axis.plot(times, ratio, color="#37474f", linewidth=1.0, zorder=2)
        colours = [_STATE_COLOURS[state] for state in states]
        axis.scatter(times, ratio, s=16, zorder=3, color=colours)
        known = np.isfinite(ratio)
        lost = np.flatnonzero(~known)
        axis.scatter(
            [times[index] for index in lost],
            np.full(len(lost), 0.86),  # below the threshold, which lies near the top where all is well
            transform=axis.get_xaxis_transform(),
            marker="|",
            color=[colours[index] for index in lost],
        )
        axis.axhline(1.0, color="#c62828", linestyle="--", linewidth=1.0)
        # Distances span decades; logarithms of them, as of the detector spatial, may be negative.
        if known.any() and ratio[known].min() > 0.0:
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
            axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_ylabel(f"{camera}\nscore / threshold")
        axis.grid(axis="x", alpha=0.25)
    last = rows[-1]
    spans = [
        Span(begin, end, int(mode), "")
        for begin, end, mode in _spans(((one.time_s, one.mode) for one in modes), duration_s)
    ]
    for begin, end, mode, _ in merge_spans(spans, _MAX_SPANS):
        last.axvspan(begin, end, color=_MODE_COLOURS[FallbackMode(mode)], alpha=0.85, linewidth=0)
    last.set_yticks([])
    last.set_ylabel("command", rotation=0, ha="right", va="center")
    last.set_xlim(0.0, duration_s)
    last.set_xlabel("time in the recording, s")
    handles = [
        Patch(color=colour, label=f"{state.value} / {mode.name}")
        for (state, colour), mode in zip(_STATE_COLOURS.items(), FallbackMode, strict=True)
    ]
    handles.append(Patch(color="#90a4ae", alpha=0.35, label="event (ground truth)"))
    if not all(isfinite(sample.score) for sample in scores):
        handles.append(Line2D([], [], color="#37474f", marker="|", linestyle="", label="not judged, or silent"))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    figure.suptitle(title, fontsize=12)
    figure.savefig(path, dpi=100)


def _drawn(scores: Sequence[ScoreSample], camera: str) -> tuple[Any, Any, list[AlarmState]]:
    """Times (K,), ratios (K,) and states of one camera's samples; of more than a picture can show the telling ones."""
    states = tuple(AlarmState)
    rows = np.fromiter(
        (
            (one.time_s, score_over_threshold(one.score, one.threshold), states.index(one.state))
            for one in scores
            if one.camera == camera
        ),
        np.dtype([("time", "f8"), ("ratio", "f8"), ("state", "i1")]),
    )
    known = np.where(np.isfinite(rows["ratio"]), rows["ratio"], np.nan)
    rows = rows[keep_extremes(rows["time"], known, rows["state"], _MAX_POINTS)]
    return rows["time"], rows["ratio"], [states[number] for number in rows["state"]]


def _first(times: Any) -> float | None:
    return min(times, default=None)


def _since(moment: float | None, start: float) -> float | None:
    return None if moment is None else moment - start


def _was_on(said: Iterable[tuple[float, bool]], moment_s: float) -> bool:
    """Whether it was on before a moment, and still at the first word from then on; what is said is in order."""
    before = False
    for time_s, on in said:
        if time_s >= moment_s:
            return before and on
        before = on
    return False


def _stop_was_on(stops: Sequence[StopSample], time_s: float) -> bool:
    """The same of the stop command; what is said first holds from the start of the recording."""
    first = ((-1.0, one.stop) for one in stops[:1])
    return _was_on(chain(first, ((one.time_s, one.stop) for one in stops)), time_s)


def mode_changes(decisions: Iterable[ModeSample]) -> list[ModeSample]:
    """Those that command something else than the one before; the first one, too."""
    changes: list[ModeSample] = []
    for one in decisions:
        if not changes or one.mode is not changes[-1].mode:
            changes.append(one)
    return changes


def _spans(samples: Iterable[tuple[float, State]], duration_s: float) -> list[tuple[float, float, State]]:
    """What was said at a time holds until something else is said; what is said is in order."""
    changes: list[tuple[float, State]] = []
    for time_s, said in samples:
        if not changes or said != changes[-1][1]:
            changes.append((time_s, said))
    ends = [*(time_s for time_s, _ in changes[1:]), duration_s]
    return [
        (max(0.0, time_s), min(end, duration_s), said)
        for (time_s, said), end in zip(changes, ends, strict=False)  # without a word there is no span
        if end > 0.0 and time_s < duration_s
    ]


def stop_spans(stops: Sequence[StopSample], duration_s: float) -> list[tuple[float, float]]:
    """Stretches of time under STOP, seconds from the start of the recording."""
    spans = _spans(((sample.time_s, sample.stop) for sample in stops), duration_s)
    return [(begin, end) for begin, end, stop in spans if stop]


def _reason_at(modes: Sequence[ModeSample], time_s: float) -> str:
    """Why the nearest decision that calls for a stop did so; state and stop are topics of their own, a tick apart."""
    calls = [mode for mode in modes if mode.mode is FallbackMode.STOP and abs(mode.time_s - time_s) < 0.2]
    return f" ({min(calls, key=lambda mode: abs(mode.time_s - time_s)).reason})" if calls else ""
