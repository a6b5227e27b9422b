"""Conditions of test pictures: anomalies, harmless changes and the control."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.anomalies import apply_anomaly
from ls_ood_monitor.comparison.conditions import (
    CLEAN_CONDITION,
    HARMLESS_CHANGES,
    Condition,
    anomaly_seed,
    disturb,
    disturbed_pixels,
    make_conditions,
)
from ls_ood_monitor.errors import ConfigError


@pytest.fixture
def picture() -> np.ndarray:
    """Smooth grey ramp, 96 x 128, with no black that could be outside a lens."""
    ramp = np.linspace(40, 200, 128, dtype=np.float32)
    return np.repeat(np.tile(ramp, (96, 1))[..., None], 3, axis=2).astype(np.uint8)


def test_clean_comes_first_and_every_pair_once():
    """There is one clean condition, the harmless changes, and each kind at each severity."""
    conditions = make_conditions(("fog", "mud"), (1, 5))
    assert conditions[0] == CLEAN_CONDITION
    assert [entry.shift for entry in conditions if entry.role == "harmless"] == list(HARMLESS_CHANGES)
    assert [entry.label for entry in conditions if entry.role == "ood"] == ["fog_1", "fog_5", "mud_1", "mud_5"]


@pytest.mark.parametrize(("kinds", "severities"), [(("locusts",), (1,)), ((), (1,)), (("fog",), (6,)), (("fog",), ())])
def test_unknown_kinds_and_severities_are_refused(kinds, severities):
    """The error lists the known values."""
    with pytest.raises(ConfigError, match="known"):
        make_conditions(kinds, severities)


def test_harmless_changes_are_as_small_as_their_names(picture):
    """Identity changes nothing, exposure 10 % of the light, and JPEG 90 and the tilt only a little."""
    changed = {name: disturb(picture, Condition(name, 0, "harmless"), 0).astype(float) for name in HARMLESS_CHANGES}
    plain = picture.astype(float)
    np.testing.assert_array_equal(changed["identity"], plain)
    np.testing.assert_allclose(changed["exposure_up_10"], 1.1 * plain, atol=1.0)
    np.testing.assert_allclose(changed["exposure_down_10"], 0.9 * plain, atol=1.0)
    assert 0.0 < np.abs(changed["jpeg_90"] - plain).mean() < 2.0
    # One degree about the centre of a horizontal ramp: columns move by sin(1 deg) a row, at most 48 rows away.
    slope = (200 - 40) / 127
    assert np.abs(changed["tilt_1_deg"] - plain)[8:-8, 8:-8].max() <= slope * 48 * np.sin(np.deg2rad(1.0)) + 2.0
    assert np.abs(changed["tilt_1_deg"] - plain).max() > 0.5


def test_dirt_stays_in_place_over_a_drive(picture):
    """Each drive has a seed of its own."""
    assert anomaly_seed("a", 0) == anomaly_seed("a", 0)
    assert len({anomaly_seed("a", 0), anomaly_seed("b", 0), anomaly_seed("a", 1)}) == 3
    mud = Condition("mud", 3, "ood")
    np.testing.assert_array_equal(disturb(picture, mud, 5), apply_anomaly("mud", picture, 3, 5))


@pytest.mark.parametrize("kind", ["unknown_object", "occlusion", "mud"])
def test_disturbed_pixels_are_where_the_picture_changes(picture, kind):
    """The mask covers a part of the picture, and the picture changes far more on it than off it."""
    condition = Condition(kind, 4, "ood")
    mask = disturbed_pixels(picture, condition, 3)
    change = np.abs(disturb(picture, condition, 3).astype(float) - picture).mean(axis=2)
    assert mask is not None
    assert 0.01 < mask.mean() < 0.7
    assert change[mask == 1].mean() > 5.0 * change[mask == 0].mean()
    assert disturbed_pixels(picture, Condition("fog", 4, "ood"), 3) is None
    assert disturbed_pixels(picture, CLEAN_CONDITION, 3) is None
