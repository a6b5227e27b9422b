"""Computes the figures of a comparison: values with intervals by unit, means, and paired differences to a reference.

OoD is the positive class, and larger scores mean more OoD. Nothing is chosen on test pictures and no sign is flipped: an
AUROC below 0.5 is reported as it is.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core import metrics
from ..core.bootstrap import (
    binned_auroc,
    binned_average_precision,
    percentile_interval,
    ranking_replicates,
    resample_counts,
    share_replicates,
)
from ..core.detectors import detector_spec
from ..core.intervals import Interval, share_interval
from .conditions import CLEAN, HARMLESS, OOD
from .maps import MapFigures
from .scoring import ComparisonScores, ConditionScores

#: Severities that each mean is taken over; recorded sets have severity 0.
GROUPS: dict[str, tuple[int, ...]] = {"severity_1_2": (1, 2), "severity_3_5": (3, 4, 5), "recorded": (0,)}
ALL = "all"
METRICS = ("detection_rate", "auroc", "aupr", "fpr_at_95tpr")


class _Figure(NamedTuple):
    """A value with its interval, and its replicates over the resamples."""

    interval: Interval
    replicates: NDArray[np.float64]


#: The conditions of one detector, each with its figures by metric.
_Conditions = Sequence[tuple[ConditionScores, dict[str, _Figure]]]


class _Resampler:
    """Resamples of each pool of units. They are drawn once and shared by all detectors and conditions, which pairs them."""

    def __init__(self, resamples: int, seed: int) -> None:
        self.resamples = resamples
        self.seed = seed
        self._drawn: dict[str, tuple[list[str], NDArray[np.int64]]] = {}

    def of(self, part: ConditionScores) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
        """Names of the units, the unit index of each picture (N,), and the counts (resamples, units)."""
        if part.pool not in self._drawn:
            names = list(dict.fromkeys(part.units))
            seed = [self.seed, zlib.crc32(part.pool.encode())]
            self._drawn[part.pool] = (names, resample_counts(len(names), self.resamples, seed))
        names, counts = self._drawn[part.pool]
        place = {name: number for number, name in enumerate(names)}
        return names, np.array([place[unit] for unit in part.units]), counts


def summarise(scores: ComparisonScores, *, reference: str, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Compute all figures, as plain values for JSON; differences are to ``reference``, ``seed`` fixes the resamples.

    Returns:
        ``detectors``: name -> threshold, false alarms, means and differences. ``results``: one entry per detector and
        condition. ``maps``: one entry per detector with anomaly maps and condition with known pixels. ``units``: number
        of units by pool. ``frames``: number of clean test frames.
    """
    resampler = _Resampler(resamples, seed)
    clean = scores.conditions[0]
    results: list[dict[str, Any]] = []
    detectors: dict[str, dict[str, Any]] = {}
    figures: dict[str, _Conditions] = {}
    for name, fitted in scores.fitted.items():
        threshold = fitted.threshold.value
        figures[name] = [
            (part, _condition_figures(name, clean, part, threshold, resampler)) for part in scores.conditions
        ]
        for part, computed in figures[name]:
            plain = {key: _plain(figure.interval) for key, figure in computed.items()}
            results.append({**_facts(name, part), "units": len(set(part.units)), **plain})
    base = figures[reference]
    for name, fitted in scores.fitted.items():
        spec = detector_spec(name)
        own = figures[name]
        detectors[name] = {
            "feature": spec.feature,
            "supervised": spec.supervised,
            "source": spec.source,
            "threshold": fitted.threshold.to_dict(),
            "false_alarm_rate": _plain(own[0][1]["false_alarm_rate"].interval),
            "harmless_alarm_rate": {
                part.condition.shift: _plain(result["false_alarm_rate"].interval)
                for part, result in own
                if part.condition.role == HARMLESS
            },
            "identity_difference": _identity_difference(name, scores.conditions),
            "nonfinite_scores": scores.nonfinite[name],
            "means": _means(own),
            "differences": {} if name == reference else _means(own, base),
            "by_shift": _by_shift(own),
        }
    return {
        "reference": reference,
        "detectors": detectors,
        "results": results,
        "maps": _map_results(scores, resampler),
        "units": {part.pool: len(set(part.units)) for part in scores.conditions},
        "frames": len(clean.units),
    }


def _facts(name: str, part: ConditionScores) -> dict[str, Any]:
    condition = part.condition
    facts = {"detector": name, "shift": condition.shift, "severity": condition.severity or None, "role": condition.role}
    return {**facts, "frames": len(part.units)}


def _plain(interval: Interval) -> dict[str, float | None]:
    return {key: None if np.isnan(value) else float(value) for key, value in interval._asdict().items()}


def _condition_figures(
    name: str, clean: ConditionScores, part: ConditionScores, threshold: float, resampler: _Resampler
) -> dict[str, _Figure]:
    scores = np.asarray(part.scores[name])
    names, index, counts = resampler.of(part)
    hits = np.bincount(index, scores > threshold, minlength=len(names))
    totals = np.bincount(index, minlength=len(names))
    alarms = _Figure(share_interval(hits, totals), share_replicates(hits, totals, counts))
    if part.condition.role == CLEAN:
        return {"false_alarm_rate": alarms}
    ind = np.asarray(clean.scores[name])
    _, clean_index, clean_counts = resampler.of(clean)
    replicates = ranking_replicates(ind, clean_index, scores, index, clean_counts, counts)
    values = (metrics.auroc(ind, scores), metrics.aupr(ind, scores), metrics.fpr_at_tpr(ind, scores))
    return {
        "detection_rate" if part.condition.role == OOD else "false_alarm_rate": alarms,
        **{
            key: _Figure(percentile_interval(value, drawn), drawn)
            for key, value, drawn in zip(METRICS[1:], values, replicates, strict=True)
        },
    }


def _identity_difference(name: str, conditions: Iterable[ConditionScores]) -> float | None:
    """Largest relative difference between the scores of clean pictures and of the identity control; None without one."""
    by_shift = {part.condition.shift: np.asarray(part.scores[name]) for part in conditions if part.pool == "control"}
    if "identity" not in by_shift:
        return None
    clean, control = by_shift["clean"], by_shift["identity"]
    return float(np.max(np.abs(clean - control) / np.maximum(np.abs(clean), 1e-12)))


def _means(own: _Conditions, base: _Conditions | None = None) -> dict[str, dict[str, Any]]:
    """Mean of each metric over the OoD conditions of each group, or of the paired differences to ``base``."""
    means: dict[str, dict[str, Any]] = {}
    conditions = [part.condition for part, _ in own]
    for group, severities in (*GROUPS.items(), (ALL, (0, 1, 2, 3, 4, 5))):
        chosen = [n for n, tested in enumerate(conditions) if tested.role == OOD and tested.severity in severities]
        if chosen:
            means[group] = {metric: _mean(metric, chosen, own, base) for metric in METRICS}
            means[group]["conditions"] = len(chosen)
    return means


def _mean(metric: str, chosen: Sequence[int], own: _Conditions, base: _Conditions | None) -> dict[str, float | None]:
    value, replicates = _mean_of(metric, chosen, own)
    if base is not None:
        base_value, base_replicates = _mean_of(metric, chosen, base)
        value, replicates = value - base_value, replicates - base_replicates
    return _plain(percentile_interval(value, replicates))


def _mean_of(metric: str, chosen: Sequence[int], conditions: _Conditions) -> tuple[float, NDArray[np.float64]]:
    figures = [conditions[index][1][metric] for index in chosen]
    values = [figure.interval.value for figure in figures]
    return float(np.mean(values)), np.mean([figure.replicates for figure in figures], axis=0)


def _by_shift(own: _Conditions) -> dict[str, dict[str, Any]]:
    """Shift -> group of severities -> mean detection rate and AUROC."""
    shifts = dict.fromkeys(part.condition.shift for part, _ in own if part.condition.role == OOD)
    table: dict[str, dict[str, Any]] = {}
    for shift in shifts:
        same = [entry for entry in own if entry[0].condition.shift == shift and entry[0].condition.role == OOD]
        table[shift] = {
            group: {metric: means[metric] for metric in METRICS[:2]}
            for group, means in _means(same).items()
            if group != ALL
        }
    return table


def _map_results(scores: ComparisonScores, resampler: _Resampler) -> list[dict[str, Any]]:
    results = []
    for part in scores.conditions:
        names, _, counts = resampler.of(part)
        for name, figures in part.maps.items():
            entry = {**_facts(name, part), "alarm_rate": _map_share(figures.above, figures.frames, names)}
            if figures.clean:
                entry["found_rate"] = _map_share(figures.found, figures.frames, names)
                entry |= _pixel_figures(figures, names, counts)
            results.append(entry)
    return results


def _map_share(hits: dict[str, int], frames: dict[str, int], names: Sequence[str]) -> dict[str, float | None]:
    return _plain(share_interval([hits[name] for name in names], [frames[name] for name in names]))


def _pixel_figures(figures: MapFigures, names: Sequence[str], counts: NDArray[np.int64]) -> dict[str, Any]:
    clean = np.array([figures.clean[name] for name in names])
    disturbed = np.array([figures.disturbed[name] for name in names])
    drawn = counts @ clean, counts @ disturbed
    results: dict[str, Any] = {"disturbed_share": float(disturbed.sum() / (clean.sum() + disturbed.sum()))}
    for key, metric in (("pixel_auroc", binned_auroc), ("pixel_ap", binned_average_precision)):
        value = float(metric(clean.sum(axis=0), disturbed.sum(axis=0)))
        replicates = metric(*drawn)
        results[key] = _plain(
            percentile_interval(value, replicates[np.isfinite(replicates)])
            if np.isfinite(value)
            else Interval(value, value, value)
        )
    return results
