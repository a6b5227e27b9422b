"""Kernel density of clean rows (LaRED), and of clean and OoD rows.

The density is exact: one matrix product and a log-sum-exp. scikit-learn's ``KernelDensity`` prunes its tree with a wrong
bound: from about 30 dimensions on its densities are wrong by tens of nats, and so is the ranking (scikit-learn issue 27186).

Sources: Parzen 1962; LaRED: Arnez et al., UAI 2024; two classes: the reference's first monitor, Arnez et al. 2023
(CEUR-WS 3381, paper 39).
"""

from __future__ import annotations

from math import log, pi
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from ...errors import BundleError, ConfigError, MonitorError
from .base import Arrays, Detector
from .projection import check_components, fit_whitening

Self = TypeVar("Self", bound="TwoClassDensityDetector")


def log_density(data: NDArray[np.float64], rows: NDArray[np.float64], bandwidth: float) -> NDArray[np.float64]:
    """Log density (N,) at ``data`` (N, D) of a Gaussian kernel estimate from ``rows`` (n, D), nats.

    log p(x) = logsumexp_i(-|x - x_i|^2 / (2 b^2)) - log n - D/2 log(2 pi b^2);
    x_i = rows, n = their number, b = bandwidth, D = dimensions.
    """
    lengths, own = np.einsum("nd,nd->n", data, data), np.einsum("nd,nd->n", rows, rows)
    squared = np.maximum(lengths[:, None] + own - 2.0 * (data @ rows.T), 0.0)
    norm = log(len(rows)) + 0.5 * rows.shape[1] * log(2.0 * pi * bandwidth**2)
    return np.asarray(logsumexp(squared / (-2.0 * bandwidth**2), axis=1) - norm, dtype=np.float64)


class DensityDetector(Detector):
    """LaRED: negative log density of the clean rows' kernel estimate, nats; larger = more OoD.

    Args:
        bandwidth: standard deviation of the kernel, 1.0 as in the reference, in units of the projected rows.
        components: whitened principal components that the rows are projected to first, at most one per five rows;
            None = the rows as they are. Entropies of channels differ in spread, so one bandwidth fits all of them only after
            whitening. The reference's 50 directions can be estimated from a few hundred frames.
        seed: of the projection.
    """

    arrays: ClassVar = {"mean": "D", "projection": "D C", "train": "n C", "bandwidth": "1"}

    def __init__(self, bandwidth: float = 1.0, components: int | None = 50, seed: int = 0) -> None:
        super().__init__()
        if not 0.0 < bandwidth < np.inf:
            raise ConfigError(f"bandwidth is {bandwidth}; it must be larger than 0 and finite.")
        self.bandwidth = bandwidth
        self.components = check_components(components)
        self.seed = seed

    def _learn(self, data: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        mean, projection = fit_whitening(data, self.components, self.seed)
        return {
            "mean": mean,
            "projection": projection,
            "train": (data - mean) @ projection,
            "bandwidth": np.array([self.bandwidth]),
        }

    def _score(self, data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
        projected = (data - arrays["mean"]) @ arrays["projection"]
        return -log_density(projected, arrays["train"], float(arrays["bandwidth"][0]))

    @classmethod
    def _check_state(cls, arrays: Arrays) -> None:
        if not arrays["bandwidth"][0] > 0.0:
            raise BundleError(
                f"detector array bandwidth is {arrays['bandwidth'][0]}, it must be larger than 0; calibrate again."
            )


class TwoClassDensityDetector(DensityDetector):
    """Supervised: log odds that a row is OoD, from one kernel density of clean rows and one of OoD rows, nats.

    score = log(P_ood p_ood(x)) - log(P_ind p_ind(x)); p = densities, P = shares of clean and OoD rows in the fit. The
    reference uses the posterior 1 / (1 + exp(-score)), which rounds to 0 or 1 where the log odds still rank. The detector
    finds the kind of OoD that it was fitted to, and other kinds far less.

    Args:
        bandwidth: standard deviation of the kernels, 0.8 as in the reference, in units of the projected rows.
        components: whitened principal components of clean and OoD rows together, 16 as in the reference; None = none.
        seed: of the projection.
    """

    arrays: ClassVar = {"mean": "D", "projection": "D C", "train": "n C", "train_ood": "m C", "bandwidth": "1"}

    def __init__(self, bandwidth: float = 0.8, components: int | None = 16, seed: int = 0) -> None:
        super().__init__(bandwidth, components, seed)

    def fit(self: Self, rows: ArrayLike, ood_rows: ArrayLike | None = None) -> Self:
        """Learn from clean rows (N, D) and OoD rows (M, D), at least 2 of each, finite, not all equal.

        Raises:
            MonitorError: OoD rows are missing, or rows that break this rule.
        """
        self._learnt = self._learn(
            self._fit_rows(rows, "clean rows"), None if ood_rows is None else self._fit_rows(ood_rows, "OoD rows")
        )
        return self

    def _learn(
        self, data: NDArray[np.float64], ood: NDArray[np.float64] | None = None
    ) -> dict[str, NDArray[np.float64]]:
        if ood is None:
            raise MonitorError("this detector is supervised and needs OoD rows, too; give ood_rows.")
        if data.shape[1] != ood.shape[1]:
            raise MonitorError(
                f"clean rows have {data.shape[1]} values, OoD rows {ood.shape[1]}; they must be the same."
            )
        mean, projection = fit_whitening(np.concatenate([data, ood]), self.components, self.seed)
        return {
            "mean": mean,
            "projection": projection,
            "train": (data - mean) @ projection,
            "train_ood": (ood - mean) @ projection,
            "bandwidth": np.array([self.bandwidth]),
        }

    def _score(self, data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
        projected, bandwidth = (data - arrays["mean"]) @ arrays["projection"], float(arrays["bandwidth"][0])
        ood, ind = arrays["train_ood"], arrays["train"]
        odds = log_density(projected, ood, bandwidth) - log_density(projected, ind, bandwidth)
        return np.asarray(odds + log(len(ood) / len(ind)), dtype=np.float64)
