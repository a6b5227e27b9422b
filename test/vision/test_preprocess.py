"""The one preprocessing, against plain numpy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.vision.preprocess import PreprocessSpec, preprocess, resize_image, resize_labels


def test_normalisation_equals_numpy():
    """BGR becomes RGB, full scale becomes one, mean and std are applied per channel."""
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    spec = PreprocessSpec(width=64, height=48)
    expected = (image[:, :, ::-1] / 255.0 - np.array(spec.mean)) / np.array(spec.std)
    result = preprocess([image], spec).numpy()
    assert result.shape == (1, 3, 48, 64)
    np.testing.assert_allclose(result[0].transpose(1, 2, 0), expected, rtol=1e-5, atol=1e-5)


def test_shrinking_averages_areas():
    """An integer shrink is the mean of each cell, so fine detail is not aliased."""
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    expected = image.reshape(48, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(resize_image(image, PreprocessSpec(width=64, height=48)) - expected).max() <= 1.0


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_halving_is_the_mean_of_areas(factor):
    """A picture that is a power of two as large gives the mean of each cell, but for half a level of rounding a step."""
    image = np.random.default_rng(1).integers(0, 256, (32 * factor, 40 * factor, 3), dtype=np.uint8)
    expected = image.reshape(32, factor, 40, factor, 3).astype(float).mean(axis=(1, 3))
    small = resize_image(image, PreprocessSpec(width=40, height=32))
    assert np.abs(small - expected).max() <= (0.51 if factor == 2 else 1.01)


def test_a_larger_camera_gives_what_its_half_gives():
    """A picture of twice the size, pixel by pixel, is to the network the picture it came from: the threshold holds for both."""
    picture = np.random.default_rng(2).integers(0, 256, (97, 131, 3), dtype=np.uint8)
    spec = PreprocessSpec(width=64, height=48)
    np.testing.assert_array_equal(resize_image(picture.repeat(2, 0).repeat(2, 1), spec), resize_image(picture, spec))


def test_an_odd_picture_is_averaged_at_once():
    """Where halving would leave a rest every pixel still counts by its share, and none is left out."""
    image = np.random.default_rng(3).integers(0, 256, (99, 133, 3), dtype=np.uint8)
    small = resize_image(image, PreprocessSpec(width=33, height=33))
    expected = _areas(_areas(image.astype(float), 33).transpose(1, 0, 2), 33).transpose(1, 0, 2)
    assert np.abs(small - expected).max() <= 0.51


@pytest.mark.parametrize("size", [(966, 1280), (972, 1296), (1080, 1920), (1944, 2592)])
def test_halving_first_is_close_to_averaging_at_once(size):
    """Of pictures with some sharpness: within a level on average, nowhere more than in places elsewhere."""
    noise = np.random.default_rng(4).integers(0, 256, (*size, 3), dtype=np.uint8)
    picture = cv2.GaussianBlur(noise, (0, 0), 1.5)
    small = resize_image(picture, PreprocessSpec(width=320, height=242)).astype(float)
    expected = _areas(_areas(picture.astype(float), 242).transpose(1, 0, 2), 320).transpose(1, 0, 2)
    difference = np.abs(small - expected).mean(axis=2)
    assert difference.mean() < 1.0
    quarters = [part.mean() for rows in np.array_split(difference, 4) for part in np.array_split(rows, 4, axis=1)]
    assert max(quarters) < 2.0 * np.mean(quarters)


def _areas(values: np.ndarray, rows: int) -> np.ndarray:
    """Means of ``rows`` equal stretches of the first axis, cut pixels by their share."""
    edges = np.linspace(0.0, len(values), rows + 1)
    sums = np.concatenate([np.zeros_like(values[:1]), values.cumsum(axis=0)])
    at = [np.interp(edges, np.arange(len(sums)), column) for column in sums.reshape(len(sums), -1).T]
    return (np.diff(np.stack(at, axis=1), axis=0) / np.diff(edges)[:, None]).reshape(rows, *values.shape[1:])


def test_pictures_of_several_sizes_share_a_batch():
    """One batch may mix sizes; each row equals the picture on its own."""
    random = np.random.default_rng(1)
    pictures = [random.integers(0, 256, shape, dtype=np.uint8) for shape in ((48, 64, 3), (100, 90, 3), (32, 32, 3))]
    spec = PreprocessSpec(width=64, height=48)
    batch = preprocess(pictures, spec)
    for row, picture in zip(batch, pictures, strict=True):
        np.testing.assert_array_equal(row.numpy(), preprocess([picture], spec)[0].numpy())


def test_labels_keep_their_classes():
    """Nearest neighbour invents no class between two others."""
    labels = np.zeros((97, 131), np.uint8)
    labels[:, 60:] = 9
    assert set(np.unique(resize_labels(labels, 64, 48))) == {0, 9}


def test_size_out_of_range_is_refused():
    """A size outside the documented range is refused with the value named."""
    with pytest.raises(ConfigError, match="width is 7"):
        PreprocessSpec(width=7)
