"""Fits without the frames that they score: whole blocks of time, or whole drives, are left out together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from ..errors import CalibrationError
from .coded_names import CodedNames
from .detectors.base import Detector

MAX_FOLDS = 40
_FITS_AT_ONCE = 2  # each holds a copy of the rows that it learns from
_ROWS_AT_ONCE = 512
#: See ``unlike_the_rest``.
OUTLIER_TIMES, MAX_OUTLIERS = 3.0, 0.05


def blocks_per_fold(blocks: int) -> int:
    """Largest number of blocks that are left out together; there are at most ``MAX_FOLDS`` fits."""
    return ceil(blocks / MAX_FOLDS)


def folds_of(blocks: ArrayLike) -> NDArray[np.int64]:
    """Number the fold of each frame from its block, (N,). Neighbouring blocks are in different folds.

    Raises:
        CalibrationError: fewer than two blocks.
    """
    names, numbers = np.unique(np.asarray(blocks), return_inverse=True)
    if len(names) < 2:
        raise CalibrationError(
            f"the clean data form {len(names)} block; at least 2 are needed to hold one out. "
            "Record longer, or use shorter blocks."
        )
    return np.asarray(numbers % min(MAX_FOLDS, len(names)), np.int64)


def fit_folds(
    make_detector: Callable[[], Detector],
    rows: NDArray[Any],
    folds: NDArray[np.int64],
    progress: Callable[[int], None] | None = None,
    *,
    count: int,
    keep: bool = False,
    usable: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float64], list[Detector]]:
    """Fit a detector for each fold to the rows of the other folds, and score the rows of the fold with it.

    Args:
        make_detector: makes an unfitted detector.
        rows: (N, ...) clean rows of any float type; the rows of a fit are converted to double precision.
        folds: (N,) fold of each row.
        progress: called with the number of folds done.
        count: number of folds; one may have no row.
        keep: return the detectors, too. They score further frames of their folds.
        usable: (N,) rows that a fit may see; None = all. Every row is scored.

    Returns:
        (N,) scores, and the detectors by fold; no detectors without ``keep``.
    """
    scores = np.empty(len(rows))

    def fit(fold: int) -> tuple[Detector | None, NDArray[np.int64], NDArray[np.float64]]:
        detector = make_detector()
        is_own = folds == fold
        seen, own = np.flatnonzero(~is_own if usable is None else ~is_own & usable), np.flatnonzero(is_own)
        detector.fit(rows[_drawn(detector, seen)])
        parts = [own[first : first + _ROWS_AT_ONCE] for first in range(0, len(own), _ROWS_AT_ONCE)]
        values = [detector.score(rows[part]) for part in parts]
        return detector if keep else None, own, np.concatenate(values) if values else np.empty(0)

    detectors: list[Detector] = []
    # One thread per fit: for matrices this small the linear algebra's own threads mostly wait, and its sums would depend on
    # their number.
    with threadpool_limits(1), ThreadPoolExecutor(_FITS_AT_ONCE) as pool:
        for done, (detector, own, values) in enumerate(pool.map(fit, range(count)), start=1):
            scores[own] = values
            if detector is not None:
                detectors.append(detector)
            if progress is not None:
                progress(done)
    return scores, detectors


def unlike_the_rest(scores: ArrayLike) -> NDArray[np.bool_]:
    """Rows (N,) whose held-out scores (N,) stand out: they are not clean, or of a scene that no other block shows.

    A few per cent of unclean frames among those that a detector is fitted to hide all like them. The detector that has not
    seen their block shows them: more than ``OUTLIER_TIMES`` times as far above the median as the 95th percentile is. If more
    than ``MAX_OUTLIERS`` of the rows stand out, the blocks differ altogether, and none is left out.
    """
    values = np.asarray(scores, dtype=np.float64)
    median, high = np.percentile(values, [50.0, 95.0])
    outlying = values > median + OUTLIER_TIMES * (high - median)
    return outlying if outlying.mean() <= MAX_OUTLIERS else np.zeros(len(values), bool)


def fit_all(make_detector: Callable[[], Detector], rows: NDArray[Any]) -> Detector:
    """Fit a detector to all rows (N, ...)."""
    detector = make_detector()
    index = np.arange(len(rows))
    drawn = _drawn(detector, index)
    return detector.fit(rows if len(drawn) == len(rows) else rows[drawn])


def _drawn(detector: Detector, index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of the rows that the detector would draw itself: drawn first, the others are not copied for it."""
    draw: Callable[[int], NDArray[np.int64] | None] | None = getattr(detector, "draw_rows", None)
    chosen = None if draw is None else draw(len(index))
    return index if chosen is None else index[chosen]


def leave_one_block_out_scores(
    make_detector: Callable[[], Detector],
    rows: ArrayLike,
    blocks: ArrayLike,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """Score every row by a detector that was fitted without the row's block.

    There are at most ``MAX_FOLDS`` fits. With more blocks several whole blocks are left out together.

    Args:
        make_detector: makes an unfitted detector.
        rows: (N, ...) clean rows.
        blocks: (N,) name of each row's block of time or drive.
        progress: called with the number of blocks done.

    Returns:
        (N,) scores.

    Raises:
        CalibrationError: fewer than two blocks.
    """
    data, ids = np.asarray(rows), np.asarray(blocks)
    if ids.shape != (len(data),):
        raise CalibrationError(f"there are {len(data)} rows but block ids of shape {ids.shape}; give one id a row.")
    folds = folds_of(ids)
    done = None if progress is None else in_blocks(progress, len(np.unique(ids)))
    return fit_folds(make_detector, data, folds, done, count=int(folds.max()) + 1)[0]


def in_blocks(progress: Callable[[int], None], blocks: int) -> Callable[[int], None]:
    """Translate progress in folds into progress in blocks."""
    folds = min(MAX_FOLDS, blocks)
    return lambda done: progress(sum(len(range(fold, blocks, folds)) for fold in range(done)))


def time_blocks(stamps_ns: ArrayLike, groups: Sequence[Any], block_s: float) -> NDArray[np.int64]:
    """Number the blocks of ``block_s`` seconds of each group (a drive, a camera), from the group's first stamp.

    Args:
        stamps_ns: (N,) stamps.
        groups: (N,) names.
        block_s: length of a block, seconds.

    Returns:
        (N,) numbers, in order of first appearance.
    """
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    if not block_s > 0.0:
        raise CalibrationError(f"the block length is {block_s} s; it must be larger than 0.")
    if len(groups) != len(stamps):
        raise CalibrationError(f"there are {len(stamps)} stamps but {len(groups)} groups.")
    if not len(stamps):
        return np.empty(0, np.int64)
    codes = CodedNames.of(groups).codes
    first = np.full(int(codes.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, codes, stamps)
    numbers = ((stamps - first[codes]) // (block_s * 1e9)).astype(np.int64)
    order = np.lexsort((numbers, codes))
    starts = np.r_[True, (np.diff(codes[order]) != 0) | (np.diff(numbers[order]) != 0)]
    blocks = np.empty(len(stamps), np.int64)
    blocks[order] = np.cumsum(starts) - 1
    # lexsort is stable, so the first frame of each block in ``order`` is the first in time of reading.
    rank = np.empty(int(starts.sum()), np.int64)
    rank[np.argsort(order[starts])] = np.arange(len(rank))
    return rank[blocks]
