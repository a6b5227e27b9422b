"""Harmless changes: the control of the anomalies."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.anomalies import ANOMALIES
from ls_ood_monitor.anomalies.harmless import HARMLESS, harmless


@pytest.fixture
def picture() -> np.ndarray:
    """A scene with an edge, and fine texture."""
    rows, columns = np.mgrid[0:120, 0:160]
    plane = 60 + 80 * (columns > 90) + 0.4 * rows
    noise = np.random.default_rng(0).normal(0.0, 10.0, (120, 160, 3))
    return (plane[..., None] + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_change_is_small_repeatable_and_grows(name, picture):
    """The picture keeps its size and most of its values; the same seed gives the same picture; level 2 changes more."""
    before = picture.copy()
    changes = []
    for level in (1, 2):
        changed = harmless(name, picture, level, 3)
        assert (changed.shape, changed.dtype) == (picture.shape, np.uint8)
        np.testing.assert_array_equal(changed, harmless(name, picture, level, 3))
        changes.append(np.abs(changed.astype(int) - picture).mean())
    assert 0.0 < changes[0] <= changes[1] < 20.0
    np.testing.assert_array_equal(picture, before)


def test_names_differ_from_those_of_the_anomalies():
    """One table may hold both."""
    assert set(HARMLESS).isdisjoint(ANOMALIES)
