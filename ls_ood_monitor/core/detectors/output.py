"""Scores that are features of the network's output already (``vision/uncertainty.py``); larger = more OoD."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Arrays, Detector


class OutputDetector(Detector):
    """The single value of each row (N, 1) is the score, in its own unit. Nothing is learnt or stored."""

    rows = "N 1"

    def __init__(self) -> None:
        super().__init__()
        self._learnt = {}

    def _learn(self, data: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {}

    def _score(self, data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
        return data[:, 0]
