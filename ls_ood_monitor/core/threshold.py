"""In-distribution scores -> a threshold at a stated false-alarm rate, with its provenance.

Video frames are autocorrelated: the held-out unit is a block of time or a drive, never a single frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from ..errors import CalibrationError
from .detectors.contract import Detector


@dataclass(frozen=True)
class Threshold:
    """A calibrated threshold and where it comes from.

    Attributes:
        value: a score above it is OoD.
        target_rate: accepted share of clean frames above it.
        n: clean scores it was taken from.
        blocks: blocks of time or drives they came from.
        rank: it is the rank-th smallest of the n scores.
        method: how the scores were made.
        warning: what the data cannot support, in a sentence; empty if nothing.
    """

    value: float
    target_rate: float
    n: int
    blocks: int
    rank: int
    method: str = "split-conformal quantile of leave-one-block-out scores"
    warning: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Threshold:
        """Rebuild from ``to_dict``; raises ``KeyError`` for a missing value and ``ValueError`` for a non-finite one."""
        threshold = cls(**{spec.name: values[spec.name] for spec in fields(cls)})
        if not np.isfinite(threshold.value):
            raise ValueError(f"threshold is {threshold.value}; it must be finite")
        return threshold


def leave_one_block_out_scores(
    make_detector: Callable[[], Detector], rows: ArrayLike, blocks: ArrayLike
) -> NDArray[np.float64]:
    """Score every row (N, ...) by a detector fitted to all blocks but its own; returns (N,).

    Raises:
        CalibrationError: fewer than two blocks.
    """
    data, ids = np.asarray(rows, dtype=np.float64), np.asarray(blocks)
    if ids.shape != (len(data),):
        raise CalibrationError(f"there are {len(data)} rows but block ids of shape {ids.shape}; give one id a row.")
    names = np.unique(ids)
    if len(names) < 2:
        raise CalibrationError(
            f"the clean data form {len(names)} block; at least 2 are needed to hold one out. "
            "Record longer, or use shorter blocks."
        )
    scores = np.empty(len(data))
    for name in names:
        held_out = ids == name
        detector = make_detector()
        detector.fit(data[~held_out])
        scores[held_out] = detector.score(data[held_out])
    return scores


def quantile_threshold(
    scores: ArrayLike, target_rate: float, *, blocks: int = 1, allow_small: bool = False
) -> Threshold:
    """Take the ceil((n + 1)(1 - target))-th smallest clean score (split-conformal; Vovk et al. 2005).

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
    if rank > n:
        needed = ceil(1.0 / target_rate - 1e-9) - 1
        text = (
            f"{n} clean frames cannot support a target of {target_rate:g} false alarms a frame; at least {needed} are needed "
            f"(better, many times that: neighbouring frames are nearly equal)."
        )
        if not allow_small:
            raise CalibrationError(f"{text} Record more, or raise the target.")
        rank, warning = n, text
    return Threshold(float(values[rank - 1]), target_rate, n, blocks, rank, warning=warning)


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a binomial share (Wilson 1927). Frames of a video are not independent: it is then too narrow."""
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a share.")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; it must lie within (0, 1).")
    z = float(norm.ppf(0.5 + confidence / 2.0))
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


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
