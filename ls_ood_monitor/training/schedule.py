"""Learning-rate schedules as a function of the progress of the run.

They depend on progress alone, so a run can be resumed with another number of epochs.
"""

from __future__ import annotations

import math

SCHEDULES: tuple[str, ...] = ("one_cycle", "cosine", "poly", "constant")
_WARM_UP = 0.15
_START = 0.04


def rate_factor(name: str, progress: float) -> float:
    """Learning rate relative to its peak, in [0, 1], after a share ``progress`` of the run's steps, clipped to [0, 1].

    Schedules are one_cycle (Smith, arXiv 1708.07120: cosine up over 15 %, cosine down), cosine (down to 0), poly
    ((1 - p)^0.9) and constant.
    """
    p = min(max(progress, 0.0), 1.0)
    if name == "one_cycle":
        if p < _WARM_UP:
            return _START + (1.0 - _START) * (1.0 - math.cos(math.pi * p / _WARM_UP)) / 2.0
        return (1.0 + math.cos(math.pi * (p - _WARM_UP) / (1.0 - _WARM_UP))) / 2.0
    if name == "cosine":
        return (1.0 + math.cos(math.pi * p)) / 2.0
    if name == "poly":
        return float((1.0 - p) ** 0.9)
    return 1.0
