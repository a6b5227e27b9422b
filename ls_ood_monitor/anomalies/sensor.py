"""Anomalies of the sensor and the transmission: noise, defects, lost colour, broken JPEG."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .image_ops import Image, frame_random, sensor_noise, to_uint8

_NOISE_SIGMA = (8.0, 16.0, 28.0, 44.0, 64.0)  # standard deviation, grey levels
_DEAD_SHARE = (0.004, 0.010, 0.020, 0.040, 0.070)  # of all pixels
_DEAD_LINES = (0.001, 0.002, 0.004, 0.008, 0.014)  # of all rows and columns
_QUALITY = (25, 15, 10, 6, 3)
_BROKEN_ROWS = (0.0, 0.0, 0.12, 0.28, 0.5)  # share of the rows of blocks
_CHANNEL_GAIN = (0.75, 0.5, 0.25, 0.0, 0.0)
_BLOCK = 16  # pixels of a JPEG block with subsampled colour, at every resolution


def noise(image: Image, level: int, seed: int) -> Image:
    """Read noise plus the part of shot noise, which grows with the square root of the signal."""
    sigma = _NOISE_SIGMA[level] * (0.6 + 0.4 * np.sqrt(image.astype(np.float32) / 128.0))
    return to_uint8(image + sigma * sensor_noise(image, seed))


def dead_pixels(image: Image, level: int, seed: int) -> Image:
    """Single pixels and whole lines that are stuck at black, white or one colour."""
    stuck, values = _defects(image.shape[0], image.shape[1], level, seed)
    return np.where(stuck[..., None], values, image)


def colour_channel(image: Image, level: int, seed: int) -> Image:
    """One channel fades and is lost; at severity 5 the other two are also swapped."""
    weak = int(np.random.default_rng([seed, 8]).integers(3))
    result = np.array(image)
    result[..., weak] = to_uint8(image[..., weak] * np.float32(_CHANNEL_GAIN[level]))
    if level == 4:
        first, second = (weak + 1) % 3, (weak + 2) % 3
        result[..., first], result[..., second] = image[..., second], image[..., first]
    return result


def jpeg(image: Image, level: int, seed: int) -> Image:
    """Strong compression; from severity 3 parts of rows of blocks slip sideways, change colour or turn grey."""
    _, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY[level]))
    result = np.array(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    height, width = image.shape[:2]
    rng = frame_random(image, seed)
    rows = -(-height // _BLOCK)
    for row in rng.permutation(rows)[: int(np.ceil(_BROKEN_ROWS[level] * rows))]:
        start = _BLOCK * int(rng.integers(max(1, width // _BLOCK // 2)))
        part = result[row * _BLOCK : (row + 1) * _BLOCK, start:]
        slip = _BLOCK * int(rng.integers(1, max(2, width // _BLOCK // 4)))
        # A decoder that lost its place keeps the error of the mean colour to the end of the row.
        part[:] = to_uint8(np.roll(part, slip, axis=1) + rng.normal(0.0, 25.0, 3))
        if rng.random() < 0.5:
            grey = _BLOCK * int(rng.integers(max(1, part.shape[1] // _BLOCK)))
            part[:, grey : grey + _BLOCK * int(rng.integers(1, max(2, width // _BLOCK // 3)))] = 128
    return result


@lru_cache(maxsize=4)
def _defects(height: int, width: int, level: int, seed: int) -> tuple[NDArray[np.bool_], Image]:
    """Which pixels are stuck (H, W) and at what (H, W, 3); a heavier level keeps a lighter one's defects."""
    rng = np.random.default_rng([seed, 7])
    stuck = rng.random((height, width), dtype=np.float32) < _DEAD_SHARE[level]
    # Black, white, or one colour of the filter array.
    states = np.array([[0, 0, 0], [255, 255, 255], [255, 60, 60], [60, 255, 60], [60, 60, 255]], np.uint8)
    values = states[rng.choice(5, (height, width), p=(0.4, 0.3, 0.1, 0.1, 0.1))]
    order = rng.permutation(height + width)
    kinds = rng.choice(5, height + width, p=(0.4, 0.3, 0.1, 0.1, 0.1))
    for line in order[: round(_DEAD_LINES[level] * (height + width))]:
        part = np.s_[line, :] if line < height else np.s_[:, line - height]
        stuck[part] = True
        values[part] = states[kinds[line]]
    return stuck, values
