"""The coarse grid over a picture on which features are pooled and anomaly maps are drawn, and its two coarser versions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Rows and columns of cells: about square ones on a 4:3 picture.
GRID = (6, 8)
#: A block is so many rows and columns of cells.
BLOCK = (2, 2)


def blocks_of(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each block of cells (N, 48, E), row by row from the top left -> (N, 12, E)."""
    rows, columns = GRID[0] // BLOCK[0], GRID[1] // BLOCK[1]
    split = cells.reshape(len(cells), rows, BLOCK[0], columns, BLOCK[1], -1)
    return np.asarray(split.mean(axis=(2, 4)).reshape(len(cells), rows * columns, -1), dtype=np.float64)


def cells_of(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each cell takes from its block, (N, 12) -> (N, 48)."""
    plane = blocks.reshape(len(blocks), GRID[0] // BLOCK[0], GRID[1] // BLOCK[1])
    return np.asarray(plane.repeat(BLOCK[0], axis=1).repeat(BLOCK[1], axis=2).reshape(len(blocks), -1))
