"""Distance to the K-th nearest clean row.

Source: Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022, arXiv 2204.06507.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import BundleError, ConfigError, MonitorError
from .base import Arrays, Detector

#: The reference's K; fewer if it is more than a tenth of the rows.
_NEIGHBOURS = 50
_ROWS_PER_NEIGHBOUR = 10
_TINY = 1e-12


class NeighbourDetector(Detector):
    """Euclidean distance of a row to its K-th nearest clean row, all rows scaled to length 1; from 0 to 2.

    Args:
        neighbours: K, at most the number of rows. None = 50 as in the reference, but at most a tenth of the rows (and at
            least 1): among 80 rows the distance to the 50th neighbour would measure the size of the whole set.
    """

    arrays: ClassVar = {"train": "n D", "neighbours": "1"}

    def __init__(self, neighbours: int | None = None) -> None:
        super().__init__()
        if neighbours is not None and neighbours < 1:
            raise ConfigError(f"neighbours is {neighbours}; it must be at least 1.")
        self.neighbours = neighbours

    def _learn(self, data: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        rank = self.neighbours or max(1, min(_NEIGHBOURS, len(data) // _ROWS_PER_NEIGHBOUR))
        if rank > len(data):
            raise MonitorError(
                f"neighbours is {rank}, but there are {len(data)} rows; use at most {len(data)}, or None."
            )
        return {"train": _unit(data), "neighbours": np.array([float(rank)])}

    def _score(self, data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
        rows, train = _unit(data), arrays["train"]
        rank = int(arrays["neighbours"][0]) - 1
        # One matrix product gives the order. The distance is computed anew, because 2 - 2 cos is inexact for small distances.
        order = np.argpartition(-(rows @ train.T), rank, axis=1)[:, rank]
        return np.asarray(np.linalg.norm(rows - train[order], axis=1), dtype=np.float64)

    @classmethod
    def _check_state(cls, arrays: Arrays) -> None:
        rank, count = arrays["neighbours"][0], len(arrays["train"])
        if not 1 <= rank <= count:
            raise BundleError(
                f"detector array neighbours is {rank:g}, it must lie within [1, {count}]; calibrate again."
            )


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows scaled to length 1; a row of zeros stays one."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY), dtype=np.float64)
