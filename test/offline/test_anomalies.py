"""Synthetic anomalies: seeded, graded, and leaving their input alone."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.errors import ConfigError, DataError
from ls_ood_monitor.offline.anomalies import ANOMALIES, apply_anomaly
from ls_ood_monitor.offline.street import Drive

PICTURE = Drive(7).render("front", 3.0, width=320, height=240)[0]
DAMAGING = tuple(name for name in ANOMALIES if name != "identity")


def damage(name: str, severity: int, seed: int = 0) -> float:
    """Mean absolute change in grey levels."""
    return float(np.abs(apply_anomaly(name, PICTURE, severity, seed).astype(int) - PICTURE).mean())


def test_identity_is_the_control():
    """The control gives an equal copy, not the same array."""
    result = apply_anomaly("identity", PICTURE, 5, 0)
    np.testing.assert_array_equal(result, PICTURE)
    assert result is not PICTURE


@pytest.mark.parametrize("name", DAMAGING)
def test_damage_grows_with_severity(name):
    """Five steps, each further from the clean picture, and the first one visible at all."""
    steps = [damage(name, severity) for severity in range(1, 6)]
    assert steps[0] > 0.3
    assert steps == sorted(steps)


@pytest.mark.parametrize("name", ANOMALIES)
def test_repeatable_and_harmless(name):
    """The same seed repeats to the bit; shape and type stay; the input is not touched."""
    before = PICTURE.copy()
    first = apply_anomaly(name, PICTURE, 3, 5)
    np.testing.assert_array_equal(first, apply_anomaly(name, PICTURE, 3, 5))
    np.testing.assert_array_equal(PICTURE, before)
    assert (first.shape, first.dtype) == (PICTURE.shape, PICTURE.dtype)


@pytest.mark.parametrize("name", ["mud", "noise", "fog"])
def test_another_seed_is_another_anomaly(name):
    """Random anomalies follow their seed."""
    assert not np.array_equal(apply_anomaly(name, PICTURE, 3, 1), apply_anomaly(name, PICTURE, 3, 2))


def test_dirt_stays_in_place_over_a_drive():
    """Where mud is opaque, two different pictures look the same under one seed."""
    other = Drive(8).render("left", 9.0, width=320, height=240)[0]
    one, two = (apply_anomaly("mud", picture, 5, 3).astype(int) for picture in (PICTURE, other))
    gap_before = np.abs(PICTURE.astype(int) - other).max(axis=2)
    gap_after = np.abs(one - two).max(axis=2)
    assert ((gap_before > 60) & (gap_after < 12)).mean() > 0.02


def test_fog_spares_what_lies_outside_the_lens():
    """A fisheye's black corners see no fog."""
    corners = PICTURE[:6, :6]
    assert corners.mean() <= 10
    np.testing.assert_array_equal(apply_anomaly("fog", PICTURE, 5, 0)[:6, :6], corners)


@pytest.mark.parametrize(
    ("name", "severity", "seed", "words"),
    [("locusts", 3, 0, "no anomaly 'locusts'"), ("fog", 0, 0, "from 1 to 5"), ("fog", 6, 0, "from 1 to 5"),
     ("fog", 2.5, 0, "whole number"), ("fog", True, 0, "from 1 to 5"), ("fog", 3, -1, "seed is -1")],
)  # fmt: skip
def test_settings_out_of_range_are_refused(name, severity, seed, words):
    """Names, severities and seeds that do not exist are named."""
    with pytest.raises(ConfigError, match=words):
        apply_anomaly(name, PICTURE, severity, seed)


@pytest.mark.parametrize(
    "image", [PICTURE[:, :, 0], PICTURE.astype(np.float32), np.zeros((0, 4, 3), np.uint8), "picture"]
)
def test_what_is_no_picture_is_refused(image):
    """Only BGR uint8 pictures are disturbed."""
    with pytest.raises(DataError, match="BGR uint8"):
        apply_anomaly("fog", image, 3, 0)
