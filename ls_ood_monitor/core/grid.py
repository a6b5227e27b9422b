"""The coarse grid of cells on which features are pooled and anomaly maps are drawn, and its blocks of cells."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

#: Rows and columns of cells; on a 4:3 picture cells are about square.
GRID = (6, 8)
#: Rows and columns of cells in a block.
BLOCK = (2, 2)

_ROWS, _COLUMNS = GRID[0] // BLOCK[0], GRID[1] // BLOCK[1]


def blocks_of(cells: Any) -> Any:
    """Mean of each block: cells (N, 48, E), row by row from the top left -> (N, 12, E); for any array library."""
    xp = array_namespace(cells)
    count, _, width = cells.shape
    split = xp.reshape(cells, (count, _ROWS, BLOCK[0], _COLUMNS, BLOCK[1], width))
    return xp.reshape(xp.mean(split, axis=(2, 4)), (count, _ROWS * _COLUMNS, width))


def cells_of(blocks: Any) -> Any:
    """The value of each cell's block: (N, 12) -> (N, 48); for any array library."""
    xp = array_namespace(blocks)
    count = blocks.shape[0]
    plane = xp.reshape(blocks, (count, _ROWS, 1, _COLUMNS, 1))
    spread = xp.broadcast_to(plane, (count, _ROWS, BLOCK[0], _COLUMNS, BLOCK[1]))
    return xp.reshape(spread, (count, GRID[0] * GRID[1]))
