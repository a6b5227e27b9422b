"""How well the scores tell frames in events from clean ones, with 95 % intervals that know what a video is.

Frames of a video are alike, so none of them is drawn alone: the unit is an event, and 10 s of clean driving. From fewer
than five of either no interval is given: their resamples are fewer than the percentiles need, and would look certain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from ..core.bootstrap import curve_replicates, ranking_replicates, resample_counts
from ..core.intervals import Interval, share_of
from ..core.metrics import aupr, auroc, fpr_at_tpr
from ..recordings.events import Event
from .downsampling import thin_curve
from .replay_tables import score_over_threshold
from .timespans import CLEAN, Limits, events_of_frames

BLOCK_S = 10.0
#: The one figure of a ranking that is a share of frames.
FPR_AT_95TPR = "clean frames above the score that catches 95 % of event frames"
#: Of 4 units there are 35 different resamples, of 5 there are 126; the 2.5 % percentile needs more than 40.
MIN_UNITS = 5
_RESAMPLES = 1000
_PLACES = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class FrameScores:
    """Judged frames of one kind, (N,) each."""

    ratios: NDArray[np.float64]  # score over threshold, larger = more OoD (``score_over_threshold``)
    above: NDArray[np.bool_]  # whether the score is above the threshold
    units: NDArray[np.int64]  # number of each frame's event or block of time, from 0
    unit: str  # what a unit is, in the plural

    @property
    def unit_count(self) -> int:
        """How many units there are."""
        return int(self.units.max()) + 1 if len(self.units) else 0

    @property
    def is_enough(self) -> bool:
        """Whether an interval can be given."""
        return self.unit_count >= MIN_UNITS


@dataclass(frozen=True)
class Curve:
    """A curve (K,) in the unit square with its band (G,), which is empty where there are too few units."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    places: NDArray[np.float64]  # x of the band
    low: NDArray[np.float64]  # its lower edge, point by point
    high: NDArray[np.float64]  # its upper edge


@dataclass(frozen=True)
class Ranking:
    """ROC and PR with their bands, and the figures that sum them up; intervals are None where units are too few."""

    roc: Curve
    pr: Curve
    figures: Mapping[str, tuple[float, Interval | None]]


def split_frames(images: pl.DataFrame, events: Sequence[Event], limits: Limits) -> tuple[FrameScores, FrameScores]:
    """Clean frames and frames in events (``timespans.events_of_frames``); what follows an event too soon is neither.

    ``images`` have ``time_s``, ``camera``, ``score`` and ``threshold``, NaN where one was not judged.
    """
    judged = images.select("time_s", "camera", "score", "threshold", ratio=score_over_threshold())
    judged = judged.filter(pl.col("ratio").is_finite())
    places = events_of_frames(judged, events, limits.release_s)
    blocks = (judged["time_s"].to_numpy() // BLOCK_S).astype(np.int64)
    clean = _frame_scores(judged, places == CLEAN, blocks, f"blocks of {BLOCK_S:g} s")
    return clean, _frame_scores(judged, places >= 0, places, "events")


def _frame_scores(frames: pl.DataFrame, chosen: NDArray[np.bool_], units: NDArray[np.int64], unit: str) -> FrameScores:
    kept = frames.filter(chosen)
    numbers = np.unique(units[chosen], return_inverse=True)[1].astype(np.int64)
    return FrameScores(kept["ratio"].to_numpy(), (kept["score"] > kept["threshold"]).to_numpy(), numbers, unit)


def share_above(frames: FrameScores) -> tuple[float, tuple[float, float] | None]:
    """Share of the frames above the threshold, and its interval where there are units enough. N >= 1."""
    share = share_of(frames.above, frames.units)
    return share.rate, (share.low, share.high) if frames.is_enough else None


def histogram(
    frames: FrameScores, edges: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Share of the frames in each bin (K,), and the ends of its interval, (K,) each; None where units are too few.

    What lies beyond the outermost of the K + 1 edges counts in the outermost bin. An empty bin has no interval. N >= 1.
    """
    borders = np.asarray(edges, np.float64)
    bins = len(borders) - 1
    places = np.clip(np.searchsorted(borders, frames.ratios, side="right") - 1, 0, bins - 1)
    shares = np.bincount(places, minlength=bins) / len(places)
    if not frames.is_enough:
        return shares, None, None
    low, high = np.zeros(bins), np.zeros(bins)
    for place in np.unique(places):
        share = share_of(places == place, frames.units)
        low[place], high[place] = share.low, share.high
    return shares, low, high


def rank(clean: FrameScores, odd: FrameScores) -> Ranking:
    """ROC, PR and their figures; both kinds must have a frame. A band is drawn point by point."""
    scores = np.concatenate([clean.ratios, odd.ratios])
    labels = np.concatenate([np.zeros(len(clean.ratios), int), np.ones(len(odd.ratios), int)])
    false, true, _ = roc_curve(labels, scores)
    precision, recall, _ = precision_recall_curve(labels, scores)
    values = {
        "AUROC": auroc(clean.ratios, odd.ratios),
        "AUPR": aupr(clean.ratios, odd.ratios),
        FPR_AT_95TPR: fpr_at_tpr(clean.ratios, odd.ratios),
    }
    roc_band = pr_band = (np.zeros(0),) * 3
    intervals: list[Interval | None] = [None] * len(values)
    if clean.is_enough and odd.is_enough:
        by_clean, by_odd = (resample_counts(kind.unit_count, _RESAMPLES, [0, n]) for n, kind in enumerate((clean, odd)))
        drawn = clean.ratios, clean.units, odd.ratios, odd.units, by_clean, by_odd
        fewest, curves = min(clean.unit_count, odd.unit_count), curve_replicates(*drawn, places=_PLACES)
        replicates = zip(values.values(), ranking_replicates(*drawn), strict=True)
        intervals = [_interval(value, drawn_values, fewest) for value, drawn_values in replicates]
        low, high = _band(curves.tpr, odd.unit_count)
        low[-1] = 1.0  # below every score nothing is left open
        roc_band, pr_band = (_PLACES, low, high), (_PLACES, *_band(curves.precision, fewest))
    known = dict(zip(values, zip(values.values(), intervals, strict=True), strict=True))
    return Ranking(_thinned(false, true, *roc_band), _thinned(recall[::-1], precision[::-1], *pr_band), known)


def _interval(value: float, replicates: NDArray[np.float64], units: int) -> Interval:
    low, high = _band(replicates.round(12)[:, None], units)
    return Interval(value, float(low[0]), float(high[0]))


def _band(replicates: NDArray[np.float64], units: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % percentiles of (B, K) replicates. Where all are 0, or all 1, the exact bound that so many units leave open."""
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0)
    least, most = replicates.min(axis=0), replicates.max(axis=0)
    unseen = 0.025 ** (1.0 / units)
    return np.where(least == 1.0, unseen, low), np.where(most == 0.0, 1.0 - unseen, high)


def _thinned(x: ArrayLike, y: ArrayLike, places: ArrayLike, low: ArrayLike, high: ArrayLike) -> Curve:
    chosen = thin_curve(x, y)
    return Curve(np.asarray(x)[chosen], np.asarray(y)[chosen], np.asarray(places), np.asarray(low), np.asarray(high))
