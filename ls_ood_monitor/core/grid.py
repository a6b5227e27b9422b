"""The coarse grid over a picture on which features are pooled and anomaly maps are drawn, and its two coarser versions."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

#: Rows and columns of cells: about square ones on a 4:3 picture.
GRID = (6, 8)
#: A block is so many rows and columns of cells.
BLOCK = (2, 2)


_ROWS, _COLUMNS = GRID[0] // BLOCK[0], GRID[1] // BLOCK[1]


def blocks_of(cells: Any) -> Any:
    """Mean of each block of cells (N, 48, E), row by row from the top left -> (N, 12, E); of any array library."""
    xp = array_namespace(cells)
    count, _, width = cells.shape
    split = xp.reshape(cells, (count, _ROWS, BLOCK[0], _COLUMNS, BLOCK[1], width))
    return xp.reshape(xp.mean(split, axis=(2, 4)), (count, _ROWS * _COLUMNS, width))


def cells_of(blocks: Any) -> Any:
    """What each cell takes from its block, (N, 12) -> (N, 48); of any array library."""
    xp = array_namespace(blocks)
    count = blocks.shape[0]
    plane = xp.reshape(blocks, (count, _ROWS, 1, _COLUMNS, 1))
    spread = xp.broadcast_to(plane, (count, _ROWS, BLOCK[0], _COLUMNS, BLOCK[1]))
    return xp.reshape(spread, (count, GRID[0] * GRID[1]))
