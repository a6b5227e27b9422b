"""Times several pieces of work in turns, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable


def interleaved(work: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each turn by name, ``repeats`` of each; a first turn that warms up is not counted.

    A piece must return only when it is done: one that works on a GPU has to fetch its result.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 1):
        for name, run in work.items():
            begin = time.perf_counter()
            run()
            if turn:
                times[name].append(1000.0 * (time.perf_counter() - begin))
    return times
