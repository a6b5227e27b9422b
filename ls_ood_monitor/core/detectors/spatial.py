"""Distance of a picture on three scales: the whole picture, 12 blocks of it, and 48 cells. One Gaussian per scale.

A disturbance of the whole picture (fog, noise, darkness) changes every channel a little; the channels' means over the whole
picture show it best. A disturbance of a part (dirt, an unknown object) disappears in these means; places of about its own
size show it best.

Distances are compared with the median distance of clean frames that were held out of the fit. They are not scaled by the
spread of clean frames: the spread depends on a few extreme frames, so a threshold from fits without these frames would not
suit a fit with them, and a short calibration would detect nothing. The largest of many places spreads more; a fixed weight
allows for that.

Sources: Lee et al., NeurIPS 2018 (Mahalanobis distance); Defard et al., PaDiM, ICPR 2021 (a Gaussian at every place, on
several early stages); Ledoit & Wolf 2004 (shrinkage). The pooled covariance, the scales, their weights and the
maximum are this project's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import ArrayLike, NDArray

from ..grid import GRID
from .base import Arrays, Detector
from .gaussian import check_precision, covariance_estimate, squared_distance

Values = NDArray[np.float64]

#: Rows and columns of cells in a block.
BLOCK = (2, 2)
_ROWS, _COLUMNS = GRID[0] // BLOCK[0], GRID[1] // BLOCK[1]
_FOLDS = 8  # contiguous, because neighbouring frames are nearly equal
_MAX_FRAMES = 2000  # drawn from the whole video
_MAX_PLACES = 5000  # for the covariance
_AT_ONCE = 128  # frames, to bound the memory of a fit
_TINY = 1e-12


def blocks_of(cells: Any) -> Any:
    """Mean of each block: cells (N, 48, E), row by row from the top left -> (N, 12, E); for any array library."""
    xp = array_namespace(cells)
    count, _, width = cells.shape
    split = xp.reshape(cells, (count, _ROWS, BLOCK[0], _COLUMNS, BLOCK[1], width))
    return xp.reshape(xp.mean(split, axis=(2, 4)), (count, _ROWS * _COLUMNS, width))


def cells_of(blocks: Any) -> Any:
    """The value of each cell's block: (N, 12) -> (N, 48); for any array library."""
    xp = array_namespace(blocks)
    count = blocks.shape[0]
    plane = xp.reshape(blocks, (count, _ROWS, 1, _COLUMNS, 1))
    spread = xp.broadcast_to(plane, (count, _ROWS, BLOCK[0], _COLUMNS, BLOCK[1]))
    return xp.reshape(spread, (count, GRID[0] * GRID[1]))


#: Scale -> cells (N, 48, E) to places (N, P, E).
_SCALES: dict[str, Callable[[Any], Any]] = {
    "whole": lambda cells: array_namespace(cells).mean(cells, axis=1, keepdims=True),
    "block": blocks_of,
    "cell": lambda cells: cells,
}
#: Weight of each scale. On the development drives 0.65 to 0.8 for blocks and cells give equal results; 1 raises the threshold.
_WEIGHTS = (1.0, 0.75, 0.75)


class SpatialDetector(Detector):
    """Rows (N, 48, E): channel means of the encoder's early and middle stages in each cell of the grid (``core/grid.py``).

    With d = squared Mahalanobis distance of a place from its mean, divided by its dimension, and level = the mean of log d at
    this place over clean frames,

        term(scale) = weight * (largest of (log d - level) over the scale's places - clean_median)
        score = largest term of the scales

    where clean_median is the median over clean frames held out of the fit, and weight is 1 for the whole picture and 0.75 for
    blocks and cells. So a typical clean frame scores 0, and one at twice its squared distance log 2 (natural logarithm, no unit).
    """

    rows: ClassVar = "N 48 E"
    portable: ClassVar = True
    has_cells: ClassVar = True
    arrays: ClassVar = {
        "whole_mean": "1 E",
        "whole_precision": "E E",
        "whole_level": "1",
        "block_mean": "12 E",
        "block_precision": "E E",
        "block_level": "12",
        "cell_mean": "48 E",
        "cell_precision": "E E",
        "cell_level": "48",
        "clean_median": "3",
    }

    def cell_scores(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Score of each cell, (N, 48): the larger of its own term and of its block's term; larger = more OoD.

        On the scale of ``score``, which is never smaller. If a cell is not finite, its whole block is NaN.
        """
        return self.score_and_cells(rows)[1]

    def score_and_cells(self, rows: ArrayLike) -> tuple[Values, Values]:
        """``score`` (N,) and ``cell_scores`` (N, 48), from one computation of the distances."""
        arrays = self._fitted()
        data = np.asarray(rows, dtype=np.float64)
        self._check_rows(data, arrays)
        with np.errstate(over="ignore", invalid="ignore"):
            terms = _terms(data, arrays)
            scores, cells = _score_of(terms), _cells_of(terms)
        scores[~np.isfinite(data).all(axis=(1, 2))] = np.nan
        return scores, cells

    def portable_cells(self, rows: Any, arrays: Mapping[str, Any]) -> Any:
        """``cell_scores`` with any array library, as ``portable_score``."""
        return _cells_of(_terms(rows, arrays))

    def draw_rows(self, count: int) -> NDArray[np.int64] | None:
        """A random draw of 2 000 frames: every n-th frame could miss a camera if the cameras alternate."""
        if count <= _MAX_FRAMES:
            return None
        return np.sort(np.random.default_rng(0).choice(count, _MAX_FRAMES, replace=False))

    def _learn(self, data: Values) -> dict[str, Values]:
        drawn = self.draw_rows(len(data))
        if drawn is not None:
            data = data[drawn]
        folds = np.arange(len(data)) * min(_FOLDS, len(data)) // len(data)
        unseen = np.empty((len(data), len(_SCALES)))
        for fold in np.unique(folds):
            held_out = folds == fold
            # A covariance needs at least two frames.
            seen = data[~held_out] if (~held_out).sum() > 1 else data
            arrays = _gaussians(seen)
            del seen
            unseen[held_out] = _in_parts(partial(_largest_excesses, arrays), data[held_out])
        return {**_gaussians(data), "clean_median": np.median(unseen, axis=0)}

    def _score(self, data: Any, arrays: Mapping[str, Any]) -> Any:
        return _score_of(_terms(data, arrays))

    @classmethod
    def _check_state(cls, arrays: Arrays) -> None:
        for scale in _SCALES:
            check_precision(arrays, f"{scale}_precision")


def _gaussians(data: Values) -> dict[str, Values]:
    """For each scale: the mean of every place, and one covariance pooled over all places."""
    arrays: dict[str, Values] = {}
    for scale, pooled in _SCALES.items():
        places = pooled(data)
        mean = places.mean(axis=0)
        flat = places.reshape(-1, places.shape[2])
        index = np.arange(len(flat))
        if len(flat) > _MAX_PLACES:
            # A random draw: if n divided the number of places, every n-th row would always be the same places.
            index = np.sort(np.random.default_rng(0).choice(len(flat), _MAX_PLACES, replace=False))
        residuals = flat[index] - mean[index % len(mean)]
        precision = np.asarray(covariance_estimate(residuals, "ledoit_wolf").get_precision(), dtype=np.float64)
        arrays[f"{scale}_mean"], arrays[f"{scale}_precision"] = mean, precision
        # Some places always vary more than others, the kerb side for example.
        arrays[f"{scale}_level"] = _in_parts(partial(_distances, mean, precision), places).mean(axis=0)
    return arrays


def _distances(mean: Values, precision: Values, places: Values) -> Values:
    return np.asarray(_log_distance(places - mean, precision))


def _in_parts(compute: Callable[[Values], Values], rows: Values) -> Values:
    """``compute`` of rows (N, ...), a part at a time: its intermediate arrays are several times as large as the rows."""
    return np.concatenate([compute(rows[first : first + _AT_ONCE]) for first in range(0, len(rows), _AT_ONCE)])


def _excesses(data: Any, arrays: Mapping[str, Any]) -> list[Any]:
    """Log distance of each place minus its level, (N, P) for each scale."""
    return [
        _log_distance(pooled(data) - arrays[f"{scale}_mean"], arrays[f"{scale}_precision"]) - arrays[f"{scale}_level"]
        for scale, pooled in _SCALES.items()
    ]


def _largest_excesses(arrays: Mapping[str, Any], data: Values) -> Values:
    return np.asarray(_largest(_excesses(data, arrays)))


def _terms(data: Any, arrays: Mapping[str, Any]) -> list[Any]:
    """``_excesses`` minus the clean median of the largest place, weighted."""
    return [
        weight * (values - arrays["clean_median"][index])
        for index, (weight, values) in enumerate(zip(_WEIGHTS, _excesses(data, arrays), strict=True))
    ]


def _score_of(terms: list[Any]) -> Any:
    """(N,): the largest term."""
    largest = _largest(terms)
    return array_namespace(largest).max(largest, axis=1)


def _cells_of(terms: list[Any]) -> Any:
    """(N, 48): the larger of a cell's term and of its block's term."""
    _, blocks, cells = terms
    return array_namespace(cells).maximum(cells_of(blocks), cells)


def _largest(scales: list[Any]) -> Any:
    """Largest value of each scale, (N, scales)."""
    xp = array_namespace(scales[0])
    return xp.stack([xp.max(values, axis=1) for values in scales], axis=1)


def _log_distance(centred: Any, precision: Any) -> Any:
    squared = squared_distance(centred, precision) / centred.shape[-1]
    return array_namespace(squared).log(squared + _TINY)
