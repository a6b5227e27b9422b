"""Stretches of time, each stated once: how long a command lasts, what clean driving is, which frame lies in an event.

Times are seconds from the start of the recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from ..recordings.events import Event

#: Of a frame: it lies in no event, or so soon after one that the vehicle may still stand.
CLEAN, RECOVERING = -1, -2


@dataclass(frozen=True)
class Limits:
    """When a stop is due, and when none is."""

    stop_s: float = 1.0  # from the start of an event to the stop command
    release_s: float = 3.0  # after an event, and after the start of the recording, in which a stop is no fault


class Span(NamedTuple):
    """A stretch of time in which a value holds, from the row on that it begins with."""

    begin_s: float
    end_s: float
    value: int
    row: int


def spans_of(times: ArrayLike, values: ArrayLike, end_s: float) -> list[Span]:
    """A value holds until another one follows, the last one until ``end_s``; what lasts no time within [0, end_s] is left out.

    ``times`` are (N,) seconds, not falling, ``values`` (N,) whole numbers or flags. ``end_s`` is infinite where the end of
    the recording does not matter.
    """
    moments, numbers = np.asarray(times, np.float64), np.asarray(values).astype(np.int64)
    if not len(moments):
        return []
    rows = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1]))
    begins = np.maximum(moments[rows], 0.0)
    ends = np.minimum(np.append(begins[1:], end_s), end_s)
    return [
        Span(float(begin_s), float(end), int(numbers[row]), int(row))
        for begin_s, end, row in zip(begins, ends, rows, strict=True)
        if begin_s < end
    ]


def clean_spans(events: Sequence[Event], duration_s: float, release_s: float) -> list[tuple[float, float]]:
    """Clean driving: outside of every event and of ``release_s`` after it, and not within ``release_s`` of the start."""
    busy = _merged([(0.0, release_s), *((event.start_s, event.end_s + release_s) for event in events)])
    begins, ends = [end_s for _, end_s in busy], [*(begin_s for begin_s, _ in busy[1:]), duration_s]
    return [(begin_s, end_s) for begin_s, end_s in zip(begins, ends, strict=True) if begin_s < end_s]


def event_spans(events: Sequence[Event]) -> list[tuple[float, float]]:
    """Time with an event on any camera; events that overlap are one."""
    return _merged((event.start_s, event.end_s) for event in events)


def _merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for begin_s, end_s in sorted(spans):
        if merged and begin_s <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end_s))
        else:
            merged.append((begin_s, end_s))
    return merged


def overlaps(some: Iterable[tuple[float, float]], others: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """What two lists of spans have in common, in the order of the first one."""
    common = [(max(first[0], other[0]), min(first[1], other[1])) for first in some for other in others]
    return [(begin, end) for begin, end in common if begin < end]


def length_s(spans: Iterable[tuple[float, float]]) -> float:
    """Of all of them together."""
    return sum(end - begin for begin, end in spans)


def events_of_frames(frames: pl.DataFrame, events: Sequence[Event], release_s: float) -> NDArray[np.int64]:
    """Event in which each of the frames (N) lies, by ``time_s`` and the events of its own ``camera``.

    Returns:
        (N,) number of the event in ``events``; ``RECOVERING`` within ``release_s`` after one, else ``CLEAN``.
    """
    times = frames["time_s"].to_numpy()
    places = np.full(len(times), CLEAN, np.int64)
    own = {event.camera: (frames["camera"] == event.camera).to_numpy() for event in events}
    for event in events:
        places[own[event.camera] & (times >= event.end_s) & (times < event.end_s + release_s)] = RECOVERING
    for number, event in reversed(list(enumerate(events))):
        places[own[event.camera] & (times >= event.start_s) & (times < event.end_s)] = number
    return places
