"""The spatial detector against scipy's distances, known places, and what clean frames must score."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from ls_ood_monitor.core.detectors.spatial import BLOCK, SpatialDetector, blocks_of, cells_of
from ls_ood_monitor.core.grid import GRID
from ls_ood_monitor.core.held_out import leave_one_block_out_scores
from ls_ood_monitor.errors import BundleError, MonitorError

CELLS, CHANNELS = GRID[0] * GRID[1], 6
WHOLE, BLOCKS, CELL = range(3)  # entries of clean_median


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


def log_distance(place: np.ndarray, mean: np.ndarray, precision: np.ndarray) -> float:
    """By scipy, over the dimension."""
    return float(np.log(mahalanobis(place, mean, precision) ** 2 / CHANNELS))


def test_the_whole_is_the_distance_of_the_mean_over_cells(fitted):
    """It rebuilds from scipy's Mahalanobis distance on sklearn's estimate, and the score is never below it."""
    state, rows, fresh = fitted.state(), clean(400), clean(5, seed=1)
    whole = rows.mean(axis=1)
    estimate = LedoitWolf().fit(whole)
    level = np.mean([log_distance(row, estimate.location_, estimate.get_precision()) for row in whole])
    for row, score in zip(fresh, fitted.score(fresh), strict=True):
        distance = log_distance(row.mean(axis=0), estimate.location_, estimate.get_precision())
        assert score >= distance - level - state["clean_median"][WHOLE] - 1e-9


def test_a_cell_of_the_map_is_the_larger_distance_of_itself_and_its_block(fitted):
    """Both rebuild from scipy's distance, the place's usual level, the usual largest one, and the weight."""
    state, row = fitted.state(), clean(1, seed=2)[0]
    plane = row.reshape(*GRID, CHANNELS)
    expected = np.empty(GRID)
    for r in range(GRID[0]):
        for c in range(GRID[1]):
            cell, block = r * GRID[1] + c, (r // 2) * (GRID[1] // 2) + c // 2
            corner = plane[r // 2 * 2 : r // 2 * 2 + 2, c // 2 * 2 : c // 2 * 2 + 2].mean(axis=(0, 1))
            own = log_distance(row[cell], state["cell_mean"][cell], state["cell_precision"])
            around = log_distance(corner, state["block_mean"][block], state["block_precision"])
            expected[r, c] = max(
                0.75 * (own - state["cell_level"][cell] - state["clean_median"][CELL]),
                0.75 * (around - state["block_level"][block] - state["clean_median"][BLOCKS]),
            )
    assert BLOCK == (2, 2)
    np.testing.assert_allclose(fitted.cell_scores(row[None])[0], expected.ravel(), rtol=1e-9)


def test_the_score_is_never_below_the_map(fitted):
    """So a tinted place always comes with a frame above the threshold."""
    rows = clean(200, seed=13)
    rows[:, 20] += np.linspace(0.0, 20.0, 200)[:, None]
    assert (fitted.score(rows) >= fitted.cell_scores(rows).max(axis=1) - 1e-12).all()


def test_blocks_hold_their_cells():
    """A block's mean is that of its four cells, and goes back to these."""
    plane = np.arange(float(CELLS)).reshape(1, *GRID)
    blocks = blocks_of(plane.reshape(1, CELLS, 1))[0, :, 0]
    assert blocks[0] == plane[0, :2, :2].mean()
    assert blocks[5] == plane[0, 2:4, 2:4].mean()
    back = cells_of(blocks[None]).reshape(GRID)
    assert (back[2:4, 2:4] == blocks[5]).all()
    assert (back[0, 6:] == blocks[3]).all()


def test_a_change_everywhere_in_a_region_and_in_one_place_is_seen(fitted):
    """A small shift of all cells, of a quarter, and a large one of a single cell score far above clean; the map shows where."""
    highest = np.quantile(fitted.score(clean(500, seed=3)), 0.99)
    everywhere, region, somewhere = clean(50, seed=4) + 8.0, clean(50, seed=14), clean(50, seed=5)
    quarter = np.zeros(GRID, bool)
    quarter[:3, :4] = True
    region[:, quarter.ravel()] += 7.0
    somewhere[:, 20] += 22.0
    assert np.median(fitted.score(everywhere)) > highest
    assert np.median(fitted.score(region)) > highest
    assert (fitted.score(somewhere) > highest).all()
    assert (np.argmax(fitted.cell_scores(somewhere), axis=1) == 20).mean() > 0.9
    assert quarter.ravel()[np.argmax(fitted.cell_scores(region), axis=1)].mean() > 0.9
    whole = LedoitWolf().fit(clean(400).mean(axis=1))
    averaged_away = whole.mahalanobis(somewhere.mean(axis=1)) > np.quantile(
        whole.mahalanobis(clean(500, 3).mean(1)), 0.99
    )
    assert averaged_away.mean() < 0.5


def test_an_ordinary_clean_frame_scores_about_zero(fitted):
    """Also one that the fit has not seen; the largest of three terms lies a little above the middle of each."""
    assert 0.0 < np.median(fitted.score(clean(2000, seed=6))) < 0.7


def test_a_strange_stretch_of_the_clean_data_does_not_blind_it():
    """A threshold from fits without the stretch suits the fit with it: what is far away is still above."""
    rows = clean(110, seed=10)
    rows[:14] += np.linspace(12.0, 0.0, 14)[:, None, None]  # a recording that begins in a tunnel
    blocks = np.arange(110) * 9 // 110
    threshold = leave_one_block_out_scores(SpatialDetector, rows, blocks).max()
    far = clean(20, seed=11) + 60.0  # a spread learnt from these frames (0.95 quantile) would not even see 200
    assert (SpatialDetector().fit(rows).score(far) > threshold).all()


def test_of_cameras_in_turn_every_part_of_the_drive_is_drawn():
    """4000 frames of two cameras: a step through them would take each camera from one half of the drive alone."""
    rows = clean(4000, seed=15)
    half, camera = np.arange(4000) // 2000, np.arange(4000) % 2
    rows[:, :, 0] += np.where(half == camera, 0.0, 6.0)[:, None]
    mean = SpatialDetector().fit(rows).state()["cell_mean"]
    np.testing.assert_allclose(mean[:, 0], rows[:, :, 0].mean(axis=0), atol=0.5)


def test_a_long_video_is_thinned_evenly():
    """More frames than are needed are drawn from all of the video, so that its end counts, too."""
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
    both = fitted.score_and_cells(rows)
    np.testing.assert_array_equal(both[0], scores)
    np.testing.assert_array_equal(both[1], fitted.cell_scores(rows))
    broken = np.isnan(fitted.cell_scores(rows)[1]).reshape(GRID)
    assert broken[:2, 2:4].all()  # the cell's whole block
    assert not broken[2:].any()


def test_state_round_trip_and_damage(fitted):
    """Stored arrays score alike; a precision that makes no sense and another shape are refused."""
    state, rows = fitted.state(), clean(4, seed=9)
    again = SpatialDetector.from_state(state)
    np.testing.assert_array_equal(again.score(rows), fitted.score(rows))
    np.testing.assert_array_equal(again.cell_scores(rows), fitted.cell_scores(rows))
    with pytest.raises(BundleError, match="block_precision is not an inverse covariance"):
        SpatialDetector.from_state({**state, "block_precision": -np.eye(CHANNELS)})
    with pytest.raises(BundleError, match="shapes"):
        SpatialDetector.from_state({**state, "cell_level": np.zeros(3)})
    with pytest.raises(BundleError, match="clean_median are missing"):
        SpatialDetector.from_state({name: values for name, values in state.items() if name != "clean_median"})


def test_misuse_is_refused(fitted):
    """Unfitted use and rows on another grid have their sentence."""
    with pytest.raises(MonitorError, match="not fitted"):
        SpatialDetector().cell_scores(clean(1))
    with pytest.raises(MonitorError, match="needs"):
        fitted.cell_scores(clean(1)[:, :5])
    with pytest.raises(MonitorError, match="needs"):
        fitted.score(clean(1)[:, 0])
