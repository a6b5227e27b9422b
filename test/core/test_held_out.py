"""Held-out scores: whole blocks are left out, and blocks of time are numbered."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.core.detectors import MahalanobisDetector
from ls_ood_monitor.core.held_out import leave_one_block_out_scores, time_blocks
from ls_ood_monitor.errors import CalibrationError


def test_each_block_is_scored_without_itself():
    """Leave-one-block-out by hand: fit on the others, score the one."""
    random = np.random.default_rng(1)
    rows, blocks = random.normal(size=(60, 3)), np.repeat([5, 2, 9], 20)
    scores = leave_one_block_out_scores(MahalanobisDetector, rows, blocks)
    for block in (2, 5, 9):
        expected = MahalanobisDetector().fit(rows[blocks != block]).score(rows[blocks == block])
        np.testing.assert_allclose(scores[blocks == block], expected)


def test_many_blocks_share_a_fit_but_stay_whole():
    """Beyond 40 blocks several are left out together: each row's detector has seen no row of its block."""
    rows = np.random.default_rng(5).normal(size=(300, 3))
    blocks = np.repeat(np.arange(100), 3)
    done = []
    scores = leave_one_block_out_scores(MahalanobisDetector, rows, blocks, done.append)
    assert (len(done), done[-1]) == (40, 100)
    seen = ~np.isin(blocks, (7, 47, 87))
    expected = MahalanobisDetector().fit(rows[seen]).score(rows[blocks == 47])
    np.testing.assert_allclose(scores[blocks == 47], expected, rtol=1e-9)


def test_blocks_matter_on_drifting_data():
    """Where blocks differ, held-out blocks score higher than held-out single frames would: the honest threshold is higher."""
    random = np.random.default_rng(2)
    blocks = np.repeat(np.arange(6), 30)
    rows = random.normal(size=(180, 4)) + 3.0 * random.normal(size=(6, 4))[blocks]
    by_block = leave_one_block_out_scores(MahalanobisDetector, rows, blocks)
    by_frame = leave_one_block_out_scores(MahalanobisDetector, rows, np.arange(180))
    assert np.median(by_block) > 1.5 * np.median(by_frame)


def test_one_block_cannot_be_held_out():
    """A recording shorter than two blocks is refused."""
    with pytest.raises(CalibrationError, match="at least 2"):
        leave_one_block_out_scores(MahalanobisDetector, np.zeros((5, 2)), np.zeros(5))
    with pytest.raises(CalibrationError, match="one id a row"):
        leave_one_block_out_scores(MahalanobisDetector, np.zeros((5, 2)), np.zeros(4))


def test_time_blocks_count_from_each_groups_start():
    """Ten-second blocks of two drives: boundaries are relative to each drive, ids never shared."""
    stamps = np.array([100.0, 109.9, 110.0, 125.0, 500.0, 509.0, 511.0]) * 1e9
    ids = time_blocks(stamps.astype(np.int64), ["a"] * 4 + ["b"] * 3, 10.0)
    assert ids.tolist() == [0, 0, 1, 2, 3, 3, 4]
    with pytest.raises(CalibrationError, match="larger than 0"):
        time_blocks([1], ["a"], 0.0)
