"""Synthetic anomalies: seeded, graded, and leaving their input alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ls_ood_monitor.anomalies import ANOMALIES, MASKED_ANOMALIES, anomaly_mask, apply_anomaly
from ls_ood_monitor.errors import ConfigError, DataError
from ls_ood_monitor.street import StreetDrive

PICTURE = StreetDrive(7).render("front", 3.0, width=320, height=240)[0]
OTHER = StreetDrive(8).render("left", 9.0, width=320, height=240)[0]
PICTURES = (PICTURE, OTHER, StreetDrive(9).render("rear", 5.0, width=320, height=240)[0])
SIZES = ((64, 48), (1280, 966))
RESIZED = {size: cv2.resize(PICTURE, size, interpolation=cv2.INTER_AREA) for size in SIZES}
DAMAGING = tuple(name for name in ANOMALIES if name != "identity")
#: Where these lie is drawn by the seed alone.
IN_PLACE = ("mud", "sun_flare", "water_drops", "occlusion", "unknown_object")
EACH_FRAME = ("noise", "dark", "night", "rain", "snow")


def damage(name: str, severity: int, seed: int = 0) -> float:
    """Mean absolute change in grey levels."""
    changes = [np.abs(apply_anomaly(name, image, severity, seed).astype(int) - image).mean() for image in PICTURES]
    return float(np.mean(changes))


def test_identity_is_the_control():
    """The control gives an equal copy, not the same array."""
    result = apply_anomaly("identity", PICTURE, 5, 0)
    np.testing.assert_array_equal(result, PICTURE)
    assert result is not PICTURE


@pytest.mark.parametrize("seed", [0, 4])
@pytest.mark.parametrize("name", DAMAGING)
def test_damage_grows_with_severity(name, seed):
    """Five steps, each further from the clean pictures, and the first one visible at all."""
    steps = [damage(name, severity, seed) for severity in range(1, 6)]
    assert steps[0] > 0.3
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("name", ANOMALIES)
def test_repeatable_and_harmless(name):
    """The same seed repeats to the bit; shape and type stay; the input is not touched."""
    before = PICTURE.copy()
    for severity in (3, 5):
        first = apply_anomaly(name, PICTURE, severity, 5)
        np.testing.assert_array_equal(first, apply_anomaly(name, PICTURE, severity, 5))
        np.testing.assert_array_equal(PICTURE, before)
        assert (first.shape, first.dtype) == (PICTURE.shape, PICTURE.dtype)
        assert not np.shares_memory(first, PICTURE)


@pytest.mark.parametrize("name", ANOMALIES)
def test_a_result_may_be_written_to(name):
    """What a caller paints into one result does not turn up in the next."""
    first = apply_anomaly(name, PICTURE, 4, 0)
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(apply_anomaly(name, PICTURE, 4, 0), kept)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ANOMALIES)
def test_every_camera_size(name, size):
    """From a thumbnail to WoodScape's 1280x966, and for a picture that is a view of a larger one."""
    for severity in (1, 5):
        result = apply_anomaly(name, RESIZED[size], severity, 2)
        assert (result.shape, result.dtype) == (RESIZED[size].shape, np.uint8)
    view = RESIZED[size][::-1, 3:-2]
    np.testing.assert_array_equal(apply_anomaly(name, view, 3, 2), apply_anomaly(name, view.copy(), 3, 2))


@pytest.mark.parametrize("name", ANOMALIES)
def test_one_pixel_and_black_are_pictures(name):
    """Nothing divides by the size or the light of a picture."""
    for shape in ((1, 1, 3), (2, 90, 3), (90, 2, 3)):
        assert apply_anomaly(name, np.zeros(shape, np.uint8), 5, 0).shape == shape


@pytest.mark.parametrize("name", [*IN_PLACE, "fog", "overexposure", "underexposure", "colour_channel"])
def test_the_same_at_every_resolution(name):
    """The large result, scaled down, is the small result but for the finest detail."""
    large = cv2.resize(PICTURE, (1280, 960), interpolation=cv2.INTER_LINEAR)
    scaled = cv2.resize(apply_anomaly(name, large, 4, 1), (320, 240), interpolation=cv2.INTER_AREA)
    small = apply_anomaly(name, PICTURE, 4, 1)
    apart = np.abs(scaled.astype(int) - small).mean()
    assert apart < 0.25 * np.abs(small.astype(int) - PICTURE).mean() + 2.0


@pytest.mark.parametrize("name", [*IN_PLACE, *EACH_FRAME, "fog", "dead_pixels", "motion_blur"])
def test_another_seed_is_another_anomaly(name):
    """Random anomalies follow their seed."""
    assert not np.array_equal(apply_anomaly(name, PICTURE, 3, 1), apply_anomaly(name, PICTURE, 3, 2))


@pytest.mark.parametrize("name", ["mud", "occlusion"])
def test_what_covers_the_lens_stays_in_place_over_a_drive(name):
    """Where a cover is opaque, two different pictures look the same under one seed."""
    covered, other = (apply_anomaly(name, picture, 5, 3).astype(int) for picture in (PICTURE, OTHER))
    gap_before = np.abs(PICTURE.astype(int) - OTHER).max(axis=2)
    gap_after = np.abs(covered - other).max(axis=2)
    assert ((gap_before > 60) & (gap_after < 12)).mean() > 0.02


@pytest.mark.parametrize("name", ["water_drops", "dead_pixels", "unknown_object"])
def test_places_do_not_depend_on_the_picture(name):
    """A drop, a defect and an object are where they were when the picture changes a little."""
    brighter = np.clip(PICTURE.astype(int) + 3, 0, 255).astype(np.uint8)
    before, after = ((apply_anomaly(name, p, 3, 3) != p).any(axis=2) for p in (PICTURE, brighter))
    assert (before & after).sum() > 0.8 * (before | after).sum()


@pytest.mark.parametrize("name", EACH_FRAME)
def test_what_falls_or_flickers_changes_from_frame_to_frame(name):
    """One grey level in one pixel, as in the next frame of a drive, moves all drops, flakes and noise."""
    following = PICTURE.copy()
    following[120, 160, 0] ^= 1
    now, later = apply_anomaly(name, PICTURE, 4, 0), apply_anomaly(name, following, 4, 0)
    assert (now != later).any(axis=2).mean() > 0.1


@pytest.mark.parametrize("name", ["fog", "rain", "snow", "sun_flare", "water_drops", "occlusion"])
def test_outside_the_lens_it_stays_black(name):
    """A fisheye's black corners see neither weather nor what lies before the lens."""
    corners = PICTURE[:6, :6]
    assert corners.mean() <= 10
    np.testing.assert_array_equal(apply_anomaly(name, PICTURE, 5, 0)[:6, :6], corners)


def test_exposure_clips():
    """Too much light ends in white, too little in black, and black stays black."""
    assert (apply_anomaly("overexposure", PICTURE, 5, 0) == 255).mean() > 0.2
    assert (apply_anomaly("underexposure", PICTURE, 5, 0) == 0).mean() > (PICTURE == 0).mean() + 0.02
    for name in ("overexposure", "underexposure"):
        assert not apply_anomaly(name, np.zeros_like(PICTURE), 5, 0).any()


def test_night_is_darker_and_bluer_than_dark():
    """Night has less light than dark at the same severity, more of it blue, and lamps that shine."""
    for severity in (1, 2, 3):  # beyond, noise is most of what is left of either
        night, dark = (apply_anomaly(name, PICTURE, severity, 0) for name in ("night", "dark"))
        assert np.median(night) < np.median(dark)
        assert night.max() > 230
    scene = apply_anomaly("night", np.full_like(PICTURE, 160), 1, 0)
    blue, _, red = np.median(scene, axis=(0, 1))
    assert blue > 1.3 * red


def test_motion_blur_moves_light_without_losing_it():
    """Mean brightness stays; a point becomes a stroke that is longer than wide."""
    assert abs(apply_anomaly("motion_blur", PICTURE, 5, 0).mean() - PICTURE.mean()) < 1.5
    point = np.zeros((121, 161, 3), np.uint8)
    point[60, 80] = 255
    rows, columns = np.nonzero(apply_anomaly("motion_blur", point, 5, 0)[..., 0])
    assert np.ptp(columns) >= 8
    assert np.ptp(columns) > np.ptp(rows)


def test_jpeg_encodes_and_then_breaks():
    """Severities 1 and 2 are what a JPEG encoder leaves; from 3 on there are blocks of flat grey or moved ones."""
    for severity, quality in ((1, 25), (2, 15)):
        data = cv2.imencode(".jpg", PICTURE, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
        np.testing.assert_array_equal(apply_anomaly("jpeg", PICTURE, severity, 0), cv2.imdecode(data, cv2.IMREAD_COLOR))
    grey = [(apply_anomaly("jpeg", PICTURE, severity, 0) == 128).all(axis=2).mean() for severity in (2, 5)]
    assert grey[1] > grey[0] + 0.01


def test_dead_pixels_are_stuck():
    """Defects show the same value in every picture, a heavier severity keeps a lighter one's, and lines are whole."""
    white, black = np.full_like(PICTURE, 200), np.full_like(PICTURE, 90)
    on_white, on_black = apply_anomaly("dead_pixels", white, 5, 0), apply_anomaly("dead_pixels", black, 5, 0)
    stuck = (on_white != white).any(axis=2)
    np.testing.assert_array_equal(on_white[stuck], on_black[stuck])
    lighter = (apply_anomaly("dead_pixels", white, 1, 0) != white).any(axis=2)
    assert not (lighter & ~stuck).any()
    assert stuck.all(axis=0).any() or stuck.all(axis=1).any()


def test_colour_channel_loses_one_channel():
    """At severity 4 one channel is empty and the others are untouched; at 5 these are swapped."""
    lost, swapped = (apply_anomaly("colour_channel", PICTURE, severity, 0) for severity in (4, 5))
    empty = [channel for channel in range(3) if not lost[..., channel].any()]
    assert len(empty) == 1
    first, second = (channel for channel in range(3) if channel not in empty)
    np.testing.assert_array_equal(lost[..., [first, second]], PICTURE[..., [first, second]])
    np.testing.assert_array_equal(swapped[..., [first, second]], PICTURE[..., [second, first]])


def test_water_drops_turn_the_scene_over():
    """Below a bright sky, a drop shows it at its lower side: some dark ground in the sky's half gets dark, some sky low."""
    picture = np.full((240, 320, 3), 40, np.uint8)
    picture[:120] = 220
    result = apply_anomaly("water_drops", picture, 5, 0)
    assert (result[10:90].max(axis=2) < 110).mean() > 0.002
    assert (result[150:230].min(axis=2) > 110).mean() > 0.002


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("severity", [1, 3, 5])
def test_the_mask_is_what_the_unknown_object_changed(severity, seed):
    """Nothing changes outside the mask, nearly everything inside; the object stands on the road."""
    for picture in (PICTURE, *RESIZED.values()):
        mask = anomaly_mask("unknown_object", picture, severity, seed)
        assert (mask.shape, mask.dtype) == (picture.shape[:2], np.uint8)
        assert set(np.unique(mask)) == {0, 1}
        changed = (apply_anomaly("unknown_object", picture, severity, seed) != picture).any(axis=2)
        assert not changed[mask == 0].any()
        assert changed[mask == 1].mean() > 0.95
        foot = np.nonzero(mask)[0].max() / len(mask)
        assert 0.6 < foot < 0.9


def test_a_mask_needs_a_masked_anomaly_and_a_picture():
    """Anomalies without mask, arrays that are no picture and severities out of range are refused."""
    with pytest.raises(ConfigError, match=f"'fog' has no mask; known: {', '.join(MASKED_ANOMALIES)}"):
        anomaly_mask("fog", PICTURE, 4, 1)
    with pytest.raises(DataError, match="BGR uint8"):
        anomaly_mask("mud", PICTURE[..., 0], 4, 1)
    with pytest.raises(ConfigError, match="from 1 to 5"):
        anomaly_mask("mud", PICTURE, 9, 1)


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
