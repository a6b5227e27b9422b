"""Whitening by principal components.

Source: Halko et al. 2011, arXiv 0909.4061 (the randomised solver, here always seeded).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from ...errors import ConfigError

#: Rows per whitened direction. With fewer, directions fit noise and unseen clean rows look far away.
ROWS_PER_COMPONENT = 5
_MIN_VARIANCE = 1e-12


def check_components(components: int | None) -> int | None:
    """Return the number of components asked for. Raises ``ConfigError`` below 1."""
    if components is not None and components < 1:
        raise ConfigError(f"components is {components}; it must be at least 1, or None for no projection.")
    return components


def fit_whitening(
    rows: NDArray[np.float64], components: int | None, seed: int, rows_per_component: int = ROWS_PER_COMPONENT
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Learn a whitening projection x -> (x - mean) projection.

    Args:
        rows: (N, D).
        components: number of directions, largest variance first; limited by N / ``rows_per_component``, D and the rank of
            the rows. None = the rows are centred only.
        seed: of the randomised solver.
        rows_per_component: rows that a direction needs; 1 = no limit.

    Returns:
        mean (D,) and projection (D, components). The projected rows have unit variance (denominator N - 1).
    """
    if components is None:
        return rows.mean(axis=0), np.eye(rows.shape[1])
    count = max(1, min(components, rows.shape[1], len(rows) // rows_per_component))
    pca = PCA(count, svd_solver="randomized", random_state=seed).fit(rows)
    variance = pca.explained_variance_
    kept = variance > _MIN_VARIANCE * variance[0]
    projection = pca.components_[kept].T / np.sqrt(variance[kept])
    return np.asarray(pca.mean_, dtype=np.float64), np.asarray(projection, dtype=np.float64)
