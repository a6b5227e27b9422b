"""Kernel densities against scikit-learn (exact where one leaf holds all rows) and the reference's figures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.decomposition import PCA
from sklearn.neighbors import KernelDensity

from ls_ood_monitor.core.detectors.density import DensityDetector, TwoClassDensityDetector, log_density
from ls_ood_monitor.core.detectors.gaussian import MahalanobisDetector
from ls_ood_monitor.core.metrics import aupr, auroc, fpr_at_tpr
from ls_ood_monitor.errors import BundleError, ConfigError, MonitorError


def exact_density(rows: np.ndarray, bandwidth: float) -> KernelDensity:
    """scikit-learn's estimate without its tree's pruning."""
    return KernelDensity(kernel="gaussian", bandwidth=bandwidth, leaf_size=len(rows)).fit(rows)


def reference_rows(count: int = 1000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The reference's Gaussian test data: clean test, clean training, OoD."""
    random = np.random.RandomState(1)
    return 0.5 + random.randn(count, 20), 0.5 + random.randn(count, 20), -0.5 + random.randn(count, 20)


def reference_figures(detector, ind: np.ndarray, ood: np.ndarray) -> tuple[float, float, float]:
    """AUROC, FPR at 95 % and AUPR as the reference counts them: in-distribution is the positive class."""
    ind_scores, ood_scores = detector.score(ind), detector.score(ood)
    return auroc(ind_scores, ood_scores), fpr_at_tpr(-ood_scores, -ind_scores), aupr(-ood_scores, -ind_scores)


@pytest.mark.parametrize(("dimensions", "bandwidth"), [(1, 0.3), (20, 1.0), (320, 1.0), (64, 2.5)])
def test_density_equals_scikit_learns_with_one_leaf(dimensions, bandwidth):
    """The log-sum-exp over one matrix product is the exact density, in low and in high dimension."""
    random = np.random.default_rng(0)
    rows, fresh = random.normal(size=(300, dimensions)), random.normal(size=(40, dimensions)) * 1.5
    expected = exact_density(rows, bandwidth).score_samples(fresh)
    np.testing.assert_allclose(log_density(fresh, rows, bandwidth), expected, rtol=1e-10)
    detector = DensityDetector(bandwidth, components=None).fit(rows)
    np.testing.assert_allclose(detector.score(fresh), -expected, rtol=1e-10)


def test_reference_detection_figures():
    """LaRED's published AUROC, FPR at 95 % and AUPR on the reference's Gaussian data, without projection."""
    ind, train, ood = reference_rows()
    figures = reference_figures(DensityDetector(components=None).fit(train), ind, ood)
    assert figures == pytest.approx((0.942506, 0.276, 0.9419656), abs=1e-6)


@pytest.mark.parametrize(
    ("count", "components", "lared", "larem"),
    [
        (1000, 6, (0.812338, 0.599, 0.7958851), (0.810661, 0.616, 0.7947215)),
        (5000, 10, (0.9400724, 0.2568, 0.9367988), (0.9411857, 0.2556, 0.9382237)),
    ],
)
def test_reference_figures_of_the_sweep_over_components(count, components, lared, larem):
    """On the reference's own projections, drawn from numpy's global state, both detectors give its published figures."""
    np.random.seed(1)
    ind, train, ood = (offset + np.random.randn(count, 20) for offset in (0.5, 0.5, -0.5))
    best = {}
    for tried in (2, 6, 10):
        pca = PCA(tried, whiten=True, svd_solver="randomized")
        white = pca.fit_transform(train)
        for name, detector in (
            ("lared", DensityDetector(components=None)),
            ("larem", MahalanobisDetector("empirical")),
        ):
            figures = reference_figures(detector.fit(white), pca.transform(ind), pca.transform(ood))
            best[name] = max(best.get(name, (0.0,)), (*figures, tried))
    assert best["lared"] == pytest.approx((*lared, components), abs=1e-6)
    assert best["larem"] == pytest.approx((*larem, components), abs=1e-6)


def test_own_projection_gives_the_reference_figures_where_it_is_determined():
    """With 10 of 20 components the randomised solver is exact, so the seeded projection gives the published figures."""
    ind, train, ood = reference_rows(5000)
    figures = reference_figures(DensityDetector(components=10).fit(train), ind, ood)
    assert figures == pytest.approx((0.9400724, 0.2568, 0.9367988), abs=1e-6)


def test_default_projection_is_whitened_and_needs_five_rows_a_direction():
    """60 rows support 12 of the 50 directions; scores are those of scikit-learn's whitened components."""
    random = np.random.default_rng(1)
    rows, fresh = random.normal(size=(60, 30)) @ random.normal(size=(30, 30)), random.normal(size=(9, 30))
    detector = DensityDetector().fit(rows)
    assert detector.state()["train"].shape == (60, 12)
    pca = PCA(12, whiten=True, svd_solver="full").fit(rows)
    expected = -exact_density(pca.transform(rows), 1.0).score_samples(pca.transform(fresh))
    np.testing.assert_allclose(detector.score(fresh), expected, rtol=1e-4)  # randomised against full solver
    assert DensityDetector().fit(np.random.default_rng(2).normal(size=(500, 80))).state()["train"].shape == (500, 50)


def test_directions_without_spread_are_left_out():
    """Rows that vary along two directions only give two, not forty stretched by rounding errors."""
    random = np.random.default_rng(3)
    rows = random.normal(size=(300, 2)) @ random.normal(size=(2, 40))
    detector = DensityDetector().fit(rows)
    assert detector.state()["train"].shape == (300, 2)
    assert np.isfinite(detector.score(rows)).all()


def test_fitting_repeats():
    """The projection is seeded: two fits give equal scores to the last bit."""
    rows = np.random.default_rng(4).normal(size=(200, 90))
    np.testing.assert_array_equal(DensityDetector().fit(rows).score(rows), DensityDetector().fit(rows).score(rows))


def test_two_class_posterior_equals_two_scikit_learn_densities():
    """The score's logistic is the posterior of OoD from two densities and the classes' shares."""
    random = np.random.default_rng(5)
    ind, ood, fresh = random.normal(size=(120, 20)), 0.7 + random.normal(size=(60, 20)), random.normal(size=(30, 20))
    detector = TwoClassDensityDetector().fit(ind, ood)
    pca = PCA(16, whiten=True, svd_solver="full").fit(np.concatenate([ind, ood]))
    clean, odd = (exact_density(pca.transform(rows), 0.8).score_samples(pca.transform(fresh)) for rows in (ind, ood))
    weighted = np.exp(odd) * 60 / 180
    np.testing.assert_allclose(
        expit(detector.score(fresh)), weighted / (weighted + np.exp(clean) * 120 / 180), atol=2e-3
    )
    assert auroc(detector.score(ind), detector.score(ood)) > 0.95


def test_two_class_scores_rank_where_the_posterior_is_one():
    """Far out the posterior of both rows rounds to 1; the log odds still tell the farther from the nearer."""
    random = np.random.default_rng(6)
    detector = TwoClassDensityDetector(components=None).fit(
        random.normal(size=(50, 3)), 12.0 + random.normal(size=(50, 3))
    )
    near, far = detector.score(np.array([[12.0] * 3, [14.0] * 3]))
    assert expit(near) == expit(far) == 1.0
    assert far > near


def test_a_supervised_detector_refuses_clean_rows_alone():
    """Without OoD rows, with too few, or with ones of another width there is nothing to tell apart."""
    rows = np.random.default_rng(7).normal(size=(20, 4))
    for ood, words in (
        (None, "give ood_rows"),
        (rows[:1], "at least 2 finite OoD rows"),
        (rows[:, :3], "clean rows have 4 values, OoD rows 3"),
    ):
        with pytest.raises(MonitorError, match=words):
            TwoClassDensityDetector().fit(rows, ood)


@pytest.mark.parametrize("kind", [DensityDetector, TwoClassDensityDetector])
def test_impossible_settings_and_states_are_refused(kind):
    """Bandwidths that are not positive and component counts below 1 have no density, stored ones neither."""
    for bandwidth in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="bandwidth"):
            kind(bandwidth)
    with pytest.raises(ConfigError, match="components is 0"):
        kind(components=0)
    rows = np.random.default_rng(8).normal(size=(40, 4))
    state = kind().fit(rows, rows + 1.0).state()
    with pytest.raises(BundleError, match="bandwidth"):
        kind.from_state({**state, "bandwidth": np.zeros(1)})
    with pytest.raises(BundleError, match="train is"):
        kind.from_state({**state, "train": np.zeros((40, 99))})
