"""Distance to the K-th neighbour, against scikit-learn and pytorch-ood."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_ood.detector import KNN
from sklearn.neighbors import NearestNeighbors

from ls_ood_monitor.core.detectors.neighbours import NeighbourDetector
from ls_ood_monitor.errors import BundleError, ConfigError, MonitorError


def test_distances_equal_scikit_learns_and_pytorch_oods():
    """K = 50 on rows of length 1: equal to a search by scikit-learn, and to pytorch-ood's detector."""
    random = np.random.default_rng(0)
    rows, fresh = random.gamma(2.0, size=(600, 64)), random.gamma(1.5, size=(40, 64))
    scores = NeighbourDetector().fit(rows).score(fresh)
    unit, query = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rows, fresh))
    brute = NearestNeighbors(n_neighbors=50, algorithm="brute").fit(unit)
    np.testing.assert_allclose(scores, brute.kneighbors(query)[0][:, -1], atol=1e-12)
    other = KNN(None, k=50).fit_features(torch.from_numpy(rows), torch.zeros(600))
    np.testing.assert_allclose(scores, other.predict_features(torch.from_numpy(fresh)).numpy(), atol=1e-12)


def test_a_small_distance_keeps_its_digits():
    """A row a billionth beside a clean one is that far from it; 2 - 2 cos would say 0 or worse."""
    rows = np.random.default_rng(1).normal(size=(30, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    across = np.linalg.svd(rows[:1])[2][1]
    score = NeighbourDetector(1).fit(rows).score(rows[:1] + 1e-9 * across)[0]
    assert score == pytest.approx(1e-9, rel=1e-5)


@pytest.mark.parametrize(("count", "rank"), [(5, 1), (80, 8), (499, 49), (500, 50), (2000, 50)])
def test_default_rank_is_fifty_or_a_tenth_of_the_rows(count, rank):
    """Among few rows the fiftieth neighbour is the far end of the set, so the default stays within a tenth."""
    rows = np.random.default_rng(2).normal(size=(count, 3))
    assert NeighbourDetector().fit(rows).state()["neighbours"].tolist() == [rank]


def test_a_row_of_zeros_is_far_and_not_a_division_by_zero():
    """Without length there is no direction; its distance to unit rows is 1."""
    assert NeighbourDetector(1).fit(np.random.default_rng(3).normal(size=(20, 4))).score(np.zeros((1, 4)))[0] == 1.0


def test_impossible_ranks_are_refused():
    """K below 1 or above the number of rows, asked for or stored, is named with the limit."""
    rows = np.random.default_rng(4).normal(size=(20, 4))
    with pytest.raises(ConfigError, match="neighbours is 0"):
        NeighbourDetector(0)
    with pytest.raises(MonitorError, match="neighbours is 21, but there are 20 rows"):
        NeighbourDetector(21).fit(rows)
    state = NeighbourDetector(20).fit(rows).state()
    for rank in (0.0, 21.0):
        with pytest.raises(BundleError, match=r"must lie within \[1, 20\]"):
            NeighbourDetector.from_state({**state, "neighbours": np.array([rank])})
