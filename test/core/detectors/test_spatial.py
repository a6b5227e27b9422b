"""The spatial detector against scipy's distances, a known place, and what clean frames must score."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from ls_ood_monitor.core.detectors.spatial import SpatialDetector
from ls_ood_monitor.core.threshold import leave_one_block_out_scores
from ls_ood_monitor.errors import BundleError, MonitorError

CELLS, CHANNELS = 12, 6


def clean(count: int, seed: int = 0) -> np.ndarray:
    """Correlated rows (count, CELLS, CHANNELS) around a mean of each cell's own."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(CHANNELS, CHANNELS))
    places = np.random.default_rng(98).normal(size=(CELLS, CHANNELS)) * 3.0
    frame = random.normal(size=(count, 1, CHANNELS)) * 2.0
    return places + frame + random.normal(size=(count, CELLS, CHANNELS)) @ mixing


@pytest.fixture(scope="module")
def fitted() -> SpatialDetector:
    """Fitted to 400 clean frames."""
    return SpatialDetector().fit(clean(400))


def test_the_whole_is_the_distance_of_the_mean_over_cells(fitted):
    """It rebuilds from scipy's Mahalanobis distance on sklearn's estimate, and the score is never below it."""
    rows, fresh = clean(400), clean(5, seed=1)
    estimate = LedoitWolf().fit(rows.mean(axis=1))
    usual = fitted.state()["usual"][0]
    for row, score in zip(fresh, fitted.score(fresh), strict=True):
        distance = mahalanobis(row.mean(axis=0), estimate.location_, estimate.get_precision()) ** 2
        assert score >= np.log(distance / CHANNELS) - usual - 1e-9


def test_the_cells_are_distances_from_their_own_mean(fitted):
    """A cell's score rebuilds from scipy's distance, the cell's usual level, and the usual strangest cell."""
    state, row = fitted.state(), clean(1, seed=2)
    expected = [
        np.log(mahalanobis(row[0, g], state["cell_mean"][g], state["cell_precision"]) ** 2 / CHANNELS)
        - state["cell_level"][g]
        - state["usual"][2]
        for g in range(CELLS)
    ]
    np.testing.assert_allclose(fitted.cell_scores(row)[0], expected, rtol=1e-9)


def test_a_change_everywhere_and_a_change_in_one_place_are_both_seen(fitted):
    """A small shift of all cells and a large shift of two cells score far above clean frames; the map shows the place."""
    highest = np.quantile(fitted.score(clean(500, seed=3)), 0.99)
    everywhere, somewhere = clean(50, seed=4) + 6.0, clean(50, seed=5)
    somewhere[:, 7:9] += 16.0
    assert np.median(fitted.score(everywhere)) > highest
    assert (fitted.score(somewhere) > highest).all()
    assert set(np.argmax(fitted.cell_scores(somewhere), axis=1)) <= {7, 8}
    whole = LedoitWolf().fit(clean(400).mean(axis=1))
    averaged_away = whole.mahalanobis(somewhere.mean(axis=1)) > np.quantile(
        whole.mahalanobis(clean(500, 3).mean(1)), 0.99
    )
    assert averaged_away.mean() < (fitted.score(somewhere) > highest).mean()


def test_an_ordinary_clean_frame_scores_about_zero(fitted):
    """Also one that the fit has not seen; the larger of two terms lies a little above the middle of each."""
    assert 0.0 < np.median(fitted.score(clean(2000, seed=6))) < 0.7


def test_a_strange_stretch_of_the_clean_data_does_not_blind_it():
    """A threshold from fits without the stretch suits the fit with it: what is far away is still above."""
    rows = clean(110, seed=10)
    rows[:14] += np.linspace(12.0, 0.0, 14)[:, None, None]  # a recording that begins in a tunnel
    blocks = np.arange(110) * 9 // 110
    threshold = leave_one_block_out_scores(SpatialDetector, rows, blocks).max()
    far = clean(20, seed=11) + 100.0
    assert (SpatialDetector().fit(rows).score(far) > threshold).all()


def test_a_long_video_is_thinned_evenly():
    """More frames than are needed are drawn evenly from all of the video, so that its end counts, too."""
    rows = clean(5000, seed=7)
    rows[2500:, :, 0] += 4.0
    mean = SpatialDetector().fit(rows).state()["cell_mean"]
    np.testing.assert_allclose(mean[:, 0], rows[:, :, 0].mean(axis=0), atol=0.4)


@pytest.mark.parametrize("frames", [420, 840, 1260, 1680])
def test_the_pooled_covariance_is_that_of_all_cells(frames):
    """Whatever share of the cells is drawn: every fourth cell is quiet, and alone would make all others look far away."""
    rows = clean(frames, seed=12)
    quiet = np.tile([0.01, 1.0, 1.0, 1.0], CELLS // 4)
    rows = rows.mean(axis=0) + (rows - rows.mean(axis=0)) * quiet[:, None]
    residuals = (rows - rows.mean(axis=0)).reshape(-1, CHANNELS)
    pooled = np.linalg.inv(SpatialDetector().fit(rows).state()["cell_precision"])
    assert np.trace(pooled) == pytest.approx(residuals.var(axis=0).sum(), rel=0.1)


def test_broken_rows_score_nan_and_leave_their_neighbours_alone(fitted):
    """NaN in, NaN out; a score does not depend on its batch."""
    rows = clean(3, seed=8)
    alone = fitted.score(rows[2:])[0]
    rows[1, 3, 2] = np.nan
    scores = fitted.score(rows)
    assert np.isnan(scores[1])
    assert np.isfinite(scores[[0, 2]]).all()
    assert scores[2] == pytest.approx(alone, rel=1e-12)
    assert np.isnan(fitted.cell_scores(rows)[1, 3])


def test_state_round_trip_and_damage(fitted):
    """Stored arrays score alike; a precision that makes no sense and another shape are refused."""
    state, rows = fitted.state(), clean(4, seed=9)
    again = SpatialDetector.from_state(state)
    np.testing.assert_array_equal(again.score(rows), fitted.score(rows))
    np.testing.assert_array_equal(again.cell_scores(rows), fitted.cell_scores(rows))
    with pytest.raises(BundleError, match="cell_precision is no inverse covariance"):
        SpatialDetector.from_state({**state, "cell_precision": -np.eye(CHANNELS)})
    with pytest.raises(BundleError, match="shapes"):
        SpatialDetector.from_state({**state, "cell_level": np.zeros(3)})


def test_misuse_is_refused(fitted):
    """Unfitted use and rows on another grid have their sentence."""
    with pytest.raises(MonitorError, match="not fitted"):
        SpatialDetector().cell_scores(clean(1))
    with pytest.raises(MonitorError, match="needs"):
        fitted.cell_scores(clean(1)[:, :5])
    with pytest.raises(MonitorError, match="needs"):
        fitted.score(clean(1)[:, 0])
