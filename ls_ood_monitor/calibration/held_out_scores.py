"""Held-out scores of every clean frame: fits see the sample without the frame's block, or without its drive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.detectors import Detector, Head, detector_spec
from ..core.held_out import fit_folds, folds_of, in_blocks, unlike_the_rest
from ..errors import CalibrationError
from .collect import Progress
from .feature_table import FeatureTable, nearest_sampled
from .fold_scorers import FoldScorers, Scores

_MIN_ROWS = 2  # of a fit
#: Folds by what is held out, (N,) each.
Folds = Mapping[str, NDArray[np.int64]]
#: Scores the frames without features: takes detectors by fold and the folds, and returns (N,) scores, NaN where it has none.
ScoreRest = Callable[[FoldScorers, Folds], Scores]


def held_out_scores(
    table: FeatureTable,
    units: Mapping[str, NDArray[np.int64]],
    names: Sequence[str],
    head: Head,
    progress: Callable[[str, int], Progress] | None = None,
    score_rest: ScoreRest | None = None,
) -> tuple[Scores, dict[str, NDArray[np.bool_]]]:
    """Score every frame by detectors that have not seen its unit, nor frames that stand out (``unlike_the_rest``).

    Args:
        table: clean frames; detectors are fitted to those with features.
        units: ``block``, and ``drive`` if there are several -> (N,) unit of each frame.
        names: detectors.
        head: the network's last layer.
        progress: called with a title and the number of units; returns a function to call with the number of units done.
        score_rest: scores frames that have neither features nor stored scores; called once, after all fits.

    Returns:
        Detector -> unit -> (N,) scores; if each block is a whole drive, both units have the same array. And detector ->
        (s,) frames of the sample that it is fitted to.

    Raises:
        CalibrationError: fewer than two units, or frames that nothing scores.
    """
    folds = {unit: folds_of(ids) for unit, ids in units.items() if unit == "block" or not _same_partition(units)}
    rest = ~table.is_sampled
    unknown = rest & np.isnan(_stored(table, names[0], "block")) if names else rest
    if unknown.any() and score_rest is None:
        raise CalibrationError(
            f"{int(unknown.sum())} frames have neither features nor held-out scores; calibrate from their drives."
        )
    sample = table.sampled
    _require_rest(table, units)
    scores: Scores = {}
    detectors: dict[str, dict[str, list[Detector]]] = {}
    fitted_to: dict[str, NDArray[np.bool_]] = {}
    for name in names:
        usable = np.ones(len(sample), bool)
        for attempt in range(2):
            for unit, numbers in folds.items():
                values, kept = _fit(table, name, unit, units, numbers, head, progress, usable, keep=bool(unknown.any()))
                own = np.full(len(table), np.nan)
                own[sample] = values
                scores.setdefault(name, {})[unit] = own
                detectors.setdefault(name, {})[unit] = kept
            outlying = unlike_the_rest(scores[name]["block"][sample])
            if attempt or not outlying.any():
                break
            usable = ~outlying
        fitted_to[name] = usable
    if unknown.any() and score_rest is not None:
        _fill(scores, score_rest(FoldScorers(detectors), folds))
    if (rest & ~unknown).any():
        _fill_stored(scores, table)
    for own_scores in scores.values():
        for unit in units:
            own_scores.setdefault(unit, own_scores["block"])
    return scores, fitted_to


def _require_rest(table: FeatureTable, units: Mapping[str, NDArray[np.int64]]) -> None:
    """Refuse data of which nearly all frames are in one unit: nothing is left to fit a detector to without it."""
    for unit, ids in units.items():
        own = ids[table.sampled]
        largest = int(np.bincount(own).argmax())
        rest = int((own != largest).sum())
        if rest < _MIN_ROWS and len(np.unique(own)) > 1:
            drive = table.drives[int(np.flatnonzero(ids == largest)[0])]
            raise CalibrationError(
                f"without {'the largest block of ' if unit == 'block' else ''}drive {drive} {rest} clean frame is left, and a "
                f"detector is fitted to at least {_MIN_ROWS}; record longer, or leave the other drives out."
            )


def _fit(
    table: FeatureTable,
    name: str,
    unit: str,
    units: Mapping[str, NDArray[np.int64]],
    folds: NDArray[np.int64],
    head: Head,
    progress: Callable[[str, int], Progress] | None,
    usable: NDArray[np.bool_],
    *,
    keep: bool,
) -> tuple[NDArray[np.float64], list[Detector]]:
    """Scores (s,) of the sample by detectors of usable frames of other folds, and these detectors."""
    spec, sample, blocks = detector_spec(name), table.sampled, len(np.unique(units[unit]))
    again = "" if usable.all() else f" again, without {int((~usable).sum())} frames that stand out"
    update = None if progress is None else progress(f"{name}: leaving out each {unit}{again}", blocks)
    return fit_folds(
        partial(spec.make, head),
        table.features.of(spec.feature),
        folds[sample],
        None if update is None else in_blocks(update, blocks),
        count=int(folds.max()) + 1,
        keep=keep,
        usable=usable,
    )


def _stored(table: FeatureTable, name: str, unit: str) -> NDArray[np.float64]:
    """Stored scores (N,), NaN where there are none."""
    stored = table.scores.get(name, {}).get(unit)
    return np.full(len(table), np.nan) if stored is None else stored


def _fill(scores: Scores, others: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
    for name, by_unit in scores.items():
        for unit, own in by_unit.items():
            missing = np.isnan(own)
            own[missing] = others[name][unit][missing]


def _fill_stored(scores: Scores, table: FeatureTable) -> None:
    """Take the stored scores. The earlier calibration of a single drive held out no drive: the nearest frame stands in."""
    for name, by_unit in scores.items():
        for unit, own in by_unit.items():
            missing = np.isnan(own)
            own[missing] = _stored(table, name, unit)[missing]
            missing = np.isnan(own) & ~np.isnan(_stored(table, name, "block"))
            if missing.any():
                own[missing] = own[nearest_sampled(table, missing)]


def _same_partition(units: Mapping[str, NDArray[np.int64]]) -> bool:
    """Whether each block is a whole drive."""
    if "drive" not in units:
        return False
    first, second = units["block"], units["drive"]
    pairs = len(np.unique(first * (int(second.max()) + 1) + second))
    return pairs == len(np.unique(first)) == len(np.unique(second))
