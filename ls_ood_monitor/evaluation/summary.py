"""Figures of a replayed recording: detection, false alarms an hour, time to stop, false stops, time to resume."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from math import inf
from typing import Any

import numpy as np

from ..core.intervals import event_rate
from ..core.metrics import aupr, auroc, fpr_at_tpr
from ..core.types import AlarmState, FallbackMode
from ..recordings.events import Event
from .columns import Columns
from .judged_images import FrameRecord, in_order
from .silence import silences_of
from .stops import Stop, stops_of
from .timeline import (
    Assessment,
    Limits,
    ModeSample,
    ScoreSample,
    StopSample,
    clean_parts,
    false_alarms,
    judge,
    stop_spans,
    summarise,
)

_MICROSECOND = 6
_STATES = tuple(AlarmState)


class ScoreSamples(Columns[ScoreSample]):
    """The alarms of a replay, in columns, for the judgement that a live recording gets too."""

    def __init__(self, alarms: Iterable[FrameRecord]) -> None:
        self._numbers = array("d")
        self._states, self._cameras = array("b"), array("i")
        self._names: dict[str, int] = {}
        for one in alarms:
            alarm = one.alarm
            self._numbers.extend((one.time_s, alarm.score, alarm.threshold, one.latency_ms))
            self._states.append(_STATES.index(alarm.state))
            self._cameras.append(self._names.setdefault(alarm.camera, len(self._names)))
        self._cameras_named = tuple(self._names)

    def __len__(self) -> int:
        return len(self._states)

    def _row(self, place: int) -> ScoreSample:
        time_s, score, threshold, latency_ms = self._numbers[4 * place : 4 * place + 4]
        camera, state = self._cameras_named[self._cameras[place]], _STATES[self._states[place]]
        return ScoreSample(time_s, camera, state, score, threshold, latency_ms)


def summarise_replay(
    images: Sequence[FrameRecord],
    silences: Sequence[FrameRecord],
    decisions: Sequence[ModeSample],
    stops: Sequence[StopSample],
    events: Sequence[Event],
    duration_s: float,
    bundle_id: str,
    limits: Limits,
    optional: Collection[str] = (),
) -> tuple[Assessment, dict[str, Any]]:
    """The judgement by ``events``, and ``summary.json``: times in seconds, larger scores = more OoD.

    False alarms are counted against driving time outside every event, all cameras together, with the exact Poisson
    interval. An alarm of a silent camera is one like any other, and a fault; ranking is of images alone. A clean frame is
    one outside the events of its own camera and not within ``limits.resume_s`` after one. ``optional`` cameras stop no
    vehicle. Times are rounded to the microsecond, below which they are the machine's.
    """
    scores = ScoreSamples(in_order(images, silences))
    verdict = judge(events, scores, decisions, stops, duration_s, limits)
    summary = summarise(verdict, scores, decisions, duration_s, bundle_id)
    clean_h = sum(end - start for start, end in clean_parts(events, duration_s, limits.resume_s)) / 3600.0
    rate = event_rate(verdict.false_alarms, clean_h).to_dict() if clean_h > 0.0 else None
    faulty = Counter(
        (one.alarm.fault or "unknown", one.alarm.camera) for one in in_order(images, silences) if one.alarm.is_fault
    )
    faults, of_camera = Counter[str](), Counter[str]()
    for (fault, camera), count in faulty.items():
        faults[fault] += count
        of_camera[camera] += count
    images_of = Counter(one.alarm.camera for one in images)
    spans = stop_spans(stops, duration_s)
    held = sum(_overlap(span, (event.start_s, event.end_s)) for span in spans for event in _merged(events))
    covered = sum(event.end_s - event.start_s for event in _merged(events))
    # An event that stands until the end cannot tell whether the vehicle would have gone on.
    resumes = [_resume_s(event, decisions, limits.stop_s) for event in events if event.end_s < duration_s]
    resumes = [value for value in resumes if value is not None]
    summary.update(
        frames=len(images),
        faults=dict(faults),
        by_camera={
            camera: {"images": images_of[camera], "false_alarms": false, "faults": of_camera[camera]}
            for camera, false in false_alarms(events, scores, limits).items()
        },
        silences=[
            {"camera": one.camera, "start_s": one.start_s, "end_s": one.end_s, "alarms": one.alarms}
            for one in silences_of(silences)
        ],
        stops=[
            _told(stop)
            for stop in stops_of(decisions, in_order(images, silences), duration_s, limits.resume_s, optional)
        ],
        ood=_detection(images, events, limits),
    )
    summary["fault_count"] = sum(faults.values())
    summary["alarms"]["false_per_hour"] = rate
    summary["alarms"]["detected_share"] = summary["alarms"]["detected"] / len(events) if events else None
    summary["decision"].update(
        held_s=held,
        event_s=covered,
        hold_ratio=held / covered if covered else None,
        time_to_resume_s=max((value for value in resumes if value < inf), default=None),
        not_resumed=sum(value == inf for value in resumes),
    )
    return verdict, rounded(summary)


def rounded(content: Any, digits: int | None = None) -> Any:
    """Times to the microsecond: what stands under a name that ends in ``_s`` or ``_ms``."""
    if isinstance(content, dict):
        return {
            name: rounded(value, _MICROSECOND if name.endswith("_s") else 3 if name.endswith("_ms") else digits)
            for name, value in content.items()
        }
    if isinstance(content, list):
        return [rounded(value, digits) for value in content]
    return round(content, digits) if isinstance(content, float) and digits is not None else content


def _told(stop: Stop) -> dict[str, Any]:
    """A stop as JSON has it."""
    return {
        "start_s": stop.start_s,
        "end_s": stop.end_s,
        "start_up": stop.start_up,
        "reasons": [asdict(cause) for cause in stop.causes],
    }


def _detection(images: Sequence[FrameRecord], events: Sequence[Event], limits: Limits) -> Mapping[str, Any]:
    """Ranking and detection of judged frames by the events of their camera; None where there is no such frame."""
    clean, odd, above, false = array("d"), array("d"), 0, 0
    for image in images:
        if image.result is None or not np.isfinite(image.alarm.score):
            continue
        own = [event for event in events if event.camera == image.alarm.camera]
        if any(event.start_s <= image.time_s < event.end_s for event in own):
            odd.append(image.alarm.score)
            above += image.alarm.score > image.alarm.threshold
        elif not any(event.end_s <= image.time_s < event.end_s + limits.resume_s for event in own):
            clean.append(image.alarm.score)
            false += image.alarm.score > image.alarm.threshold
    figures: dict[str, Any] = {
        "clean_frames": len(clean),
        "clean_above_threshold": false / len(clean) if clean else None,
        "ood_frames": len(odd),
        "ood_above_threshold": above / len(odd) if odd else None,
        "auroc": None,
        "aupr": None,
        "fpr_at_95tpr": None,
    }
    if clean and odd:
        figures.update(auroc=auroc(clean, odd), aupr=aupr(clean, odd), fpr_at_95tpr=fpr_at_tpr(clean, odd))
    return figures


def _merged(events: Sequence[Event]) -> list[Event]:
    """Stretches of time with an event on any camera, each once."""
    merged: list[Event] = []
    for event in sorted(events, key=lambda item: item.start_s):
        if merged and event.start_s <= merged[-1].end_s:
            last = merged.pop()
            event = Event("", last.start_s, max(last.end_s, event.end_s), "")
        merged.append(event)
    return merged


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))


def _resume_s(event: Event, decisions: Sequence[ModeSample], stop_s: float) -> float | None:
    """Seconds from an event's end to NOMINAL; None where it has cost none, infinite where it never came.

    The way back is that from the last command but NOMINAL that was on when the event began or came in it, or, if there was
    none, came within ``stop_s`` after it.
    """
    left, back = False, None
    for one in decisions:
        if one.time_s > event.end_s + stop_s and (not left or back is not None):
            break
        if one.mode is FallbackMode.NOMINAL:
            if one.time_s < event.start_s:
                left = False
            elif left and back is None:
                back = one.time_s
        elif one.time_s <= event.end_s or (not left and one.time_s <= event.end_s + stop_s):
            left, back = True, None
    if not left:
        return None
    return inf if back is None else max(0.0, back - event.end_s)
