"""One Gaussian: the squared Mahalanobis distance.

Sources: Lee et al., NeurIPS 2018 (Mahalanobis on features); Ledoit & Wolf 2004 (shrinkage).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import EmpiricalCovariance, LedoitWolf

from ...errors import BundleError, ConfigError
from .base import Arrays, Detector


def check_shrinkage(shrinkage: str) -> str:
    """Return the name of a covariance estimate. Raises ``ConfigError`` if it is unknown."""
    if shrinkage not in ("ledoit_wolf", "empirical"):
        raise ConfigError(f"shrinkage is {shrinkage!r}; it must be 'ledoit_wolf' or 'empirical'.")
    return shrinkage


def check_precision(arrays: Arrays, name: str) -> None:
    """Raise ``BundleError`` if a stored array is no inverse covariance."""
    diagonal = np.diagonal(arrays[name])
    if not diagonal.any() or (diagonal < 0.0).any():
        raise BundleError(
            f"detector array {name} is not an inverse covariance (diagonal zero or negative); calibrate again."
        )


def squared_distance(centred: Any, precision: Any) -> Any:
    """c^T precision c of vectors c (..., D) -> (...); for any array library."""
    return ((centred @ precision) * centred).sum(-1)


def covariance_estimate(rows: NDArray[np.float64], shrinkage: str) -> EmpiricalCovariance:
    """Covariance of rows (N, D) as a fitted scikit-learn estimator."""
    return (LedoitWolf() if shrinkage == "ledoit_wolf" else EmpiricalCovariance()).fit(rows)


class MahalanobisDetector(Detector):
    """Squared Mahalanobis distance to the calibration data, (x - mean)^T precision (x - mean), no unit.

    Args:
        shrinkage: ``ledoit_wolf`` or ``empirical``, which is the reference's. With fewer than about ten frames per dimension
            the empirical estimate makes unseen clean frames look far away.
    """

    arrays: ClassVar = {"mean": "D", "precision": "D D"}
    portable: ClassVar = True

    def __init__(self, shrinkage: str = "ledoit_wolf") -> None:
        super().__init__()
        self.shrinkage = check_shrinkage(shrinkage)

    def _learn(self, data: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        estimate = covariance_estimate(data, self.shrinkage)
        return {
            "mean": np.asarray(estimate.location_, dtype=np.float64),
            "precision": np.asarray(estimate.get_precision(), dtype=np.float64),
        }

    def _score(self, data: Any, arrays: Mapping[str, Any]) -> Any:
        return squared_distance(data - arrays["mean"], arrays["precision"])

    @classmethod
    def _check_state(cls, arrays: Arrays) -> None:
        check_precision(arrays, "precision")
