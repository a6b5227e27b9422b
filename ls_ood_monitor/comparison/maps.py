"""Compares anomaly maps with the pixels that an anomaly disturbs.

Pixels are counted per drive in bins of score. So whole drives can be resampled without keeping their pixels.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.grid import GRID
from ..core.threshold import Threshold

_BINS = 1024  # within the calibration scores, and as many beyond them


@dataclass
class MapFigures:
    """Counts for one detector's map in one condition, by unit."""

    above: Counter[str] = field(default_factory=Counter)  # frames whose largest cell exceeds the threshold
    found: Counter[str] = field(default_factory=Counter)  # frames in which that cell also overlaps the disturbed pixels
    frames: Counter[str] = field(default_factory=Counter)  # all frames
    clean: dict[str, NDArray[np.int64]] = field(default_factory=dict)  # undisturbed pixels in each bin of score
    disturbed: dict[str, NDArray[np.int64]] = field(default_factory=dict)  # disturbed pixels in each bin of score


@dataclass(frozen=True)
class MapJudge:
    """Counts maps against the frame's threshold, at which the vehicle tints its overlay: a cell above it is OoD."""

    threshold: Threshold
    edges: NDArray[np.float64]  # rising edges of the bins of cell scores

    @classmethod
    def calibrate(cls, cells: NDArray[np.float64], threshold: Threshold) -> MapJudge:
        """Choose the bins from the held-out cell scores (N, cells) of clean pictures."""
        inside = np.quantile(cells, np.linspace(0.0, 1.0, _BINS))
        spread = max(float(inside[-1] - inside[0]), 1e-12)
        beyond = spread * np.geomspace(1e-3, 1e6, _BINS)
        return cls(threshold, np.unique(np.concatenate([inside[0] - beyond[::8], inside, inside[-1] + beyond])))

    def add(
        self,
        figures: MapFigures,
        unit: str,
        cells: NDArray[np.float64],
        mask: NDArray[np.bool_] | None,
        size: tuple[int, ...],
    ) -> None:
        """Count one picture.

        Args:
            figures: counts to add to.
            unit: unit of the picture.
            cells: (cells,) scores, row by row. A value that is not finite counts as the largest score.
            mask: (height, width) disturbed pixels; None = nothing is disturbed.
            size: height and width of the picture.
        """
        worst = 2.0 * np.abs(self.edges).max()
        grid = np.nan_to_num(np.asarray(cells, dtype=np.float64), nan=worst, posinf=worst).reshape(GRID)
        row, column = divmod(int(grid.argmax()), GRID[1])
        above = bool(grid[row, column] > self.threshold.value)
        figures.frames[unit] += 1
        figures.above[unit] += above
        if mask is None:
            return
        cell = mask[_pixels_of(row, GRID[0], mask.shape[0]), _pixels_of(column, GRID[1], mask.shape[1])]
        figures.found[unit] += above and bool(cell.any())
        plane = cv2.resize(grid, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        bins = np.searchsorted(self.edges, plane.ravel())
        count = len(self.edges) + 1
        flat = mask.ravel()
        for store, chosen in ((figures.clean, bins[~flat]), (figures.disturbed, bins[flat])):
            store[unit] = store.get(unit, 0) + np.bincount(chosen, minlength=count)


def _pixels_of(index: int, cells: int, pixels: int) -> slice:
    """Pixels that a cell pools, divided like adaptive pooling does."""
    return slice(index * pixels // cells, -(-(index + 1) * pixels // cells))
