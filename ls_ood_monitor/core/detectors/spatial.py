"""Ours: how far a frame is from clean ones as a whole, and how far its strangest places are; the stranger of both counts.

What covers the whole picture (fog, blur, darkness, noise) moves the mean of every channel a little and is seen best there.
What covers a part of it (dirt, a hand, an unknown object) is averaged away there and is seen best place by place. Both
distances are measured against the usual one of clean frames that a fit has not seen, so that neither drowns the other.
Only its middle is taken from them: a spread would hang on the few strangest clean frames, so that a threshold from fits
without these frames would not suit a fit with them, and after a short recording nothing would be detected any more.

Sources: Lee et al., NeurIPS 2018 (Mahalanobis distance); Defard et al., PaDiM, ICPR 2021 (a Gaussian at every place, on
several early stages); Ledoit & Wolf 2004 (shrinkage). Pooling one covariance over all places, the usual distance of
unseen frames and the maximum are this project's.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import BundleError
from .base import ArrayDetector, Arrays
from .gaussian import covariance_estimate

_TOP_CELLS = 4  # of the strangest cells: one alone is noisy, many miss what is small
_FOLDS = 8  # contiguous, because neighbouring frames are nearly equal; few would make unseen frames look too far away
_MAX_FRAMES = 2000  # of a video, evenly spread; more would only repeat themselves
_MAX_CELLS = 5000  # for the covariance
_TINY = 1e-12

#: Entries of ``usual``: the picture as a whole, the mean of its strangest cells, its strangest cell.
_WHOLE, _PART, _CELL = range(3)


class SpatialDetector(ArrayDetector):
    """Rows (N, G, E): channel means of the encoder's early and middle stages in each of G cells of a grid.

    With d = squared Mahalanobis distance over its dimension,

        score = max(log d(mean over cells) - usual, mean of the 4 largest of (log d(cell) - level(cell)) - usual)

    where each ``usual`` is the median of its term over clean frames that the fit had not seen. So 0 is an ordinary clean
    frame, and a score of log 2 one at twice the squared distance (natural logarithm, no unit).
    """

    rows: ClassVar = "N G E"
    arrays: ClassVar = {
        "mean": "E",
        "precision": "E E",
        "cell_mean": "G E",
        "cell_precision": "E E",
        "cell_level": "G",
        "usual": "3",
    }

    def cell_scores(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Where it is strange, (N, G): as ``score``, a cell above the frame's threshold is out of distribution.

        Measured against the strangest cell of a usual clean frame; larger = more OoD; a row that is not finite is NaN.
        """
        arrays = self._fitted()
        data = np.asarray(rows, dtype=np.float64)
        self._check_axes(data, arrays)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(_cells(data, arrays) - arrays["usual"][_CELL], dtype=np.float64)

    def _learn(self, data: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        if len(data) > _MAX_FRAMES:
            data = data[np.linspace(0, len(data) - 1, _MAX_FRAMES).round().astype(int)]
        folds = np.arange(len(data)) * min(_FOLDS, len(data)) // len(data)
        unseen = np.empty((len(data), 3))
        for fold in np.unique(folds):
            held_out = folds == fold
            # Two frames are the least a covariance can be taken from.
            seen = data[~held_out] if (~held_out).sum() > 1 else data
            unseen[held_out] = _distances(data[held_out], _gaussians(seen))
        return {**_gaussians(data), "usual": np.median(unseen, axis=0)}

    def _score(self, data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
        beyond = _distances(data, arrays) - arrays["usual"]
        return np.asarray(beyond[:, : _PART + 1].max(axis=1), dtype=np.float64)

    @classmethod
    def _check_state(cls, arrays: Arrays) -> None:
        for name in ("precision", "cell_precision"):
            diagonal = np.diagonal(arrays[name])
            if not diagonal.any() or (diagonal < 0.0).any():
                raise BundleError(
                    f"detector array {name} is no inverse covariance (diagonal zero or negative); calibrate again."
                )


def _gaussians(data: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """One Gaussian of whole frames; at each cell a mean of its own, and one covariance pooled over all cells."""
    whole = covariance_estimate(data.mean(axis=1), "ledoit_wolf")
    cell_mean = data.mean(axis=0)
    residuals = (data - cell_mean).reshape(-1, data.shape[2])
    if len(residuals) > _MAX_CELLS:
        # Drawn, not every n-th: n may divide the number of cells, and then most of them are never seen.
        drawn = np.random.default_rng(0).choice(len(residuals), _MAX_CELLS, replace=False)
        residuals = residuals[np.sort(drawn)]
    pooled = covariance_estimate(residuals, "ledoit_wolf")
    arrays = {
        "mean": np.asarray(whole.location_, dtype=np.float64),
        "precision": np.asarray(whole.get_precision(), dtype=np.float64),
        "cell_mean": cell_mean,
        "cell_precision": np.asarray(pooled.get_precision(), dtype=np.float64),
        "cell_level": np.zeros(data.shape[1]),
    }
    # Some places always differ more than others (the kerb side, the own hood): what is usual there is no sign of anything.
    arrays["cell_level"] = _cells(data, arrays).mean(axis=0)
    return arrays


def _cells(data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
    """Log distance of each cell from its own mean, less what is usual there, (N, G)."""
    return _log_distance(data - arrays["cell_mean"], arrays["cell_precision"]) - arrays["cell_level"]


def _distances(data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
    """The three log distances of a frame, (N, 3): whole, strangest cells, strangest cell."""
    cells = np.sort(_cells(data, arrays), axis=1)
    whole = _log_distance(data.mean(axis=1) - arrays["mean"], arrays["precision"])
    return np.stack([whole, cells[:, -_TOP_CELLS:].mean(axis=1), cells[:, -1]], axis=1)


def _log_distance(centred: NDArray[np.float64], precision: NDArray[np.float64]) -> NDArray[np.float64]:
    squared = np.einsum("...e,...e->...", centred @ precision, centred) / centred.shape[-1]
    return np.asarray(np.log(np.maximum(squared, _TINY)), dtype=np.float64)
