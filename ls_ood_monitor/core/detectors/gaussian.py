"""One Gaussian: the squared Mahalanobis distance, on whatever a detector reads.

Sources: Lee et al., NeurIPS 2018 (Mahalanobis on features); Ledoit & Wolf 2004 (shrinkage).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.covariance import EmpiricalCovariance, LedoitWolf

from ...errors import BundleError, ConfigError, MonitorError


class MahalanobisDetector:
    """Squared Mahalanobis distance to the calibration data.

    Args:
        shrinkage: ``ledoit_wolf`` (default; with fewer than about ten frames a dimension the empirical estimate makes
            unseen clean frames look far away) or ``empirical`` (the reference's).
    """

    def __init__(self, shrinkage: str = "ledoit_wolf") -> None:
        if shrinkage not in ("ledoit_wolf", "empirical"):
            raise ConfigError(f"shrinkage is {shrinkage!r}; it must be 'ledoit_wolf' or 'empirical'.")
        self.shrinkage = shrinkage
        self.mean_: NDArray[np.float64] | None = None
        self.precision_: NDArray[np.float64] | None = None

    def fit(self, rows: ArrayLike, ood_rows: ArrayLike | None = None) -> MahalanobisDetector:
        """Learn mean and precision from clean rows (N, D), N >= 2, all finite, not all equal; OoD rows are not used."""
        data = np.asarray(rows, dtype=np.float64)
        if data.ndim != 2 or len(data) < 2 or data.shape[1] == 0 or not np.isfinite(data).all():
            raise MonitorError(
                f"a detector is fitted to at least 2 finite rows (N, D); got shape {data.shape}"
                f"{'' if np.isfinite(data).all() else ' with non-finite values'}."
            )
        if not np.ptp(data, axis=0).any():
            # Their pseudo-inverse is zero: every frame would score 0 and the monitor would be blind.
            raise MonitorError(f"all {len(data)} rows are equal; a detector needs frames that differ.")
        estimator = LedoitWolf() if self.shrinkage == "ledoit_wolf" else EmpiricalCovariance()
        estimator.fit(data)
        self.mean_ = np.asarray(estimator.location_, dtype=np.float64)
        self.precision_ = np.asarray(estimator.get_precision(), dtype=np.float64)
        return self

    def score(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Squared distance (N,) of rows (N, D); larger = more OoD; a non-finite row scores NaN."""
        if self.mean_ is None or self.precision_ is None:
            raise MonitorError("the detector is not fitted; call fit() or load a bundle first.")
        data = np.asarray(rows, dtype=np.float64)
        if data.ndim != 2 or data.shape[1] != len(self.mean_):
            raise MonitorError(f"rows have shape {data.shape}; the detector was fitted to (N, {len(self.mean_)}).")
        centred = data - self.mean_
        finite = np.isfinite(centred).all(axis=1)
        centred[~finite] = 0.0
        scores = np.einsum("nd,nd->n", centred @ self.precision_, centred)
        scores[~finite] = np.nan
        return np.asarray(scores, dtype=np.float64)

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Arrays to store: ``mean`` (D,) and ``precision`` (D, D)."""
        if self.mean_ is None or self.precision_ is None:
            raise MonitorError("the detector is not fitted; there is nothing to store.")
        return {"mean": self.mean_, "precision": self.precision_}

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[np.float64]]) -> MahalanobisDetector:
        """Rebuild from stored arrays. Raises ``BundleError`` when they are missing, misshapen or not finite."""
        missing = {"mean", "precision"} - set(state)
        if missing:
            raise BundleError(f"detector arrays {', '.join(sorted(missing))} are missing; calibrate again.")
        mean, precision = (np.asarray(state[key], dtype=np.float64) for key in ("mean", "precision"))
        if mean.ndim != 1 or precision.shape != (len(mean), len(mean)):
            raise BundleError(
                f"detector arrays have shapes {mean.shape} and {precision.shape}; (D,) and (D, D) are needed."
            )
        if not (np.isfinite(mean).all() and np.isfinite(precision).all()):
            raise BundleError("detector arrays hold non-finite values; calibrate again.")
        diagonal = np.diagonal(precision)
        if not diagonal.any() or (diagonal < 0.0).any():
            raise BundleError(
                "detector array precision is no inverse covariance (diagonal zero or negative); calibrate again."
            )
        detector = cls()
        detector.mean_, detector.precision_ = mean, precision
        return detector
