"""In-distribution scores -> a threshold at a stated false-alarm rate, with its provenance.

Video frames are autocorrelated: the held-out unit is a block of time or a drive, never a single frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, asdict, dataclass, fields
from math import ceil, nan
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from ..config import AlarmSettings
from ..errors import CalibrationError
from .alarm import alarm_onsets
from .detectors.contract import Detector
from .intervals import poisson_upper_bound

_MAX_FITS = 40
_FITS_AT_ONCE = 4  # each holds a copy of the data; more than there are cores do no harm


@dataclass(frozen=True)
class Threshold:
    """A calibrated threshold and where it comes from.

    Attributes:
        value: a score above it is OoD.
        target_rate: accepted share of clean frames above it; with ``target_per_hour`` the share that it came to.
        n: clean scores it was taken from.
        blocks: blocks of time or drives they came from.
        rank: it is the rank-th smallest of the n scores.
        method: how the scores were made.
        warning: what the data cannot support, in a sentence; empty if nothing.
        target_per_hour: accepted false alarms an hour, where that was the target.
        usual: median of the n clean scores, the unit in which excesses are measured (``core/alarm_rules.py``); NaN in
            bundles of earlier versions.
    """

    value: float
    target_rate: float
    n: int
    blocks: int
    rank: int
    method: str = "split-conformal quantile of leave-one-block-out scores"
    warning: str = ""
    target_per_hour: float | None = None
    usual: float = nan

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


def leave_one_block_out_scores(
    make_detector: Callable[[], Detector],
    rows: ArrayLike,
    blocks: ArrayLike,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """Score every row (N, ...) by a detector fitted without its block; returns (N,).

    ``blocks`` (N,) names blocks of time or drives; ``progress`` is told the number of them done. Of more than 40 blocks
    several are left out together, always whole: an hour of video would otherwise take hundreds of fits.

    Raises:
        CalibrationError: fewer than two blocks.
    """
    data, ids = np.asarray(rows, dtype=np.float64), np.asarray(blocks)
    if ids.shape != (len(data),):
        raise CalibrationError(f"there are {len(data)} rows but block ids of shape {ids.shape}; give one id a row.")
    names, numbers = np.unique(ids, return_inverse=True)
    if len(names) < 2:
        raise CalibrationError(
            f"the clean data form {len(names)} block; at least 2 are needed to hold one out. "
            "Record longer, or use shorter blocks."
        )
    scores = np.empty(len(data))
    folds = numbers % (_MAX_FITS if len(names) > _MAX_FITS else len(names))

    def unseen_scores(fold: int) -> NDArray[np.float64]:
        detector = make_detector()
        detector.fit(data[folds != fold])
        return detector.score(data[folds == fold])

    order = np.unique(folds)
    # A thread a fit: matrices this small make the linear algebra's own threads wait for one another most of the time, and
    # its sums would depend on their number.
    with threadpool_limits(1), ThreadPoolExecutor(_FITS_AT_ONCE) as pool:
        for fold, values in zip(order, pool.map(unseen_scores, order), strict=True):
            scores[folds == fold] = values
            if progress is not None:
                progress(len(np.unique(ids[folds <= fold])))
    return scores


def units_together(units: int) -> int:
    """How many of so many blocks or drives ``leave_one_block_out_scores`` leaves out at a time, at most."""
    return ceil(units / _MAX_FITS)


def quantile_threshold(
    scores: ArrayLike,
    target_rate: float,
    *,
    blocks: int | None = None,
    allow_small: bool = False,
    unit: str = "block",
    together: int = 1,
) -> Threshold:
    """Take the ceil((n + 1)(1 - target))-th smallest clean score (split-conformal; Vovk et al. 2005).

    The quantile is of frames, and needs 1/target of them. How far it holds on the next drive is a matter of units: where
    there are too few to claim the target (rule of three), the threshold says so in its warning.

    Args:
        scores: (N,) held-out scores of clean frames.
        target_rate: accepted share of clean frames above the threshold.
        blocks: how many units the frames come from; None = each frame is one.
        allow_small: take too few frames and note it in the threshold.
        unit: what was held out for the scores, ``block`` or ``drive``.
        together: how many of them at a time.

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
    method = f"split-conformal quantile of {_held_out(unit, together)} scores"
    usual = float(np.median(values))
    return Threshold(float(values[rank - 1]), target_rate, n, units, rank, method, warning, usual=usual)


def _held_out(unit: str, together: int) -> str:
    return f"leave-one-{unit}-out" if together == 1 else f"leave-{together}-{unit}s-out"


def _few_units(units: int, unit: str, target_rate: float) -> str:
    """What so many units cannot support, in a sentence; empty if nothing. ``shortage`` counts frames, this counts units."""
    claim = 1.0 - 0.05 ** (1.0 / units)
    if claim <= target_rate:
        return ""
    return (
        f"{units} {unit}{'s' if units > 1 else ''} cannot prove a target of {target_rate:.2g} false alarms a frame for the "
        f"next {unit}: frames of one are alike, and had no {unit} shown any, no less than {claim:.2g} could be claimed "
        f"(95 %, rule of three); {ceil(np.log(0.05) / np.log1p(-target_rate))} are needed for that."
    )


def shortage(n: int, target_rate: float) -> str:
    """What ``n`` clean frames lack for a target within (0, 1), in a sentence; empty if nothing."""
    needed = ceil(1.0 / target_rate - 1e-9) - 1
    if n >= needed:
        return ""
    return (
        f"{n} clean frames cannot support a target of {target_rate:g} false alarms a frame; at least {needed} are needed "
        f"(better, many times that: neighbouring frames are nearly equal)."
    )


def alarm_threshold(
    scores: ArrayLike,
    streams: Sequence[NDArray[np.int64]],
    hours: float,
    target_per_hour: float,
    *,
    settings: AlarmSettings,
    blocks: int = 1,
    allow_small: bool = False,
    unit: str = "block",
    together: int = 1,
) -> Threshold:
    """Lowest threshold from which on the alarms an hour stay within the target, with 95 % confidence.

    Alarms are those that ``AlarmFilter`` would raise, by the rule in ``settings``. Their number falls, but not steadily,
    as the threshold rises: an alarm may split in two. So every higher threshold keeps the target, too.

    Args:
        scores: (N,) held-out scores of clean frames.
        streams: for each camera of each drive the indices of its frames, in order of time.
        hours: driving time of the streams; cameras of one drive share it.
        target_per_hour: accepted alarms of all cameras in an hour of driving.
        settings: what raises and clears an alarm.
        blocks: blocks or drives the scores came from.
        allow_small: take too little time and note it in the threshold.
        unit: what was held out for the scores.
        together: how many of them at a time.

    Raises:
        CalibrationError: target not above 0, no stream long enough for an alarm, non-finite scores, or less than
            3 / target hours (rule of three: without an alarm in T hours only 3 / T an hour can be claimed).
    """
    values = np.asarray(scores, dtype=np.float64)
    if not (np.isfinite(target_per_hour) and target_per_hour > 0.0):
        raise CalibrationError(f"the target is {target_per_hour} false alarms an hour; it must be larger than 0.")
    if not np.isfinite(values).all():
        raise CalibrationError("some clean scores are not finite; a threshold needs finite ones.")
    trigger = settings.trigger_consecutive_frames
    long_enough = [values[stream] for stream in streams if len(stream) >= trigger]
    if not long_enough or not hours > 0.0:
        raise CalibrationError(
            f"no camera has {trigger} frames in a row, which an alarm takes; record longer, or give a target rate a frame."
        )
    warning = ""
    if poisson_upper_bound(0, hours) > target_per_hour:
        text = (
            f"{_duration(hours)} of clean driving cannot support a target of {target_per_hour:g} false alarms an hour: "
            f"without any alarm in T hours one can claim no less than 3 / T an hour (rule of three), here "
            f"{poisson_upper_bound(0, hours):.3g}; at least {_duration(poisson_upper_bound(0, 1.0) / target_per_hour)} "
            "are needed."
        )
        if not allow_small:
            raise CalibrationError(f"{text} Record more, or raise the target.")
        warning = text
    usual = float(np.median(values))
    if settings.rule == "consecutive":
        # An alarm can begin only where the smallest of the last `trigger` scores lies above the threshold.
        candidates = np.unique(np.concatenate([sliding_window_view(part, trigger).min(axis=1) for part in long_enough]))
    else:
        candidates = np.unique(np.concatenate(long_enough))
    value = float(candidates[-1])
    for candidate in candidates[-2::-1]:
        if candidate <= usual:  # more than half of the clean frames above it: no threshold any more
            break
        alarms = sum(len(alarm_onsets(part, float(candidate), settings, usual)) for part in long_enough)
        if poisson_upper_bound(alarms, hours) > target_per_hour:
            break
        value = float(candidate)
    rank = int((values <= value).sum())
    method = f"alarms ({_rule(settings)}) over {_held_out(unit, together)} scores, 95 % bound within the target"
    share = 1.0 - rank / (len(values) + 1)
    return Threshold(value, share, len(values), blocks, rank, method, warning, target_per_hour, usual)


def _rule(settings: AlarmSettings) -> str:
    trigger = settings.trigger_consecutive_frames
    return {
        "consecutive": f"{trigger} frames in a row",
        "window": f"{trigger} of {settings.window_frames} frames",
        "cusum": f"cumulative sum of {settings.cusum_limit:g}",
    }[settings.rule]


def _duration(hours: float) -> str:
    if hours >= 1.0:
        return f"{hours:.1f} h"
    return f"{hours * 60.0:.1f} min" if hours >= 1.0 / 60.0 else f"{hours * 3600.0:.1f} s"


def time_blocks(stamps_ns: ArrayLike, groups: Sequence[object], block_s: float) -> NDArray[np.int64]:
    """Number the blocks of ``block_s`` seconds of each group (a drive, a camera), from the group's first stamp."""
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    if not block_s > 0.0:
        raise CalibrationError(f"the block length is {block_s} s; it must be larger than 0.")
    if len(groups) != len(stamps):
        raise CalibrationError(f"there are {len(stamps)} stamps but {len(groups)} groups.")
    first: dict[object, int] = {}
    for group, stamp in zip(groups, stamps.tolist(), strict=True):
        first[group] = min(first.get(group, stamp), stamp)
    numbers: dict[tuple[object, int], int] = {}
    return np.array(
        [
            numbers.setdefault((group, int((stamp - first[group]) // (block_s * 1e9))), len(numbers))
            for group, stamp in zip(groups, stamps.tolist(), strict=True)
        ],
        dtype=np.int64,
    )
