"""Bootstrap over whole units (drives), for figures whose interval has no formula. Frames of one drive are correlated.

A resample is a row of counts: how often each unit was drawn. Every statistic is computed from these counts for all
resamples at once. It equals the statistic of the frames, each repeated that often.

Sources: Efron & Tibshirani 1993 (percentile interval); Field & Welsh 2007 (resampling clusters).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .intervals import Interval

_CELLS = 4_000_000  # size limit of a working array
_ROUNDING = 1e-9  # frames; tolerance for a share times a count that should be a whole number


class RankingReplicates(NamedTuple):
    """One value per resample, (B,) each, as defined in ``core.metrics`` (OoD is the positive class)."""

    auroc: NDArray[np.float64]
    aupr: NDArray[np.float64]
    fpr: NDArray[np.float64]


class CurveReplicates(NamedTuple):
    """ROC and PR curve of each resample at given places, (B, places) each.

    Attributes:
        tpr: largest share of OoD frames detected at no more than the given false-positive rate.
        precision: precision at the highest threshold that reaches the given recall.
    """

    tpr: NDArray[np.float64]
    precision: NDArray[np.float64]


def resample_counts(units: int, resamples: int, seed: int | Sequence[int]) -> NDArray[np.int64]:
    """Draw ``units`` units with replacement, ``resamples`` times; returns how often each was drawn, (resamples, units)."""
    if units < 1 or resamples < 1:
        raise ValueError(f"{units} units and {resamples} resamples; at least one of each is needed.")
    random = np.random.default_rng(seed)
    return np.asarray(random.multinomial(units, np.full(units, 1.0 / units), size=resamples), dtype=np.int64)


def percentile_interval(value: float, replicates: ArrayLike, confidence: float = 0.95) -> Interval:
    """Interval of ``value`` between the percentiles of its replicates (B,)."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; it must lie within (0, 1).")
    values = np.asarray(replicates, dtype=np.float64)
    low, high = np.quantile(values, [0.5 - confidence / 2.0, 0.5 + confidence / 2.0])
    return Interval(float(value), float(low), float(high))


def share_replicates(hits: ArrayLike, totals: ArrayLike, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of hits in each resample, (B,).

    Args:
        hits: (U,) number of hits in each unit.
        totals: (U,) number of frames in each unit, > 0.
        counts: (B, U) from ``resample_counts``.
    """
    hit, total = np.asarray(hits, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    if hit.shape != total.shape or hit.shape != counts.shape[1:] or (total <= 0).any():
        raise ValueError(
            f"hits {hit.shape}, totals {total.shape} and counts {counts.shape} do not describe the same units."
        )
    return np.asarray((counts @ hit) / (counts @ total), dtype=np.float64)


def ranking_replicates(
    ind: ArrayLike,
    ind_units: ArrayLike,
    ood: ArrayLike,
    ood_units: ArrayLike,
    ind_counts: NDArray[np.int64],
    ood_counts: NDArray[np.int64],
    *,
    tpr: float = 0.95,
) -> RankingReplicates:
    """``auroc``, ``aupr`` and ``fpr_at_tpr`` of every resample.

    Args:
        ind: (N,) clean scores.
        ind_units: (N,) index of each clean frame's unit.
        ood: (M,) OoD scores; larger = more OoD.
        ood_units: (M,) index of each OoD frame's unit.
        ind_counts: (B, units of ind) from ``resample_counts``.
        ood_counts: (B, units of ood) likewise; the same array pairs clean and OoD frames of the same drives.
        tpr: share of OoD frames to detect, for the false-positive rate.
    """
    parts = [
        _ranking(hit, above, tpr)
        for hit, above in _frames_above(ind, ind_units, ood, ood_units, ind_counts, ood_counts)
    ]
    return RankingReplicates(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def curve_replicates(
    ind: ArrayLike,
    ind_units: ArrayLike,
    ood: ArrayLike,
    ood_units: ArrayLike,
    ind_counts: NDArray[np.int64],
    ood_counts: NDArray[np.int64],
    places: ArrayLike,
) -> CurveReplicates:
    """ROC and PR curve of every resample; arguments as in ``ranking_replicates``.

    ``places`` (G,) are false-positive rates of the ROC curve and recalls of the PR curve, 0 to 1.
    """
    wanted = np.asarray(places, dtype=np.float64)
    heights: list[NDArray[np.float64]] = []
    precisions: list[NDArray[np.float64]] = []
    for hit, above in _frames_above(ind, ind_units, ood, ood_units, ind_counts, ood_counts):
        false = above - hit
        for row_hit, row_false in zip(hit, false, strict=True):
            below = np.searchsorted(row_false, wanted * row_false[-1] + _ROUNDING, side="right") - 1
            heights.append(np.where(below >= 0, row_hit[below], 0.0) / row_hit[-1])
            first = np.searchsorted(row_hit, np.maximum(wanted * row_hit[-1], 1.0) - _ROUNDING)
            precisions.append(row_hit[first] / (row_hit[first] + row_false[first]))
    return CurveReplicates(np.array(heights), np.array(precisions))


def _frames_above(
    ind: ArrayLike,
    ind_units: ArrayLike,
    ood: ArrayLike,
    ood_units: ArrayLike,
    ind_counts: NDArray[np.int64],
    ood_counts: NDArray[np.int64],
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """OoD frames and all frames at or above each threshold, highest first, (B, thresholds), some resamples at a time."""
    clean, odd = np.asarray(ind, dtype=np.float64), np.asarray(ood, dtype=np.float64)
    if clean.size == 0 or odd.size == 0 or len(ind_counts) != len(ood_counts):
        raise ValueError(
            f"{clean.size} clean and {odd.size} OoD scores, {len(ind_counts)} and {len(ood_counts)} resamples."
        )
    scores = np.concatenate([clean, odd])
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # equal scores share a threshold
    # Column of the counts that weighs each score; OoD units stand behind the clean ones.
    columns = np.concatenate([np.asarray(ind_units), ind_counts.shape[1] + np.asarray(ood_units)])[order]
    is_ood = (order >= clean.size).astype(np.float64)
    step = max(1, _CELLS // len(scores))
    for start in range(0, len(ind_counts), step):
        rows = slice(start, start + step)
        weights = np.hstack([ind_counts[rows], ood_counts[rows]]).astype(np.float64)[:, columns]
        above = np.cumsum(weights, axis=1)[:, ends]
        yield np.cumsum(weights * is_ood, axis=1)[:, ends], above


def _ranking(hit: NDArray[np.float64], above: NDArray[np.float64], tpr: float) -> RankingReplicates:
    """From OoD frames and all frames at or above each threshold, (B, thresholds), highest threshold first."""
    false = above - hit
    recall, false_rate = hit / hit[:, -1:], false / false[:, -1:]
    # Nothing above a threshold: the curve has not begun there, its precision is 1.
    precision = np.divide(hit, above, out=np.ones_like(hit), where=above > 0.0)
    origin = np.zeros((len(hit), 1))
    area = np.sum(np.diff(false_rate, axis=1, prepend=origin) * _middle(recall, origin), axis=1)
    precision_area = np.sum(np.diff(recall, axis=1, prepend=origin) * _middle(precision, origin + 1.0), axis=1)
    first = np.argmax(recall >= tpr, axis=1)
    return RankingReplicates(area, precision_area, false_rate[np.arange(len(hit)), first])


def _middle(values: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each value and the one before it, along the rows."""
    return np.asarray((values + np.hstack([start, values[:, :-1]])) / 2.0, dtype=np.float64)


def binned_auroc(ind: ArrayLike, ood: ArrayLike) -> NDArray[np.float64]:
    """AUROC from counts in bins of rising score, (..., K) each; scores of one bin count as equal."""
    clean, odd = np.asarray(ind, dtype=np.float64), np.asarray(ood, dtype=np.float64)
    below = np.cumsum(clean, axis=-1) - 0.5 * clean
    pairs = np.sum(clean, axis=-1) * np.sum(odd, axis=-1)
    return np.asarray(
        np.divide(np.sum(odd * below, axis=-1), pairs, out=np.full(np.shape(pairs), np.nan), where=pairs > 0.0),
        dtype=np.float64,
    )


def binned_average_precision(ind: ArrayLike, ood: ArrayLike) -> NDArray[np.float64]:
    """Average precision (sum of precision times gain in recall) from counts in bins of rising score, (..., K) each."""
    clean, odd = (np.asarray(part, dtype=np.float64)[..., ::-1] for part in (ind, ood))
    hit, false = np.cumsum(odd, axis=-1), np.cumsum(clean, axis=-1)
    precision = np.divide(hit, hit + false, out=np.zeros_like(hit), where=hit + false > 0.0)
    total = hit[..., -1]
    gained = np.sum(precision * odd, axis=-1)
    return np.asarray(
        np.divide(gained, total, out=np.full(np.shape(total), np.nan), where=total > 0.0), dtype=np.float64
    )
