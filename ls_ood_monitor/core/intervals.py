"""Confidence intervals of shares and of events per hour, 95 % by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, chi2, norm, t

from .coded_names import CodedNames


class Interval(NamedTuple):
    """A value with the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Share:
    """Share of frames above a threshold, with its intervals.

    Attributes:
        above: number of frames above.
        frames: number of frames.
        units: number of blocks of time, or drives, that the frames come from.
        low: lower end of the interval by whole units (``share_interval``).
        high: its upper end.
        wilson_low: lower end of the interval for independent frames; frames of a video are not independent.
        wilson_high: its upper end.
    """

    above: int
    frames: int
    units: int
    low: float
    high: float
    wilson_low: float
    wilson_high: float

    @property
    def rate(self) -> float:
        """The share itself."""
        return self.above / self.frames

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the rate included."""
        return {"rate": self.rate, **asdict(self)}


@dataclass(frozen=True)
class EventRate:
    """Events per hour, with the exact Poisson interval.

    Attributes:
        events: number of events.
        hours: duration of the observation.
        low: lower end of the interval, events per hour.
        high: its upper end.
        upper: one-sided 95 % bound; without an event 3 / hours (rule of three).
    """

    events: int
    hours: float
    low: float
    high: float
    upper: float

    @property
    def per_hour(self) -> float:
        """Events per hour."""
        return self.events / self.hours

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the rate included."""
        return {"per_hour": self.per_hour, **asdict(self)}


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a binomial share (Wilson 1927); too narrow for frames of a video, which are not independent."""
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a share.")
    _check_confidence(confidence)
    z = float(norm.ppf(0.5 + confidence / 2.0))
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


def clopper_pearson(successes: float, trials: float, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a binomial share. The numbers may be effective, not whole, numbers."""
    if not trials > 0.0 or not 0.0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a share.")
    _check_confidence(confidence)
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1.0 - tail, successes + 1, trials - successes))
    return low, high


def share_interval(hits: ArrayLike, totals: ArrayLike, confidence: float = 0.95) -> Interval:
    """Share of hits among frames that come in units (blocks, drives), with its interval (Korn & Graubard 1998).

    Frames of one unit are correlated. The effective number of independent frames is that which would vary as much as the
    units do; the exact binomial interval is taken for this number. In simulation (15 to 120 units, true shares of 1 to 30 %)
    it contains the true share in at least 89 % of the cases; percentiles of resampled units do in at least 83 %, fewest if
    there are few hits.

    If no frame or every frame is a hit, nothing varies, and a unit counts as one frame: the upper end for U units without a
    hit is 1 - (a/2)^(1/U). A single hit shortens the interval, because it is the first, weak estimate of the variance.

    Args:
        hits: (U,) number of hits in each unit.
        totals: (U,) number of frames in each unit, > 0.
        confidence: of the interval.
    """
    hit, total = np.asarray(hits, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    if hit.ndim != 1 or hit.shape != total.shape or not len(total) or (total <= 0).any():
        raise ValueError(f"hits of shape {hit.shape} and totals of shape {total.shape} do not describe the same units.")
    _check_confidence(confidence)
    units, frames = len(total), float(total.sum())
    share = float(hit.sum()) / frames
    effective = float(units)
    if 0.0 < share < 1.0 and units > 1:
        variance = units / (units - 1) * float(np.sum((hit - share * total) ** 2)) / frames**2
        independent = min(frames, share * (1.0 - share) / variance) if variance > 0.0 else frames
        # The variance itself is estimated from few units.
        tail = 0.5 + confidence / 2.0
        effective = independent * float(t.ppf(tail, frames - 1) / t.ppf(tail, units - 1)) ** 2
    return Interval(share, *clopper_pearson(share * effective, effective, confidence))


def share_of(flags: ArrayLike, units: ArrayLike) -> Share:
    """Share of true flags (N,) with the 95 % intervals by whole units (N,) and by frames."""
    marks = np.asarray(flags, dtype=bool)
    _, index = _grouped(units)
    if marks.ndim != 1 or marks.shape != index.shape or marks.size == 0:
        raise ValueError(f"flags have shape {marks.shape}, units {index.shape}; both must be (N,), N >= 1.")
    totals = np.bincount(index)
    interval = share_interval(np.bincount(index, weights=marks), totals)
    above, frames = int(marks.sum()), int(marks.size)
    return Share(above, frames, len(totals), interval.low, interval.high, *wilson_interval(above, frames))


def poisson_interval(events: int, hours: float, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of events per hour (Garwood 1936)."""
    _check_events(events, hours)
    _check_confidence(confidence)
    tail = (1.0 - confidence) / 2.0
    low = float(chi2.ppf(tail, 2 * events)) / (2.0 * hours) if events else 0.0
    return low, float(chi2.ppf(1.0 - tail, 2 * events + 2)) / (2.0 * hours)


def poisson_upper_bound(events: int, hours: float, confidence: float = 0.95) -> float:
    """One-sided upper bound of events per hour; without an event about 3 / hours (rule of three)."""
    _check_events(events, hours)
    _check_confidence(confidence)
    return float(chi2.ppf(confidence, 2 * events + 2)) / (2.0 * hours)


def event_rate(events: int, hours: float) -> EventRate:
    """Events per hour with the exact 95 % interval and the one-sided 95 % bound."""
    return EventRate(events, hours, *poisson_interval(events, hours), poisson_upper_bound(events, hours))


def worst_share(flags: ArrayLike, units: ArrayLike) -> tuple[str, int, int]:
    """Name, flagged frames and frames of the unit with the largest share of flagged frames; of equals the larger unit."""
    counts = counts_by_unit(flags, units)
    name = max(counts, key=lambda key: (counts[key][0] / counts[key][1], counts[key][1]))
    return name, *counts[name]


def counts_by_unit(flags: ArrayLike, units: ArrayLike) -> Mapping[str, tuple[int, int]]:
    """Unit -> (flagged frames, frames), sorted by unit."""
    names, index = _grouped(units)
    sizes: NDArray[np.int64] = np.bincount(index)
    hits = np.bincount(index, weights=np.asarray(flags, dtype=bool))
    return {str(name): (int(hit), int(size)) for name, hit, size in zip(names, hits, sizes, strict=True)}


def _grouped(units: ArrayLike) -> tuple[Sequence[Any], NDArray[np.int64]]:
    """The different units, sorted, and the index of each frame's unit, of the shape of ``units``."""
    if isinstance(units, CodedNames):
        return units.grouped()
    ids = np.asarray(units)
    names, index = np.unique(ids, return_inverse=True)
    return names.tolist(), np.asarray(index, np.int64).reshape(ids.shape)


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; it must lie within (0, 1).")


def _check_events(events: int, hours: float) -> None:
    if events < 0 or not hours > 0.0:
        raise ValueError(f"{events} events in {hours} hours is not a rate.")
