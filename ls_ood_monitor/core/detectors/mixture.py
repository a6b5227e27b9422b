"""A mixture of Gaussians on whitened rows.

Source: Dempster et al. 1977 (EM); the reference's successor uses it on latents.
"""

from __future__ import annotations

import warnings
from math import log, pi
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from ...errors import BundleError, ConfigError
from .base import Arrays, Detector
from .projection import check_components, fit_whitening

#: Added to the diagonal of every covariance, in units of the whitened rows' variance, 1.
_RIDGE = 1e-3
_ROWS_PER_PARAMETER = 5


def mixture_log_density(
    data: NDArray[np.float64],
    weights: NDArray[np.float64],
    means: NDArray[np.float64],
    factors: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Log density (N,) of ``data`` (N, C) under a mixture, nats.

    log p(x) = logsumexp_g(log w_g - C/2 log(2 pi) + log det F_g - |(x - m_g) F_g|^2 / 2)

    Args:
        data: (N, C).
        weights: w (G,), > 0, sum 1.
        means: m (G, C).
        factors: F (G, C, C), triangular, F F^T = inverse covariance.
    """
    parts = np.empty((len(data), len(weights)))
    for index, (mean, factor) in enumerate(zip(means, factors, strict=True)):
        scaled = (data - mean) @ factor
        parts[:, index] = np.log(np.diagonal(factor)).sum() - 0.5 * np.einsum("nc,nc->n", scaled, scaled)
    parts += np.log(weights) - 0.5 * means.shape[1] * log(2.0 * pi)
    return np.asarray(logsumexp(parts, axis=1), dtype=np.float64)


def check_mixture(arrays: Arrays) -> None:
    """Raise ``BundleError`` if stored ``weights`` and ``factors`` are not those of a mixture."""
    if not (arrays["weights"] > 0.0).all() or not (np.diagonal(arrays["factors"], axis1=1, axis2=2) > 0.0).all():
        raise BundleError("detector arrays weights and factors are not all above 0; calibrate again.")


class MixtureDetector(Detector):
    """Negative log density of a Gaussian mixture, nats; larger = more OoD.

    Args:
        mixtures: number of Gaussians with full covariances; fewer if there are less than five rows per mean value.
        components: whitened principal components, at most one per five rows; None = the rows as they are.
        seed: of projection and start values.
    """

    arrays: ClassVar = {"mean": "D", "projection": "D C", "weights": "G", "means": "G C", "factors": "G C C"}

    def __init__(self, mixtures: int = 4, components: int | None = 16, seed: int = 0) -> None:
        super().__init__()
        if mixtures < 1:
            raise ConfigError(f"mixtures is {mixtures}; it must be at least 1.")
        self.mixtures = mixtures
        self.components = check_components(components)
        self.seed = seed

    def _learn(self, data: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        mean, projection = fit_whitening(data, self.components, self.seed)
        rows = (data - mean) @ projection
        count = max(1, min(self.mixtures, len(rows) // (_ROWS_PER_PARAMETER * rows.shape[1])))
        model = GaussianMixture(count, reg_covar=_RIDGE, random_state=self.seed, max_iter=200)
        with warnings.catch_warnings():
            # If EM stops early its last step is still a mixture, and the threshold comes from its scores.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(rows)
        return {
            "mean": mean,
            "projection": projection,
            "weights": np.asarray(model.weights_, dtype=np.float64),
            "means": np.asarray(model.means_, dtype=np.float64),
            "factors": np.asarray(model.precisions_cholesky_, dtype=np.float64),
        }

    def _score(self, data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
        projected = (data - arrays["mean"]) @ arrays["projection"]
        return -mixture_log_density(projected, arrays["weights"], arrays["means"], arrays["factors"])

    @classmethod
    def _check_state(cls, arrays: Arrays) -> None:
        check_mixture(arrays)
