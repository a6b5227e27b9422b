"""Means of areas, against OpenCV's and against their definition."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ls_ood_monitor.vision.area_means import area_means

SIZES = [
    (483, 640),
    (480, 640),
    (484, 640),
    (540, 960),
    (720, 1280),
    (370, 1224),
    (243, 321),
    (242, 640),
    (242, 320),
    (726, 960),
    (484, 960),
]


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_area_interpolation_of_opencv(size, channels):
    """The same levels, but for a mean so near to the middle of two that the order of adding decides; masks have no colours."""
    image = np.random.default_rng(0).integers(0, 256, (*size, *channels), dtype=np.uint8)
    difference = area_means(image, 320, 242).astype(int) - cv2.resize(image, (320, 242), interpolation=cv2.INTER_AREA)
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 2e-4


def test_a_pixel_counts_by_its_share():
    """Three rows into two: the middle one is halved between them."""
    image = np.array([[10, 10], [40, 40], [100, 100]], np.uint8)[..., None].repeat(3, axis=2)
    np.testing.assert_array_equal(area_means(image, 1, 2)[:, 0, 0], [20, 80])


def test_what_is_alike_stays_alike():
    """A picture of one level keeps it, at either end of the scale and whatever the areas cut."""
    for level in (0, 1, 127, 255):
        assert np.unique(area_means(np.full((483, 641, 3), level, np.uint8), 320, 242)).tolist() == [level]


def test_a_picture_that_nobody_may_write_is_read():
    """Pictures are views of messages; slices of larger ones are taken as well."""
    image = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    image.flags.writeable = False
    view = image[10:109, 20:153]
    np.testing.assert_array_equal(area_means(view, 64, 48), area_means(view.copy(), 64, 48))
