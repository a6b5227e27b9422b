"""Scores that the network's output gives by itself; the frame's value is the score.

What the values mean, with sources, stands with their computation (``vision/uncertainty.py``); larger = more OoD.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import ArrayDetector, Arrays


class OutputDetector(ArrayDetector):
    """Passes on the one value of each row (N, 1), in its own unit. Nothing is learnt and nothing stored."""

    rows = "N 1"

    def __init__(self) -> None:
        super().__init__()
        self._learnt = {}

    def _learn(self, data: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {}

    def _score(self, data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
        return data[:, 0]
