"""Labelled pictures for training and evaluation."""

from __future__ import annotations

import numpy as np

from ls_ood_monitor.anomalies.random_anomaly import RandomAnomaly
from ls_ood_monitor.training.data import DisturbedPictures

PICTURE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
LABELS = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64) % 10


def test_a_disturbed_data_set_repeats_in_any_order():
    """The anomaly of a picture does not depend on the order of reading; labels and length stay."""
    source = [(PICTURE, LABELS), (PICTURE, LABELS), (PICTURE, LABELS)]
    first, second = (DisturbedPictures(source, RandomAnomaly(seed=1)) for _ in range(2))
    forward = [first[index][0] for index in (0, 1, 2)]
    backward = [second[index][0] for index in (2, 1, 0)]
    np.testing.assert_array_equal(forward, backward[::-1])
    assert not np.array_equal(forward[0], forward[1])  # another number, another draw
    assert len(first) == 3
    assert first[0][1] is LABELS
    np.testing.assert_array_equal(DisturbedPictures(source, RandomAnomaly(["identity"]))[1][0], PICTURE)
