"""Anomaly maps against disturbed pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ls_ood_monitor.comparison.maps import MapFigures, MapJudge
from ls_ood_monitor.core.bootstrap import binned_auroc, binned_average_precision
from ls_ood_monitor.core.grid import GRID
from ls_ood_monitor.core.threshold import quantile_threshold

SIZE = (96, 128)
CELLS = GRID[0] * GRID[1]


@pytest.fixture
def judge() -> MapJudge:
    """Calibrated on 200 clean pictures of normal cells."""
    cells = np.random.default_rng(0).normal(size=(200, CELLS))
    return MapJudge.calibrate(
        cells, quantile_threshold(cells.max(axis=1), 0.05, origin="leave-one-drive-out", blocks=200)
    )


def cell_mask(row: int, column: int) -> np.ndarray:
    """Disturbed pixels within one cell."""
    mask = np.zeros(SIZE, bool)
    height, width = SIZE[0] // GRID[0], SIZE[1] // GRID[1]
    mask[row * height + 2 : (row + 1) * height - 2, column * width + 2 : (column + 1) * width - 2] = True
    return mask


def cells_with(row: int, column: int, value: float) -> np.ndarray:
    """A quiet map with one cell of this value."""
    grid = np.zeros(GRID)
    grid[row, column] = value
    return grid.ravel()


def test_found_needs_the_right_cell_and_the_threshold(judge):
    """Found counts frames whose largest cell lies on the object and exceeds the threshold; alarms need only the latter."""
    figures = MapFigures()
    loud = 10.0 * judge.threshold.value
    for row, column, value in ((2, 3, loud), (2, 4, loud), (2, 3, 0.5 * judge.threshold.value)):
        judge.add(figures, "a", cells_with(row, column, value), cell_mask(2, 3), SIZE)
    judge.add(figures, "b", cells_with(0, 0, loud), None, SIZE)
    assert (figures.frames, figures.above, figures.found) == ({"a": 3, "b": 1}, {"a": 2, "b": 1}, {"a": 1})


def test_pixel_figures_are_those_of_scikit_learn(judge):
    """AUROC and average precision of the bilinear map, from bins, nearly equal those from every pixel."""
    random = np.random.default_rng(1)
    figures, planes, masks = MapFigures(), [], []
    for number in range(6):
        row, column = int(random.integers(GRID[0])), int(random.integers(GRID[1]))
        cells = random.normal(size=CELLS) + cells_with(row, column, random.uniform(0.0, 40.0))
        mask = cell_mask(row, column)
        judge.add(figures, str(number % 2), cells, mask, SIZE)
        planes.append(cv2.resize(cells.reshape(GRID), SIZE[::-1], interpolation=cv2.INTER_LINEAR).ravel())
        masks.append(mask.ravel())
    labels, scores = np.concatenate(masks), np.concatenate(planes)
    counts = [sum(store.values()) for store in (figures.clean, figures.disturbed)]
    assert counts[0].sum() + counts[1].sum() == labels.size
    assert binned_auroc(*counts) == pytest.approx(roc_auc_score(labels, scores), abs=1e-3)
    assert binned_average_precision(*counts) == pytest.approx(average_precision_score(labels, scores), abs=5e-3)


def test_a_cell_that_is_not_finite_alarms(judge):
    """NaN counts as the largest score."""
    figures = MapFigures()
    judge.add(figures, "a", cells_with(1, 1, np.nan), None, SIZE)
    assert figures.above == {"a": 1}
