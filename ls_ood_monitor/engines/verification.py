"""Compares an engine with eager torch on two synthetic test pictures. Done once, when a bundle is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..vision.preprocess import PreprocessSpec

#: Precision -> largest accepted ``Difference.score``, and largest accepted ``Difference.class_ids``.
TOLERANCE: Mapping[str, float] = {"fp32": 1e-3, "tf32": 1e-2, "fp16": 2e-2, "bf16": 5e-2}

Scores = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Difference:
    """Largest differences of an engine from eager torch in single precision."""

    score: float  # of any detector's score, divided by the score or by its threshold, whichever is larger
    detector: str  # with that difference
    class_ids: float  # share of pixels whose class differs

    def __str__(self) -> str:
        return f"scores differ by at most {self.score:.2g} ({self.detector}), classes in {self.class_ids:.2g} of the pixels"


def measure_difference(
    scores: Scores,
    class_ids: NDArray[np.uint8],
    expected_scores: Scores,
    expected_ids: NDArray[np.uint8],
    thresholds: Mapping[str, float],
) -> Difference:
    """Compare scores (N,) of each detector, and class ids, with the expected ones.

    The difference is infinite where only one of two scores is finite, and 0 where neither is.
    """
    shares = {
        name: _share(values, expected_scores[name], abs(thresholds[name]) if np.isfinite(thresholds[name]) else 0.0)
        for name, values in scores.items()
    }
    worst = max(shares, key=lambda name: shares[name])
    return Difference(shares[worst], worst, float((class_ids != expected_ids).mean()))


def is_accepted(difference: Difference, precision: str) -> bool:
    """Whether the difference is small enough for an engine of this precision."""
    return max(difference.score, difference.class_ids) <= TOLERANCE[precision]


def check_pictures(spec: PreprocessSpec) -> NDArray[np.uint8]:
    """Two seeded pictures (2, height, width, 3), one with coarse and one with fine structure."""
    random = np.random.default_rng(0)
    pictures = []
    for cell in (32, 4):
        shape = max(2, spec.height // cell), max(2, spec.width // cell), 3
        coarse = random.integers(0, 256, shape, dtype=np.uint8)
        pictures.append(cv2.resize(coarse, (spec.width, spec.height), interpolation=cv2.INTER_CUBIC))
    return np.stack(pictures)


def _share(values: NDArray[np.float64], expected: NDArray[np.float64], scale: float) -> float:
    both_broken = ~np.isfinite(values) & ~np.isfinite(expected)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.abs(values - expected) / np.maximum(np.maximum(np.abs(expected), scale), 1e-12)
    return float(np.where(both_broken, 0.0, np.where(np.isfinite(shares), shares, np.inf)).max())
