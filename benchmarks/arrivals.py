"""Published images and what arrived of them, and the figures that follow: delays, losses, stops.

Rows in, figures out; no clock is read here. All times are ``time.time_ns`` of one machine, in nanoseconds; figures are
milliseconds and per cent. An image is *judged* when an alarm with its camera, its stamp and a finite score arrived. All
other images are *lost*.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from math import isfinite, nan
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

#: Largest share of lost images at a rate that counts as held.
LOSS_LIMIT = 0.05
#: Lowest rate of the search, Hz, and the distance at which it ends, as a share of the rate held.
_FLOOR_HZ, _PRECISION = 1.0, 0.05
_PERCENTILES = (50, 95, 99)


class Published(NamedTuple):
    """An image: its phase, whether it is spoiled, whether it was sent, and how late it was (ms)."""

    camera: str
    stamp_ns: int
    phase: str
    spoiled: bool
    sent: bool
    late_ms: float


class Alarm(NamedTuple):
    """An alarm of the image with this stamp. NaN = the node does not publish the value."""

    at_ns: int
    camera: str
    stamp_ns: int
    score: float
    fault: str
    latency_ms: float
    network_ms: float
    decode_ms: float
    send_ms: float = nan


class Segmentation(NamedTuple):
    """A segmentation of the image with this stamp."""

    at_ns: int
    camera: str
    stamp_ns: int


class Stop(NamedTuple):
    """A stop command."""

    at_ns: int
    stop: bool


class Decision(NamedTuple):
    """The supervisor's mode and its reason."""

    at_ns: int
    mode: str
    reason: str


class Counts(NamedTuple):
    """Counters of the perception node: images received, and images replaced before the network took them."""

    at_ns: int
    camera: str
    received: int
    dropped: int


Row = Published | Alarm | Segmentation | Stop | Decision | Counts
_ROW_TYPES = {row_type.__name__: row_type for row_type in get_args(Row)}


def row_text(row: Row) -> str:
    """One line of a log."""
    return json.dumps([type(row).__name__, *row]) + "\n"


def read_row(line: str) -> Any:
    """The row of a line."""
    name, *values = json.loads(line)
    return _ROW_TYPES[name](*values)


def read_rows(path: Path) -> list[Any]:
    """All rows of a log."""
    return [read_row(line) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass
class Arrivals:
    """Rows by type, in the order of arrival; of the counters the newest of each camera."""

    alarms: list[Alarm] = field(default_factory=list)
    segmentations: list[Segmentation] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Add a row."""
        if isinstance(row, Counts):
            self.counts[row.camera] = row
        else:
            getattr(self, f"{type(row).__name__.lower()}s").append(row)


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """``p50``, ``p95``, ``p99`` and ``count`` of the finite values; NaN where there are none."""
    known = [value for value in values if isfinite(value)]
    ranks = np.percentile(known, _PERCENTILES).tolist() if known else [nan] * len(_PERCENTILES)
    return {**{f"p{rank}": value for rank, value in zip(_PERCENTILES, ranks, strict=True)}, "count": len(known)}


def _of_images(images: Iterable[Published], rows: Iterable[Any]) -> list[Any]:
    """The rows that belong to one of the images."""
    wanted = {(image.camera, image.stamp_ns) for image in images}
    return [row for row in rows if (row.camera, row.stamp_ns) in wanted]


def delays_ms(images: Iterable[Published], rows: Iterable[Alarm | Segmentation]) -> list[float]:
    """Stamp to arrival of these images."""
    return [(row.at_ns - row.stamp_ns) / 1e6 for row in _of_images(images, rows)]


@dataclass(frozen=True)
class Losses:
    """Number of images published, judged, reported as a fault, and never reported; the last three add up to the first."""

    published: int
    judged: int
    faulted: int
    silent: int

    @property
    def share(self) -> float:
        """Share of images that were never judged."""
        return 1.0 - self.judged / self.published


def losses(images: Sequence[Published], alarms: Iterable[Alarm]) -> Losses:
    """Count what became of the images."""
    scored = {(alarm.camera, alarm.stamp_ns): isfinite(alarm.score) for alarm in alarms}
    counted = Counter(scored.get((image.camera, image.stamp_ns)) for image in images)
    return Losses(len(images), counted[True], counted[False], counted[None])


class Episode(NamedTuple):
    """A spoiled phase: whether the vehicle could move before it, and ms from its first stamp to the stop."""

    was_free: bool
    stop_ms: float
    reason: str


def episodes(images: Sequence[Published], arrivals: Arrivals) -> list[Episode]:
    """One entry for each spoiled phase, in order; NaN where no stop came before the next phase.

    A stop that was already commanded gives no delay: ``was_free`` is False.
    """
    first_camera = (image for image in images if image.sent and image.camera == images[0].camera)
    phases = groupby(first_camera, key=lambda image: (image.phase, image.spoiled))
    begins = [next(group).stamp_ns for (_, is_spoiled), group in phases if is_spoiled]
    result = []
    for begin_ns, end_ns in pairwise([*begins, 2**63]):
        before = [stop.stop for stop in arrivals.stops if stop.at_ns < begin_ns]
        was_free = bool(before) and not before[-1]
        stopped_ns = next(
            (stop.at_ns for stop in arrivals.stops if stop.stop and begin_ns <= stop.at_ns < end_ns), None
        )
        if stopped_ns is None or not was_free:
            result.append(Episode(was_free, nan, ""))
            continue
        stops = (decision for decision in arrivals.decisions if decision.mode == "STOP" and decision.at_ns >= begin_ns)
        reason = next((decision.reason for decision in stops), "")
        result.append(Episode(was_free, (stopped_ns - begin_ns) / 1e6, reason))
    return result


def overhead(images: Iterable[Published], alarms: Iterable[Alarm]) -> dict[str, float] | None:
    """The node's time beside network and decoding, from its callback until the alarm is sent: ms and per cent.

    It holds resizing, scoring, the alarm rule, and building and sending the message; sending is timed on the alarm before.
    DDS and rclpy's conversion of the image are not in it. With several cameras it holds the time in which a picture waits
    for those before it. None where the node does not publish the times.
    """
    timed = [alarm for alarm in _of_images(images, alarms) if isfinite(alarm.network_ms + alarm.send_ms)]
    if not timed:
        return None
    rest = [alarm.latency_ms - alarm.network_ms - alarm.decode_ms + alarm.send_ms for alarm in timed]
    shares = [100.0 * part / (alarm.latency_ms + alarm.send_ms) for part, alarm in zip(rest, timed, strict=True)]
    return {
        **{f"p{rank}_ms": float(np.percentile(rest, rank)) for rank in _PERCENTILES},
        "percent": float(np.median(shares)),
        "network_ms": float(np.median([alarm.network_ms for alarm in timed])),
        "decode_ms": float(np.median([alarm.decode_ms for alarm in timed])),
    }


def complaints(
    images: Iterable[Published],
    arrivals: Arrivals,
    before: dict[str, Counts] | None = None,
    after: dict[str, Counts] | None = None,
) -> list[str]:
    """What must never happen, one sentence each; delays are not looked at.

    Args:
        images: of a whole plan.
        arrivals: everything since just before the plan, until its last alarm.
        before: the node's counters at rest before the plan; with ``after`` they must agree with the arrivals.
        after: the same at rest after it.
    """
    sent = {(image.camera, image.stamp_ns) for image in images if image.sent}
    withheld = {(image.camera, image.stamp_ns) for image in images if not image.sent}
    scored = {(alarm.camera, alarm.stamp_ns) for alarm in arrivals.alarms if isfinite(alarm.score)}
    result = []
    rows: Sequence[Alarm | Segmentation]
    for kind, rows in (("alarm", arrivals.alarms), ("segmentation", arrivals.segmentations)):
        newest: dict[str, int] = {}
        for row in rows:
            key = (row.camera, row.stamp_ns)
            name = f"{kind} of {row.camera}, stamp {row.stamp_ns},"
            if key in withheld:
                result.append(f"{name} is of an image that was never sent.")
            elif key not in sent:
                result.append(f"{name} has a stamp which no image had.")
            if kind == "segmentation" and key not in scored:
                result.append(f"{name} has no alarm with a score.")
            if row.stamp_ns <= newest.get(row.camera, 0):
                result.append(f"{name} came after {newest[row.camera]}.")
            newest[row.camera] = row.stamp_ns
    for camera in sorted((before or {}).keys() & (after or {}).keys()):
        received = after[camera].received - before[camera].received
        dropped = after[camera].dropped - before[camera].dropped
        answered = sum(alarm.camera == camera for alarm in arrivals.alarms)
        published = sum(key[0] == camera for key in sent)
        if received > published:
            result.append(f"{camera}: the node received {received} images, but {published} were sent.")
        if answered != received - dropped:
            result.append(
                f"{camera}: the node received {received} images and dropped {dropped}, so {received - dropped} alarms are "
                f"due; {answered} arrived."
            )
    return result


class Trial(NamedTuple):
    """A rate that was tried: share of the images lost, and whether the source could send at this rate."""

    rate_hz: float
    loss: float
    source_held: bool

    @property
    def held(self) -> bool:
        """Whether the rate counts as held."""
        return self.source_held and self.loss <= LOSS_LIMIT


@dataclass(frozen=True)
class Search:
    """The highest rate held (0 = none), the trials in order, and what limits the rate."""

    rate_hz: float
    trials: list[Trial]
    limited_by: str


def highest_rate(attempt: Callable[[float], Trial], start_hz: float, ceiling_hz: float) -> Search:
    """Double or halve the rate until one is held and one is not, then bisect, to 5 % of the rate held."""
    trials: list[Trial] = []
    good, bad, rate_hz = 0.0, None, min(start_hz, ceiling_hz)
    while True:
        trials.append(attempt(rate_hz))
        if trials[-1].held:
            good = rate_hz
        else:
            bad = trials[-1]
        if bad is None and good < ceiling_hz:
            rate_hz = min(2.0 * good, ceiling_hz)
        elif bad is not None and good == 0.0 and bad.rate_hz > _FLOOR_HZ:
            rate_hz = max(bad.rate_hz / 2.0, _FLOOR_HZ)
        elif bad is not None and good > 0.0 and bad.rate_hz - good > _PRECISION * good:
            rate_hz = (good + bad.rate_hz) / 2.0
        else:
            break
    reason = "the ceiling of the search" if bad is None else "loss" if bad.source_held else "the source"
    return Search(good, trials, reason)
