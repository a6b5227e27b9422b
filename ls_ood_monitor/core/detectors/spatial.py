"""Is the picture strange as a whole, or some part of it? One Gaussian a scale, the same arithmetic on each.

What changes the whole picture (fog, noise, darkness) moves every channel a little and is seen best on their means over all
of it. What covers a part (dirt, a hand, an unknown object) is averaged away there and is seen best place by place, on
places about as large as itself. So the distance is taken on three scales: the whole picture, blocks of a twelfth, cells of a
forty-eighth. Each is measured against the usual distance of clean frames that a fit has not seen. Only that middle is taken from
them: a spread would hang on the few strangest clean frames, so that a threshold from fits without these frames would not suit
a fit with them, and after a short recording nothing would be detected any more. The wider spread of the largest of many places
is met by a fixed weight instead.

Sources: Lee et al., NeurIPS 2018 (Mahalanobis distance); Defard et al., PaDiM, ICPR 2021 (a Gaussian at every place, on
several early stages); Ledoit & Wolf 2004 (shrinkage). Pooling one covariance over all places, the scales, their weights and the
maximum are this project's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import ArrayLike, NDArray

from ...errors import BundleError
from ..grid import blocks_of, cells_of
from .base import ArrayDetector, Arrays
from .gaussian import covariance_estimate, squared_distance

Values = NDArray[np.float64]

_FOLDS = 8  # contiguous, because neighbouring frames are nearly equal; few would make unseen frames look too far away
_MAX_FRAMES = 2000  # of a video, from all of it; more would only repeat themselves
_MAX_PLACES = 5000  # for the covariance
_TINY = 1e-12

#: Scale -> cells (N, 48, E) to places (N, P, E).
_SCALES: dict[str, Callable[[Any], Any]] = {
    "whole": lambda cells: array_namespace(cells).mean(cells, axis=1, keepdims=True),
    "block": blocks_of,
    "cell": lambda cells: cells,
}
#: Of each scale. On the street's development drives 0.65 to 0.8 for the parts are alike, 1 raises the threshold for all.
_WEIGHTS = (1.0, 0.75, 0.75)


class SpatialDetector(ArrayDetector):
    """Rows (N, 48, E): channel means of the encoder's early and middle stages in each cell of the grid (``core/grid.py``).

    With d = squared Mahalanobis distance of a place from its own mean, over its dimension, and level = its usual logarithm,

        term(scale) = weight * (largest of (log d - level) over the scale's places - usual)
        score = largest term of the scales

    where usual is the median over clean frames that the fit had not seen, and weight is 1 for the whole, 0.75 for its parts. So
    0 is an ordinary clean frame, and log 2 one at twice the squared distance (natural logarithm, no unit).
    """

    rows: ClassVar = "N 48 E"
    portable: ClassVar = True
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
        "usual": "3",
    }

    def cell_scores(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Where it is strange, (N, 48): the larger term of a cell and of the block around it.

        On the scale of ``score``, which is never below it; larger = more OoD; where a cell is not finite it and the
        block around it are NaN.
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
        """``cell_scores`` of any array library, as ``portable_score``."""
        return _cells_of(_terms(rows, arrays))

    def _learn(self, data: Values) -> dict[str, Values]:
        if len(data) > _MAX_FRAMES:
            # Drawn, not every n-th: with cameras in turn a step may see each of them in one part of the drive alone.
            drawn = np.random.default_rng(0).choice(len(data), _MAX_FRAMES, replace=False)
            data = data[np.sort(drawn)]
        folds = np.arange(len(data)) * min(_FOLDS, len(data)) // len(data)
        unseen = np.empty((len(data), len(_SCALES)))
        for fold in np.unique(folds):
            held_out = folds == fold
            # Two frames are the least a covariance can be taken from.
            seen = data[~held_out] if (~held_out).sum() > 1 else data
            unseen[held_out] = _largest(_excesses(data[held_out], _gaussians(seen)))
        return {**_gaussians(data), "usual": np.median(unseen, axis=0)}

    def _score(self, data: Any, arrays: Mapping[str, Any]) -> Any:
        return _score_of(_terms(data, arrays))

    @classmethod
    def _check_state(cls, arrays: Arrays) -> None:
        for scale in _SCALES:
            diagonal = np.diagonal(arrays[f"{scale}_precision"])
            if not diagonal.any() or (diagonal < 0.0).any():
                raise BundleError(
                    f"detector array {scale}_precision is no inverse covariance (diagonal zero or negative); calibrate again."
                )


def _gaussians(data: Values) -> dict[str, Values]:
    """On each scale a mean of every place, and one covariance pooled over all places."""
    arrays: dict[str, Values] = {}
    for scale, pooled in _SCALES.items():
        places = pooled(data)
        mean = places.mean(axis=0)
        residuals = (places - mean).reshape(-1, places.shape[2])
        if len(residuals) > _MAX_PLACES:
            # Drawn, not every n-th: n may divide the number of places, and then most of them are never seen.
            drawn = np.random.default_rng(0).choice(len(residuals), _MAX_PLACES, replace=False)
            residuals = residuals[np.sort(drawn)]
        precision = np.asarray(covariance_estimate(residuals, "ledoit_wolf").get_precision(), dtype=np.float64)
        arrays[f"{scale}_mean"], arrays[f"{scale}_precision"] = mean, precision
        # Some places always differ more than others (the kerb side, the own hood): what is usual there is no sign of anything.
        arrays[f"{scale}_level"] = _log_distance(places - mean, precision).mean(axis=0)
    return arrays


def _excesses(data: Any, arrays: Mapping[str, Any]) -> list[Any]:
    """Log distance of each place beyond what is usual there, (N, P) a scale."""
    return [
        _log_distance(pooled(data) - arrays[f"{scale}_mean"], arrays[f"{scale}_precision"]) - arrays[f"{scale}_level"]
        for scale, pooled in _SCALES.items()
    ]


def _terms(data: Any, arrays: Mapping[str, Any]) -> list[Any]:
    """The same beyond what is usual for the largest place of unseen clean frames, weighted."""
    return [
        weight * (values - arrays["usual"][index])
        for index, (weight, values) in enumerate(zip(_WEIGHTS, _excesses(data, arrays), strict=True))
    ]


def _score_of(terms: list[Any]) -> Any:
    """(N,): the largest of all."""
    largest = _largest(terms)
    return array_namespace(largest).max(largest, axis=1)


def _cells_of(terms: list[Any]) -> Any:
    """(N, 48): the larger of a cell's and of its block's."""
    _, blocks, cells = terms
    return array_namespace(cells).maximum(cells_of(blocks), cells)


def _largest(scales: list[Any]) -> Any:
    """(N, scales)."""
    xp = array_namespace(scales[0])
    return xp.stack([xp.max(values, axis=1) for values in scales], axis=1)


def _log_distance(centred: Any, precision: Any) -> Any:
    squared = squared_distance(centred, precision) / centred.shape[-1]
    return array_namespace(squared).log(squared + _TINY)
