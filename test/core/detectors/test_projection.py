"""The whitening projection against the reference's vector and scikit-learn's own transform."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from ls_ood_monitor.core.detectors.projection import fit_whitening
from ls_ood_monitor.errors import ConfigError


def test_the_reference_vector():
    """Row 0 of the reference system's whitened PCA, components up to their sign, which scikit-learn's versions flip."""
    random = np.random.RandomState(1)
    rows = 0.5 + random.randn(1000, 20)
    mean, projection = fit_whitening(rows, 10, seed=0)
    computed = (rows[0] - mean) @ projection
    assert computed.shape == (10,)
    expected = np.abs([2.1572636, 0.02918568, 1.06571381, 1.0444882])
    np.testing.assert_allclose(np.abs(computed[:4]), expected, rtol=1e-5)


def test_it_is_that_of_scikit_learn():
    """Projected rows are scikit-learn's up to sign, of unit variance, and repeat with the seed."""
    rows = np.random.default_rng(0).normal(size=(400, 12)) * np.arange(1.0, 13.0)
    mean, projection = fit_whitening(rows, 5, seed=3)
    own = (rows - mean) @ projection
    np.testing.assert_allclose(
        np.abs(own), np.abs(PCA(5, whiten=True, svd_solver="full").fit_transform(rows)), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(own.var(axis=0, ddof=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(projection, fit_whitening(rows, 5, seed=3)[1])


def test_directions_need_rows_and_variance():
    """No more directions than rows, axes and rank allow; None keeps the axes."""
    rows = np.random.default_rng(0).normal(size=(20, 8))
    assert fit_whitening(rows, 8, seed=0)[1].shape == (8, 4)  # 5 rows a direction
    flat = rows.copy()
    flat[:, 2:] = 0.0
    assert fit_whitening(flat, 8, seed=0, rows_per_component=1)[1].shape == (8, 2)
    mean, axes = fit_whitening(rows, None, seed=0)
    np.testing.assert_array_equal(axes, np.eye(8))
    np.testing.assert_allclose(mean, rows.mean(axis=0))


def test_no_components_are_refused():
    """Zero directions leave nothing to judge by."""
    from ls_ood_monitor.core.detectors.projection import check_components

    with pytest.raises(ConfigError, match="components is 0"):
        check_components(0)
