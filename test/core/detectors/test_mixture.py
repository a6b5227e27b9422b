"""Gaussian mixtures against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from ls_ood_monitor.core.detectors.mixture import MixtureDetector
from ls_ood_monitor.errors import BundleError, ConfigError


def two_clusters(count: int, width: int, seed: int = 0) -> np.ndarray:
    """Rows around two centres: one Gaussian would call the empty middle the most usual."""
    random = np.random.default_rng(seed)
    return random.normal(size=(count, width)) + 6.0 * random.integers(0, 2, (count, 1))


def test_scores_equal_scikit_learns():
    """Without projection the score is the negative of GaussianMixture.score_samples."""
    rows, fresh = two_clusters(500, 6), two_clusters(40, 6, seed=1) + 1.0
    model = GaussianMixture(3, reg_covar=1e-3, random_state=0, max_iter=200).fit(rows - rows.mean(axis=0))
    expected = -model.score_samples(fresh - rows.mean(axis=0))
    np.testing.assert_allclose(MixtureDetector(3, components=None).fit(rows).score(fresh), expected, rtol=1e-9)


def test_one_gaussian_is_scipys():
    """With one mixture the score is scipy's negative log density in whitened directions."""
    rows, fresh = np.random.default_rng(2).normal(size=(300, 8)), np.random.default_rng(3).normal(size=(9, 8))
    pca = PCA(5, whiten=True, svd_solver="full").fit(rows)
    white = pca.transform(rows)
    covariance = np.cov(white.T, bias=True) + 1e-3 * np.eye(5)
    expected = -multivariate_normal(white.mean(axis=0), covariance).logpdf(pca.transform(fresh))
    np.testing.assert_allclose(MixtureDetector(1, components=5).fit(rows).score(fresh), expected, rtol=1e-4)


def test_the_middle_of_two_clusters_is_far():
    """A mixture knows that nothing was seen between the clusters."""
    detector = MixtureDetector().fit(two_clusters(400, 5))
    assert detector.score(np.full((1, 5), 3.0))[0] > np.quantile(detector.score(two_clusters(400, 5, seed=4)), 0.99)


def test_few_rows_get_few_gaussians():
    """40 rows carry 8 directions and one Gaussian, not four degenerate ones; fitting repeats."""
    rows = np.random.default_rng(5).normal(size=(40, 64))
    detector = MixtureDetector().fit(rows)
    assert detector.state()["means"].shape == (1, 8)
    assert MixtureDetector().fit(two_clusters(2000, 64)).state()["means"].shape == (4, 16)
    np.testing.assert_array_equal(detector.score(rows), MixtureDetector().fit(rows).score(rows))


def test_impossible_settings_and_states_are_refused():
    """No Gaussian, and stored weights or factors that are none, are refused."""
    with pytest.raises(ConfigError, match="mixtures is 0"):
        MixtureDetector(0)
    state = MixtureDetector().fit(two_clusters(200, 4)).state()
    for name in ("weights", "factors"):
        with pytest.raises(BundleError, match="not all above 0"):
            MixtureDetector.from_state({**state, name: np.zeros_like(state[name])})
