"""What was published and what was heard, image by image, and the figures that follow: delays, losses, stops.

Pure: rows in, figures out. All times are ``time.time_ns`` of one machine, in nanoseconds; figures are milliseconds and per
cent. An image is *judged* when an alarm with its camera and stamp and a finite score was heard; all others are *lost*,
whoever lost them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from math import isfinite, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

#: The most of the images that may be lost at a rate that is held.
LOSS_LIMIT = 0.05
_PERCENTILES = (50, 95, 99)


class Published(NamedTuple):
    """An image: its phase, whether it shows a spoiled picture, whether it was sent at all, and how late it was, ms."""

    camera: str
    stamp_ns: int
    phase: str
    spoiled: bool
    sent: bool
    late_ms: float


class Alarm(NamedTuple):
    """An alarm of an image; ``stamp_ns`` is the image's. NaN where the node does not tell."""

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
    """A class picture, with the stamp of its image."""

    at_ns: int
    camera: str
    stamp_ns: int


class Stop(NamedTuple):
    """A stop command."""

    at_ns: int
    stop: bool


class Decision(NamedTuple):
    """What the supervisor says with it."""

    at_ns: int
    mode: str
    reason: str


class Counts(NamedTuple):
    """What the perception node counts itself: images that reached it, and those replaced before the network took them."""

    at_ns: int
    camera: str
    received: int
    dropped: int


Row = Published | Alarm | Segmentation | Stop | Decision | Counts
_KINDS = {kind.__name__: kind for kind in (Published, Alarm, Segmentation, Stop, Decision, Counts)}


def row_text(row: Row) -> str:
    """One line of a log."""
    return json.dumps([type(row).__name__, *row]) + "\n"


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """A log of rows, one a line."""
    path.write_text("".join(map(row_text, rows)), encoding="utf-8")


def read_row(line: str) -> Any:
    """The row of a line."""
    kind, *values = json.loads(line)
    return _KINDS[kind](*values)


def read_rows(path: Path) -> list[Any]:
    """All rows of a log."""
    return [read_row(line) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass
class Heard:
    """Rows by kind, in the order of arrival."""

    alarms: list[Alarm] = field(default_factory=list)
    segmentations: list[Segmentation] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Sort a row in; of the node's counts only the newest of each camera stays."""
        if isinstance(row, Counts):
            self.counts[row.camera] = row
            return
        kinds: dict[type, list[Any]] = {
            Alarm: self.alarms,
            Segmentation: self.segmentations,
            Stop: self.stops,
            Decision: self.decisions,
        }
        kinds[type(row)].append(row)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """``p50``, ``p95``, ``p99`` and the number; NaN where there is nothing."""
    known = [value for value in values if isfinite(value)]
    found = np.percentile(known, _PERCENTILES).tolist() if known else [nan] * len(_PERCENTILES)
    return {**{f"p{rank}": value for rank, value in zip(_PERCENTILES, found, strict=True)}, "count": len(known)}


def delays_ms(images: Sequence[Published], arrivals: Iterable[Alarm | Segmentation]) -> list[float]:
    """Stamp to arrival of the images that came out as such."""
    wanted = {(image.camera, image.stamp_ns) for image in images}
    return [(one.at_ns - one.stamp_ns) / 1e6 for one in arrivals if (one.camera, one.stamp_ns) in wanted]


@dataclass(frozen=True)
class Losses:
    """What became of the images of a stretch; the parts add up to ``published``."""

    published: int
    judged: int
    faulted: int
    silent: int

    @property
    def share(self) -> float:
        """Images never judged, of all."""
        return 1.0 - self.judged / self.published


def losses(images: Sequence[Published], alarms: Iterable[Alarm]) -> Losses:
    """Count: judged, told as a fault, and never heard of."""
    scored = {(one.camera, one.stamp_ns): isfinite(one.score) for one in alarms}
    found = Counter(scored.get((image.camera, image.stamp_ns)) for image in images)
    return Losses(len(images), found[True], found[False], found[None])


class Episode(NamedTuple):
    """The camera was spoiled: whether the vehicle was free to move before, ms from the first spoiled stamp to the stop."""

    was_free: bool
    stop_ms: float
    reason: str


def episodes(images: Sequence[Published], heard: Heard) -> list[Episode]:
    """One entry a spoiled phase, in order; NaN where no stop came before the next one began.

    A stop that was there already says nothing about the delay: ``was_free`` is False.
    """
    spoilt = [
        next(group).stamp_ns
        for (_, is_spoilt), group in groupby(
            (image for image in images if image.sent and image.camera == images[0].camera),
            key=lambda image: (image.phase, image.spoiled),
        )
        if is_spoilt
    ]
    found = []
    for begin_ns, end_ns in pairwise([*spoilt, 2**63]):
        before = [stop.stop for stop in heard.stops if stop.at_ns < begin_ns]
        was_free = bool(before) and not before[-1]
        stopped = next((stop.at_ns for stop in heard.stops if stop.stop and begin_ns <= stop.at_ns < end_ns), None)
        reason = next((one.reason for one in heard.decisions if one.mode == "STOP" and one.at_ns >= begin_ns), "")
        delay_ms = nan if stopped is None or not was_free else (stopped - begin_ns) / 1e6
        found.append(Episode(was_free, delay_ms, reason if isfinite(delay_ms) else ""))
    return found


def overhead(images: Sequence[Published], alarms: Iterable[Alarm]) -> dict[str, float] | None:
    """The node's time beside network and decoding, from its callback until an alarm is sent: ms, and per cent of the whole.

    Resizing, scoring, the alarm's rule, and building and sending the message count as the node's, the last as what it took
    for the alarm before. DDS and rclpy's own conversion of the image are not in it. None where the node does not tell.

    Where several cameras send at once it holds the time in which a picture waits for those before it.
    """
    wanted = {(image.camera, image.stamp_ns) for image in images}
    told = [one for one in alarms if (one.camera, one.stamp_ns) in wanted and isfinite(one.network_ms + one.send_ms)]
    if not told:
        return None
    rest = [one.latency_ms - one.network_ms - one.decode_ms + one.send_ms for one in told]
    shares = [100.0 * part / (one.latency_ms + one.send_ms) for part, one in zip(rest, told, strict=True)]
    return {
        "p50_ms": float(np.median(rest)),
        "p95_ms": float(np.percentile(rest, 95)),
        "p99_ms": float(np.percentile(rest, 99)),
        "percent": float(np.median(shares)),
        "network_ms": float(np.median([one.network_ms for one in told])),
        "decode_ms": float(np.median([one.decode_ms for one in told])),
    }


def complaints(
    images: Sequence[Published],
    heard: Heard,
    before: dict[str, Counts] | None = None,
    after: dict[str, Counts] | None = None,
) -> list[str]:
    """What must never be, one sentence each: no wall time is looked at.

    Args:
        images: of a whole plan.
        heard: everything since just before it, until its last alarm was out.
        before: the node's counts at rest before the plan; with ``after`` they must agree with what was heard.
        after: at rest behind it.
    """
    sent = {(image.camera, image.stamp_ns) for image in images if image.sent}
    withheld = {(image.camera, image.stamp_ns) for image in images if not image.sent}
    found = []
    for kind, arrivals in (("alarm", heard.alarms), ("segmentation", heard.segmentations)):
        for one in arrivals:
            key = (one.camera, one.stamp_ns)
            if key in withheld:
                found.append(f"{kind} of {one.camera}, stamp {one.stamp_ns}, is of an image that was never sent.")
            elif key not in sent:
                found.append(f"{kind} of {one.camera} has stamp {one.stamp_ns}, which no image had.")
        for camera in sorted({one.camera for one in arrivals}):
            stamps = [one.stamp_ns for one in arrivals if one.camera == camera]
            for earlier, later in pairwise(stamps):
                if later <= earlier:
                    found.append(f"{kind} of {camera}: stamp {later} came after {earlier}.")
    scored = {(one.camera, one.stamp_ns) for one in heard.alarms if isfinite(one.score)}
    for one in heard.segmentations:
        if (one.camera, one.stamp_ns) not in scored:
            found.append(f"segmentation of {one.camera}, stamp {one.stamp_ns}, has no alarm with a score.")
    for camera in sorted((before or {}).keys() & (after or {}).keys()):
        received = after[camera].received - before[camera].received
        dropped = after[camera].dropped - before[camera].dropped
        answered = sum(one.camera == camera for one in heard.alarms)
        published = sum(key[0] == camera for key in sent)
        if received > published:
            found.append(f"{camera}: the node received {received} images, but {published} were sent.")
        if answered != received - dropped:
            found.append(
                f"{camera}: the node received {received} images and dropped {dropped}, so {received - dropped} alarms are "
                f"due; {answered} were heard."
            )
    return found


class Trial(NamedTuple):
    """One rate that was tried: share of the images lost, and whether the source could hold the rate at all."""

    rate_hz: float
    loss: float
    source_held: bool

    @property
    def held(self) -> bool:
        """Whether it counts as held."""
        return self.source_held and self.loss <= LOSS_LIMIT


@dataclass(frozen=True)
class Search:
    """The highest rate held, 0 if none was; the trials in order; and what keeps it from being higher."""

    rate_hz: float
    trials: list[Trial]
    limited_by: str


def highest_rate(
    attempt: Callable[[float], Trial],
    start_hz: float,
    ceiling_hz: float,
    *,
    floor_hz: float = 1.0,
    precision: float = 0.05,
) -> Search:
    """Double or halve the rate until one is held and one is not, then halve the distance between the two.

    Args:
        attempt: tries a rate.
        start_hz: the first.
        ceiling_hz: the highest that is tried.
        floor_hz: the lowest.
        precision: the distance at which it ends, as a share of the rate held.
    """
    trials = [attempt(min(max(start_hz, floor_hz), ceiling_hz))]
    good = trials[0].rate_hz if trials[0].held else 0.0
    bad = None if trials[0].held else trials[0]
    while (bad is None and good < ceiling_hz) or (bad is not None and good == 0.0 and bad.rate_hz > floor_hz):
        rate_hz = min(2.0 * good, ceiling_hz) if bad is None else max(bad.rate_hz / 2.0, floor_hz)
        trials.append(attempt(rate_hz))
        if trials[-1].held:
            good = rate_hz
        else:
            bad = trials[-1]
    while bad is not None and good > 0.0 and bad.rate_hz - good > precision * good:
        trials.append(attempt((good + bad.rate_hz) / 2.0))
        if trials[-1].held:
            good = trials[-1].rate_hz
        else:
            bad = trials[-1]
    return Search(
        good, trials, "the ceiling of the search" if bad is None else "loss" if bad.source_held else "the source"
    )
