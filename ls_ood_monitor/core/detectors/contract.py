"""The interface of a detector: the constructor stores, ``fit`` learns, ``score`` scores; larger = more OoD."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Detector(Protocol):
    """Scores frames by one kind of feature rows."""

    def fit(self, rows: ArrayLike, ood_rows: ArrayLike | None = None) -> Detector:
        """Learn from clean rows (N, ...). Only a supervised detector reads ``ood_rows``, and it requires them."""
        ...

    def score(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Score (N,) of rows (N, ...); larger = more OoD. A non-finite row scores NaN. Rows do not affect each other."""
        ...

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Arrays to store."""
        ...


@runtime_checkable
class CellDetector(Protocol):
    """A detector that also scores each cell of the picture."""

    def cell_scores(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Score (N, cells) of rows (N, cells, ...), cells row by row from the top left; larger = more OoD.

        On the scale of ``score``: a cell above the frame's threshold is out of distribution. NaN for a non-finite row.
        """
        ...

    def score_and_cells(self, rows: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """``score`` and ``cell_scores`` of the same rows, for little more than the cost of one."""
        ...

    def portable_cells(self, rows: Any, arrays: Mapping[str, Any]) -> Any:
        """``cell_scores`` with any array library, as ``ArrayApiDetector.portable_score``."""
        ...


class ArrayApiDetector(Protocol):
    """A detector whose score any array library can compute, on its own device."""

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Arrays to score with."""
        ...

    def portable_score(self, rows: Any, arrays: Mapping[str, Any]) -> Any:
        """Scores (N,) of rows with the state's arrays; no branch depends on a value. A non-finite row's score is not finite."""
        ...


@dataclass(frozen=True)
class Head:
    """The network's last layer, a linear map; some detectors need it.

    Attributes:
        weight: (classes, P).
        bias: (classes,).
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]


@dataclass(frozen=True)
class DetectorSpec:
    """One entry of the registry.

    Attributes:
        feature: name of the feature it reads (``features.FEATURES``).
        make: makes an unfitted detector; takes the network's last layer, which most detectors ignore.
        from_state: rebuilds a fitted detector from stored arrays; raises ``BundleError``.
        source: paper or origin.
        supervised: the detector is fitted to OoD rows, too.
    """

    feature: str
    make: Callable[[Head], Detector]
    from_state: Callable[[Mapping[str, NDArray[np.float64]]], Detector]
    source: str
    supervised: bool = False
