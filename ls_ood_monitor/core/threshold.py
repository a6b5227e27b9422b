"""Clean scores -> a threshold at a given false-alarm rate, with its origin.

Frames of a video are correlated. So blocks of time or whole drives are held out, never single frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from math import ceil, nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import CalibrationError
from .alarm import LastingLevels


@dataclass(frozen=True)
class Threshold:
    """A calibrated threshold and its origin.

    Attributes:
        value: a score above it is out of distribution.
        target_rate: accepted share of clean frames above it; with ``target_per_hour`` the share that resulted.
        n: number of clean scores.
        blocks: number of blocks of time, or drives, that the scores come from.
        rank: the threshold is the rank-th smallest of the n scores.
        method: how threshold and scores were computed.
        warning: what the data cannot support, in a sentence; empty if nothing.
        target_per_hour: accepted false alarms per hour, if that was the target.
        clean_median: median of the n clean scores; NaN in the earliest bundles.
        lasting_value: a median score above it is out of distribution (``core/alarm.py``); NaN = no lasting path.
    """

    value: float
    target_rate: float
    n: int
    blocks: int
    rank: int
    method: str
    warning: str = ""
    target_per_hour: float | None = None
    clean_median: float = nan
    lasting_value: float = nan

    @property
    def lasting_levels(self) -> LastingLevels:
        """Levels of the lasting path."""
        return LastingLevels(self.lasting_value, self.clean_median)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which has no NaN."""
        return {key: value for key, value in asdict(self).items() if value == value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Threshold:
        """Rebuild from ``to_dict``; raises ``KeyError`` for a missing value and ``ValueError`` for a non-finite one."""
        known = {spec.name: values.get(spec.name, spec.default) for spec in fields(cls)}
        for name, value in known.items():
            if value is MISSING:
                raise KeyError(name)
        threshold = cls(**known)
        if not np.isfinite(threshold.value):
            raise ValueError(f"threshold is {threshold.value}; it must be finite")
        return threshold


def left_out(unit: str, per_fold: int = 1) -> str:
    """Origin of held-out scores, for ``quantile_threshold``: ``leave-one-block-out``, ``leave-3-drives-out``.

    Args:
        unit: what was left out, ``block`` or ``drive`` for example.
        per_fold: how many units were left out together.
    """
    return f"leave-one-{unit}-out" if per_fold == 1 else f"leave-{per_fold}-{unit}s-out"


def quantile_threshold(
    scores: ArrayLike,
    target_rate: float,
    *,
    origin: str,
    blocks: int | None = None,
    unit: str = "block",
    allow_small: bool = False,
) -> Threshold:
    """Take the ceil((n + 1)(1 - target))-th smallest clean score (split-conformal; Vovk et al. 2005).

    The quantile counts frames and needs 1/target of them. How well it holds on the next drive depends on the number of
    blocks: if they are too few for the target (rule of three), the threshold carries a warning.

    Args:
        scores: (N,) scores of clean frames. The target holds for unseen frames only if these were held out of the fit.
        target_rate: accepted share of clean frames above the threshold.
        origin: how the scores were made, stored in ``Threshold.method``; see ``left_out``.
        blocks: number of blocks or drives that the frames come from; None = each frame is one.
        unit: ``block`` or ``drive``, for the warning.
        allow_small: accept too few frames, with a warning in the threshold.

    Raises:
        CalibrationError: target outside (0, 1), non-finite scores, or fewer than 1/target - 1 scores
            (with ``allow_small`` the largest score is taken and the threshold carries a warning).
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise CalibrationError(f"clean scores have shape {values.shape}; give one score a frame, (N,).")
    values = np.sort(values)
    n = len(values)
    if not 0.0 < target_rate < 1.0:
        raise CalibrationError(f"the target false-alarm rate is {target_rate}; it must lie within (0, 1).")
    if n == 0 or not np.isfinite(values).all():
        raise CalibrationError(
            f"{n - int(np.isfinite(values).sum())} of {n} clean scores are not finite; a threshold needs finite ones."
        )
    rank, warning = max(1, ceil((n + 1) * (1.0 - target_rate) - 1e-9)), ""
    text = shortage(n, target_rate)
    if text:
        if not allow_small:
            raise CalibrationError(f"{text} Record more, or raise the target.")
        rank, warning = n, text
    units = n if blocks is None else blocks
    if not warning:
        warning = _few_units(units, unit, target_rate)
    method = f"split-conformal quantile of {origin} scores"
    clean_median = float(np.median(values))
    return Threshold(float(values[rank - 1]), target_rate, n, units, rank, method, warning, clean_median=clean_median)


def _few_units(units: int, unit: str, target_rate: float) -> str:
    """Warning that there are too few blocks or drives for the target; empty if there are enough."""
    claim = 1.0 - 0.05 ** (1.0 / units)
    if claim <= target_rate:
        return ""
    return (
        f"{units} {unit}{'s' if units > 1 else ''} cannot prove a target of {target_rate:.2g} false alarms a frame for the "
        f"next {unit}: frames of one are alike, and had no {unit} shown any, no less than {claim:.2g} could be claimed "
        f"(95 %, rule of three); {ceil(np.log(0.05) / np.log1p(-target_rate))} are needed for that."
    )


def shortage(n: int, target_rate: float) -> str:
    """Warning that ``n`` clean frames are too few for a target within (0, 1); empty if they are enough."""
    needed = ceil(1.0 / target_rate - 1e-9) - 1
    if n >= needed:
        return ""
    return (
        f"{n} clean frames cannot support a target of {target_rate:g} false alarms a frame; at least {needed} are needed "
        f"(better, many times that: neighbouring frames are nearly equal)."
    )
