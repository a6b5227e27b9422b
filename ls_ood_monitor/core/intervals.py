"""How far a rate measured on finite data can be trusted: 95 % intervals of shares and of events an hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, norm

from .bootstrap import resample_counts, share_interval


@dataclass(frozen=True)
class Share:
    """Share of frames above a threshold, with its intervals.

    Attributes:
        above: frames above.
        frames: all frames.
        units: blocks of time or drives that they form.
        low: lower end of the interval that resamples whole units.
        high: its upper end.
        wilson_low: lower end if frames were independent, which those of a video are not.
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
    """Events an hour, with the exact Poisson interval.

    Attributes:
        events: events seen.
        hours: time watched.
        low: lower end of the interval, an hour.
        high: its upper end.
        upper: what can be claimed at most, one-sided; without an event 3 / hours, the rule of three.
    """

    events: int
    hours: float
    low: float
    high: float
    upper: float

    @property
    def per_hour(self) -> float:
        """Events an hour."""
        return self.events / self.hours

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the rate included."""
        return {"per_hour": self.per_hour, **asdict(self)}


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a binomial share (Wilson 1927). Frames of a video are not independent: it is then too narrow."""
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a share.")
    _check_confidence(confidence)
    z = float(norm.ppf(0.5 + confidence / 2.0))
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_interval(
    flags: ArrayLike, units: ArrayLike, *, confidence: float = 0.95, draws: int = 4000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the share of true flags (N,) when whole units, not frames, are drawn again (Efron 1979).

    Where no unit (or every unit) has a flagged frame all draws are equal. The open end is then the exact one-sided
    bound for that many units: without a hit in B units, 1 - (1 - confidence)^(1 / B), about 3 / B.

    Args:
        flags: (N,) true for a frame above the threshold.
        units: (N,) block or drive of each frame.
        confidence: of the interval.
        draws: resamples.
        seed: of the resamples.
    """
    _check_confidence(confidence)
    marks, ids = np.asarray(flags, dtype=bool), np.asarray(units)
    if marks.ndim != 1 or marks.shape != ids.shape or marks.size == 0:
        raise ValueError(f"flags have shape {marks.shape}, units {ids.shape}; both must be (N,), N >= 1.")
    _, index = np.unique(ids, return_inverse=True)
    sizes = np.bincount(index)
    hits = np.bincount(index, weights=marks)
    beyond = float(1.0 - (1.0 - confidence) ** (1.0 / len(sizes)))
    if not marks.any():
        return 0.0, beyond
    if marks.all():
        return 1.0 - beyond, 1.0
    interval, _ = share_interval(hits, sizes, resample_counts(len(sizes), draws, seed), confidence)
    return interval.low, interval.high


def share_of(flags: ArrayLike, units: ArrayLike, *, seed: int = 0) -> Share:
    """Share of true flags (N,) with the 95 % intervals by whole units (N,) and by frames."""
    marks = np.asarray(flags, dtype=bool)
    low, high = bootstrap_interval(marks, units, seed=seed)
    above, frames = int(marks.sum()), int(marks.size)
    return Share(above, frames, len(np.unique(np.asarray(units))), low, high, *wilson_interval(above, frames))


def poisson_interval(events: int, hours: float, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of events an hour (Garwood 1936)."""
    _check_events(events, hours)
    _check_confidence(confidence)
    tail = (1.0 - confidence) / 2.0
    low = float(chi2.ppf(tail, 2 * events)) / (2.0 * hours) if events else 0.0
    return low, float(chi2.ppf(1.0 - tail, 2 * events + 2)) / (2.0 * hours)


def poisson_upper_bound(events: int, hours: float, confidence: float = 0.95) -> float:
    """Largest rate an hour that the count still allows, one-sided; without an event about 3 / hours (rule of three)."""
    _check_events(events, hours)
    _check_confidence(confidence)
    return float(chi2.ppf(confidence, 2 * events + 2)) / (2.0 * hours)


def event_rate(events: int, hours: float) -> EventRate:
    """Events an hour with the exact 95 % interval and the one-sided 95 % bound."""
    return EventRate(events, hours, *poisson_interval(events, hours), poisson_upper_bound(events, hours))


def worst_share(flags: ArrayLike, units: ArrayLike) -> tuple[str, int, int]:
    """Name, flagged frames and frames of the unit with the largest share of flagged frames; the larger unit of equals."""
    counts = counts_by_unit(flags, units)
    name = max(counts, key=lambda key: (counts[key][0] / counts[key][1], counts[key][1]))
    return name, *counts[name]


def counts_by_unit(flags: ArrayLike, units: ArrayLike) -> Mapping[str, tuple[int, int]]:
    """Unit -> flagged frames, frames; in the order of the units' names."""
    names, index = np.unique(np.asarray(units), return_inverse=True)
    sizes: NDArray[np.int64] = np.bincount(index)
    hits = np.bincount(index, weights=np.asarray(flags, dtype=bool))
    return {str(name): (int(hit), int(size)) for name, hit, size in zip(names, hits, sizes, strict=True)}


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; it must lie within (0, 1).")


def _check_events(events: int, hours: float) -> None:
    if events < 0 or not hours > 0.0:
        raise ValueError(f"{events} events in {hours} hours is not a rate.")
