"""Mahalanobis detectors against the reference's values, scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import EmpiricalCovariance, LedoitWolf

from ls_ood_monitor.core.detectors import DETECTORS, MahalanobisDetector
from ls_ood_monitor.core.metrics import aupr, auroc, fpr_at_tpr
from ls_ood_monitor.errors import BundleError, ConfigError, MonitorError


def test_reference_precision_and_scores():
    """Empirical covariance gives the reference's precision and scores; its sign is turned, ours grows with distance."""
    rows = np.random.RandomState(1).rand(1000, 20)
    detector = MahalanobisDetector("empirical").fit(rows)
    np.testing.assert_allclose(detector.state()["precision"][0, :3], [12.61048445, -0.75305318, -0.50165124], atol=1e-7)
    np.testing.assert_allclose(detector.score(rows)[:3], [18.57565347, 25.08741653, 19.42807739], atol=1e-7)


def test_reference_detection_figures():
    """LaREM's published AUROC, FPR at 95 % and AUPR on the reference's Gaussian data (there InD is positive)."""
    random = np.random.RandomState(1)
    test_ind, train_ind, ood = 0.5 + random.randn(1000, 20), 0.5 + random.randn(1000, 20), -0.5 + random.randn(1000, 20)
    detector = MahalanobisDetector("empirical").fit(train_ind)
    ind_scores, ood_scores = detector.score(test_ind), detector.score(ood)
    assert auroc(ind_scores, ood_scores) == pytest.approx(0.948516, abs=1e-6)
    assert fpr_at_tpr(-ood_scores, -ind_scores) == pytest.approx(0.256, abs=1e-9)
    assert aupr(-ood_scores, -ind_scores) == pytest.approx(0.9480810, abs=1e-6)


@pytest.mark.parametrize(("shrinkage", "estimator"), [("ledoit_wolf", LedoitWolf), ("empirical", EmpiricalCovariance)])
def test_scores_equal_scikit_learn_and_scipy(shrinkage, estimator):
    """Row-wise scores equal sklearn's distances and the square of scipy's."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 12)) @ random.normal(size=(12, 12))
    fresh = random.normal(size=(7, 12))
    detector = MahalanobisDetector(shrinkage).fit(rows)
    fitted = estimator().fit(rows)
    np.testing.assert_allclose(detector.score(fresh), fitted.mahalanobis(fresh), rtol=1e-9)
    single = mahalanobis(fresh[0], fitted.location_, fitted.get_precision()) ** 2
    assert detector.score(fresh)[0] == pytest.approx(single, rel=1e-9)


def test_shrinkage_keeps_unseen_clean_rows_near():
    """With barely more rows than dimensions the empirical estimate throws unseen rows far out; Ledoit-Wolf does not."""
    random = np.random.default_rng(1)
    rows, fresh = random.normal(size=(60, 50)), random.normal(size=(500, 50))
    ratio = {}
    for shrinkage in ("ledoit_wolf", "empirical"):
        detector = MahalanobisDetector(shrinkage).fit(rows)
        ratio[shrinkage] = detector.score(fresh).mean() / detector.score(rows).mean()
    assert ratio["ledoit_wolf"] < 1.3
    assert ratio["empirical"] > 3.0


def test_larger_means_further_out():
    """The score grows along any ray from the mean."""
    detector = MahalanobisDetector().fit(np.random.default_rng(2).normal(size=(100, 5)))
    ray = detector.state()["mean"] + np.linspace(0.0, 10.0, 20)[:, None] * np.ones(5)
    assert (np.diff(detector.score(ray)) > 0).all()


def test_a_row_that_is_not_finite_scores_nan():
    """NaN in, NaN out, its neighbours unharmed."""
    detector = MahalanobisDetector().fit(np.random.default_rng(3).normal(size=(50, 4)))
    rows = np.zeros((3, 4))
    rows[1, 2] = np.inf
    scores = detector.score(rows)
    assert np.isnan(scores[1])
    assert np.isfinite(scores[[0, 2]]).all()


def test_state_round_trip_and_damage():
    """Stored arrays give equal scores; missing, misshapen or non-finite ones are refused."""
    rows = np.random.default_rng(4).normal(size=(50, 4))
    detector = MahalanobisDetector().fit(rows)
    state = detector.state()
    np.testing.assert_array_equal(MahalanobisDetector.from_state(state).score(rows), detector.score(rows))
    for damage, words in (
        ({}, "missing"),
        ({"precision": np.eye(3)}, "shapes"),
        ({"mean": np.full(4, np.nan)}, "non-finite"),
        ({"precision": np.zeros((4, 4))}, "not an inverse covariance"),
        ({"precision": -np.eye(4)}, "not an inverse covariance"),
    ):
        broken = {**state, **damage} if damage else {}
        with pytest.raises(BundleError, match=words):
            MahalanobisDetector.from_state(broken)


@pytest.mark.parametrize("shrinkage", ["ledoit_wolf", "empirical"])
def test_equal_rows_are_refused(shrinkage):
    """Rows without spread would give a detector that scores everything 0, that is, never OoD."""
    with pytest.raises(MonitorError, match="all 50 rows are equal"):
        MahalanobisDetector(shrinkage).fit(np.full((50, 4), 0.3))


def test_dead_channels_follow_the_pseudo_inverse():
    """A channel that never varied has no weight in the empirical estimate; with shrinkage it has, as in sklearn's."""
    rows = np.random.default_rng(5).normal(size=(80, 4))
    rows[:, 2] = 0.0
    off = np.array([[0.0, 0.0, 9.0, 0.0]])
    empirical, shrunk = MahalanobisDetector("empirical").fit(rows), MahalanobisDetector().fit(rows)
    inverse = np.linalg.pinv(np.cov(rows.T, bias=True), hermitian=True)
    np.testing.assert_allclose(empirical.state()["precision"], inverse, atol=1e-9)
    without = np.delete(off - rows.mean(axis=0), 2, axis=1)
    expected = without @ np.linalg.inv(np.cov(np.delete(rows, 2, axis=1).T, bias=True)) @ without.T
    assert empirical.score(off)[0] == pytest.approx(expected.item(), rel=1e-9)
    assert shrunk.score(off)[0] > 100.0


def test_a_score_does_not_depend_on_its_batch():
    """One row alone scores what it scores among a thousand."""
    random = np.random.default_rng(6)
    detector, rows = MahalanobisDetector().fit(random.normal(size=(99, 8))), random.normal(size=(1000, 8))
    alone = [detector.score(row[None])[0] for row in rows[:20]]
    np.testing.assert_allclose(detector.score(rows)[:20], alone, rtol=1e-12)


def test_misuse_is_refused():
    """Unfitted use, wrong widths, too few rows and unknown shrinkage are refused."""
    with pytest.raises(MonitorError, match="not fitted"):
        MahalanobisDetector().score(np.zeros((1, 2)))
    with pytest.raises(MonitorError, match="not fitted"):
        MahalanobisDetector().state()
    with pytest.raises(MonitorError, match="at least 2"):
        MahalanobisDetector().fit(np.zeros((1, 2)))
    with pytest.raises(MonitorError, match="non-finite"):
        MahalanobisDetector().fit(np.full((5, 2), np.nan))
    with pytest.raises(MonitorError, match=r"\(N, 2\)"):
        MahalanobisDetector().fit(np.random.default_rng(0).normal(size=(9, 2))).score(np.zeros((1, 3)))
    with pytest.raises(ConfigError, match="oracle"):
        MahalanobisDetector("oracle")


def test_every_detector_names_its_input_and_source():
    """The registry names a feature that a frame has, and where the method comes from."""
    from ls_ood_monitor.features import FEATURES

    assert {spec.feature for spec in DETECTORS.values()} <= set(FEATURES)
    assert all(spec.source for spec in DETECTORS.values())
