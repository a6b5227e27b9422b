"""One Gaussian per class: DDU, adapted from one label per picture to one label per cell.

Source: Mukhoti et al., Deep Deterministic Uncertainty, CVPR 2023, arXiv 2102.11582.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from ...errors import MonitorError
from .base import Arrays, Detector
from .gaussian import check_shrinkage, covariance_estimate
from .mixture import check_mixture, mixture_log_density
from .projection import check_components, fit_whitening

#: Number of clean frames that a class needs to get a Gaussian.
_MIN_FRAMES = 10
_RIDGE = 1e-6


class ClasswiseDetector(Detector):
    """Negative log density of each predicted class's mean latent under class-conditional Gaussians, nats.

    In the paper a picture has one label and one feature z: score = -log sum_k P_k N(z; m_k, S_k). Here every cell has a
    predicted class, so a frame has one z per class, the mean latent of the cells predicted as that class. Each z is scored
    by this formula. The frame's score is the mean over its classes, weighted by their share of cells. Labels are the
    network's own predictions, in fitting and in scoring, so clean drives need no annotation.

    Rows are (N, K, C + 1): K classes, C latent channels, then the share of cells; a class with share 0 is absent.
    P_k is the share of class k among all clean (frame, class) pairs. A class in fewer than 10 clean frames gets no Gaussian;
    cells predicted as such a class score low only near the Gaussian of another class.

    Args:
        components: whitened principal components shared by all classes, at most one per five (frame, class) pairs. Without
            them a wide latent's covariance per class could not be estimated. None = the latents as they are.
        shrinkage: of each class's covariance, ``ledoit_wolf`` or ``empirical``.
        seed: of the projection.
    """

    rows: ClassVar = "N K E"
    arrays: ClassVar = {"mean": "E", "projection": "E C", "weights": "G", "means": "G C", "factors": "G C C"}

    def __init__(self, components: int | None = 64, shrinkage: str = "ledoit_wolf", seed: int = 0) -> None:
        super().__init__()
        self.components = check_components(components)
        self.shrinkage = check_shrinkage(shrinkage)
        self.seed = seed

    def _learn(self, data: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        seen = data[:, :, -1] > 0.0
        classes = np.flatnonzero(seen.sum(axis=0) >= _MIN_FRAMES)
        if len(classes) == 0:
            raise MonitorError(
                f"no class is predicted in at least {_MIN_FRAMES} of the {len(data)} clean frames, so no Gaussian can be "
                "fitted; give more frames."
            )
        latents = [data[seen[:, index], index, :-1] for index in classes]
        mean, projection = fit_whitening(np.concatenate(latents), self.components, self.seed)
        means, factors = [], []
        for rows in latents:
            estimate = covariance_estimate((rows - mean) @ projection, self.shrinkage)
            root = np.linalg.cholesky(estimate.covariance_ + _RIDGE * np.eye(projection.shape[1]))
            means.append(estimate.location_)
            factors.append(solve_triangular(root, np.eye(len(root)), lower=True).T)
        counts = np.array([len(rows) for rows in latents], dtype=np.float64)
        return {
            # The column of shares is not a latent: its projection is zero.
            "mean": np.append(mean, 0.0),
            "projection": np.vstack([projection, np.zeros(projection.shape[1])]),
            "weights": counts / counts.sum(),
            "means": np.stack(means),
            "factors": np.stack(factors),
        }

    def _score(self, data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
        shares = data[:, :, -1]
        projected = (data - arrays["mean"]) @ arrays["projection"]
        flat = projected.reshape(-1, projected.shape[-1])
        densities = mixture_log_density(flat, arrays["weights"], arrays["means"], arrays["factors"])
        return np.asarray(-(densities.reshape(shares.shape) * shares).sum(axis=1) / shares.sum(axis=1))

    @classmethod
    def _check_state(cls, arrays: Arrays) -> None:
        check_mixture(arrays)
