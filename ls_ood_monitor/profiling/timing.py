"""Times several pieces of work in turns, so that other load of the machine affects all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Median and quartiles of the turns of one piece of work, milliseconds."""

    median_ms: float
    low_ms: float
    high_ms: float

    @staticmethod
    def of(turns_ms: Sequence[float]) -> Timing:
        """Summarise at least one turn."""
        low, median, high = np.percentile(turns_ms, (25, 50, 75)).tolist()
        return Timing(median, low, high)


def interleaved(
    work: Mapping[str, Callable[[], object]],
    repeats: int,
    done: Callable[[int], None] | None = None,
    *,
    rest_s: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, list[float]]:
    """Run all pieces of work in turns and time them. A first turn warms up and is not counted.

    Args:
        work: pieces by name. A piece must return only when it is done: on a GPU it has to fetch its result.
        repeats: number of turns that count.
        done: called with the number of turns done, including the first one.
        rest_s: seconds to rest before each piece; not counted. Cores and caches go cold, as between two images of a camera.
        clock: current time in seconds.
        sleep: rests for a number of seconds.

    Returns:
        Name -> milliseconds of each turn.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 1):
        for name, run in work.items():
            sleep(rest_s)
            begin = clock()
            run()
            if turn:
                times[name].append(1000.0 * (clock() - begin))
        if done is not None:
            done(turn + 1)
    return times


def ratio(times: Mapping[str, Sequence[float]], name: str, base: str) -> Timing:
    """Ratio of the times of ``name`` and ``base``, turn by turn, so that slow moments of the machine cancel."""
    return Timing.of([own / reference for own, reference in zip(times[name], times[base], strict=True)])
