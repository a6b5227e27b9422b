"""Times several pieces of work in turns, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one piece of work.

    Attributes:
        median_ms: over the turns.
        low_ms: first quartile.
        high_ms: third quartile.
    """

    median_ms: float
    low_ms: float
    high_ms: float

    @staticmethod
    def of(turns_ms: Sequence[float]) -> Timing:
        """Of at least one turn."""
        if len(turns_ms) == 1:
            return Timing(turns_ms[0], turns_ms[0], turns_ms[0])
        low, median, high = statistics.quantiles(turns_ms, n=4, method="inclusive")
        return Timing(median, low, high)


def interleaved(
    work: Mapping[str, Callable[[], object]],
    repeats: int,
    done: Callable[[int], None] | None = None,
    *,
    rest_s: float = 0.0,
) -> dict[str, list[float]]:
    """Milliseconds of each turn by name, ``repeats`` of each; a first turn that warms up is not counted.

    Args:
        work: pieces that return only when they are done: one that works on a GPU has to fetch its result.
        repeats: turns that count.
        done: told the number of turns so far, the first one included.
        rest_s: before each piece, in which cores and caches go cold as between two images of a camera; not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 1):
        for name, run in work.items():
            time.sleep(rest_s)
            begin = time.perf_counter()
            run()
            if turn:
                times[name].append(1000.0 * (time.perf_counter() - begin))
        if done is not None:
            done(turn + 1)
    return times


def ratio(times: Mapping[str, Sequence[float]], name: str, base: str) -> Timing:
    """Times of ``name`` as multiples of those of ``base``, turn by turn, so that a slow moment of the machine cancels."""
    return Timing.of([one / other for one, other in zip(times[name], times[base], strict=True)])
