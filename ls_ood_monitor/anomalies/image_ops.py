"""Operations that several anomalies use: noise fields, rough depth of a street, edge of the lens, rounding."""

from __future__ import annotations

import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Plane = NDArray[np.float32]

HORIZON = 0.42  # row of the horizon, as a fraction of the height, on a forward or side looking vehicle camera


def depth(height: int, width: int) -> Plane:
    """Rough distance of a street scene, 0 near to 1 at the horizon and above it, (H, W)."""
    below = (np.arange(height, dtype=np.float32) / height - HORIZON) / (1.0 - HORIZON)
    rows = np.float32(1.0) / (1.0 + 6.0 * np.clip(below, 0.0, None))
    return np.broadcast_to(rows[:, None], (height, width)).astype(np.float32)


def sky_light(image: Image) -> float:
    """Grey level of air full of water or snow, in the light of this picture."""
    bright = float(np.percentile(image[: max(1, int(HORIZON * image.shape[0]))], 90))
    return float(np.clip(0.5 * bright + 95.0, 110.0, 225.0))


def smooth_noise(size: tuple[int, int], cells: int, seed: int) -> Plane:
    """Random field of unit standard deviation whose features are 1/cells of the height, the same at every resolution."""
    columns = max(2, round(cells * size[1] / size[0]))
    grid = np.random.default_rng([seed, cells]).standard_normal((cells + 1, columns + 1), dtype=np.float32)
    return cv2.resize(grid, (size[1], size[0]), interpolation=cv2.INTER_CUBIC).astype(np.float32, copy=False)


def frame_random(image: Image, seed: int) -> np.random.Generator:
    """A generator that is equal for equal pictures and differs from picture to picture."""
    return np.random.default_rng([seed, zlib.crc32(image.tobytes())])


def sensor_noise(image: Image, seed: int) -> Plane:
    """Standard normal noise (H, W, 3), equal for equal pictures."""
    return frame_random(image, seed).standard_normal(image.shape, dtype=np.float32)


def outside_lens(image: Image) -> NDArray[np.bool_]:
    """Black area connected to the corners, bool (H, W): it lies outside a fisheye's image circle."""
    # Averaged, because sensor noise speckles the black.
    black = (cv2.blur(image.max(axis=2), (5, 5)) <= 16).astype(np.uint8)
    height, width = black.shape
    for corner in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
        if black[corner[1], corner[0]] == 1:
            cv2.floodFill(black, None, corner, 2)
    return np.asarray(black == 2)


def grid(height: int, width: int) -> tuple[Plane, Plane]:
    """Coordinates of rows (H, 1) and columns (1, W) in picture heights, so that circles stay circles at any size."""
    rows = (np.arange(height, dtype=np.float32) + 0.5) / height
    columns = (np.arange(width, dtype=np.float32) + 0.5) / height
    return np.asarray(rows[:, None], np.float32), np.asarray(columns[None, :], np.float32)


def smoothstep(values: Plane, low: float, high: float) -> Plane:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)


def to_uint8(values: NDArray[Any]) -> Image:
    """Round and clip to grey levels."""
    return np.clip(values + 0.5, 0.0, 255.0).astype(np.uint8)
