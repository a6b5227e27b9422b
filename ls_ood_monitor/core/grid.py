"""The coarse grid of cells on which features are pooled and anomaly maps are drawn."""

from __future__ import annotations

#: Rows and columns of cells; on a 4:3 picture cells are about square.
GRID = (6, 8)
