"""Alarms counted as a person would: those that follow each other closely are one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Alarms closer than this, in seconds, are one burst: a passing object, a bump, a tunnel.
BURST_GAP_S = 5.0


def burst_begins(times_s: ArrayLike) -> NDArray[np.bool_]:
    """Whether each alarm begins a burst (N,), from the times (N,) of all cameras of a vehicle in ascending order."""
    times = np.asarray(times_s, dtype=np.float64)
    return np.diff(times, prepend=-np.inf) > BURST_GAP_S


def count_bursts(times_s: ArrayLike) -> int:
    """Number of bursts among alarms at these times (N,), in any order."""
    return int(burst_begins(np.sort(np.asarray(times_s, dtype=np.float64))).sum())


def count_span_bursts(spans_s: Iterable[tuple[float, float]]) -> int:
    """Number of bursts among alarms that last from the begin to the end of each span, of all cameras of a vehicle."""
    bursts, last_s = 0, -inf
    for begin_s, end_s in sorted(spans_s):
        bursts += begin_s - last_s > BURST_GAP_S
        last_s = max(last_s, end_s)
    return bursts


class BurstCount:
    """``count_bursts`` of a growing set of times.

    Attributes:
        bursts: number so far.
    """

    def __init__(self) -> None:
        self._times: list[float] = []
        self.bursts = 0

    def add(self, time_s: float) -> int:
        """Add one time; returns the number of bursts. A time between two bursts may join them."""
        at = bisect_left(self._times, time_s)
        joins_left = at > 0 and time_s - self._times[at - 1] <= BURST_GAP_S
        joins_right = at < len(self._times) and self._times[at] - time_s <= BURST_GAP_S
        self.bursts += 1 - joins_left - joins_right
        if at > 0 and at < len(self._times) and self._times[at] - self._times[at - 1] <= BURST_GAP_S:
            self.bursts += 1  # both neighbours were one burst already
        self._times.insert(at, time_s)
        return self.bursts
