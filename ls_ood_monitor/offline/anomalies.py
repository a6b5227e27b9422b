"""Seeded disturbances of a camera picture, for evaluation: what weather, dirt, optics and the sensor do to it.

All transforms take and return BGR uint8 (H, W, 3) at camera resolution, leave the input alone, and scale with
the picture, so that one severity means the same at every resolution. They model the effect on the picture, not
the physics of its cause: detection figures obtained with them are figures about these transforms.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError

Image = NDArray[np.uint8]
Plane = NDArray[np.float32]

_HORIZON = 0.42  # row of the horizon, as a fraction of the height, on a forward or side looking vehicle camera
_FOG_DENSITY = (0.9, 1.4, 2.0, 2.8, 4.0)  # optical depth at the horizon
_MUD_COVER = (0.06, 0.12, 0.20, 0.30, 0.42)  # fraction of the picture
_BLUR_RADIUS = (0.003, 0.006, 0.010, 0.016, 0.025)  # circle of confusion, fraction of the width
_DARK_GAIN = (0.55, 0.38, 0.25, 0.15, 0.08)  # fraction of the light left
_NOISE_SIGMA = (8.0, 16.0, 28.0, 44.0, 64.0)  # standard deviation, grey levels


def apply_anomaly(name: str, image: Image, severity: int, seed: int) -> Image:
    """Return a disturbed copy of ``image``.

    Args:
        name: one of ``ANOMALIES``; ``identity`` is the control and returns an equal copy.
        image: BGR uint8 (H, W, 3).
        severity: 1 (slight) to 5 (heavy).
        seed: >= 0. Dirt and fog banks depend on the seed alone, so they stay in place over a drive; sensor
            noise depends on the seed and the picture, so that it changes from frame to frame.

    Raises:
        ConfigError: unknown name, severity or seed out of range.
        DataError: ``image`` is not a BGR uint8 picture.
    """
    if name not in _TRANSFORMS:
        raise ConfigError(f"There is no anomaly {name!r}; known: {', '.join(ANOMALIES)}.")
    if isinstance(severity, bool) or not isinstance(severity, (int, np.integer)) or not 1 <= severity <= 5:
        raise ConfigError(f"Anomaly severity is {severity!r}; it must be a whole number from 1 to 5.")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ConfigError(f"Anomaly seed is {seed!r}; it must be a whole number, 0 or larger.")
    if not isinstance(image, np.ndarray):
        raise DataError(f"An anomaly needs a BGR uint8 picture (H, W, 3); this is a {type(image).__name__}.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise DataError(f"An anomaly needs a BGR uint8 picture (H, W, 3); this one is {image.dtype} {image.shape}.")
    return _TRANSFORMS[name](image, int(severity) - 1, int(seed))


def _identity(image: Image, level: int, seed: int) -> Image:
    return image.copy()


def _fog(image: Image, level: int, seed: int) -> Image:
    """Koschmieder's law: light of the scene fades with distance and the veil's own light replaces it."""
    height, width = image.shape[:2]
    depth = _depth(height, width) * (1.0 + 0.25 * _smooth_noise((height, width), 4, seed))
    transmission = np.exp(-_FOG_DENSITY[level] * depth)[..., None]
    scene = cv2.GaussianBlur(image, (0, 0), 0.0007 * width * (level + 1)).astype(np.float32)
    bright = float(np.percentile(image[: max(1, int(_HORIZON * height))], 90))
    veil = np.float32([1.02, 1.0, 0.98]) * np.clip(0.5 * bright + 95.0, 110.0, 225.0)
    foggy = scene * transmission + veil * (1.0 - transmission)
    return np.where(_outside_lens(image)[..., None], image, _to_uint8(foggy))


def _mud(image: Image, level: int, seed: int) -> Image:
    alpha, colour = _mud_overlay(image.shape[0], image.shape[1], level, seed)
    return _to_uint8(image * (1.0 - alpha) + colour * alpha)


def _blur(image: Image, level: int, seed: int) -> Image:
    """Defocus: every point becomes a disc."""
    radius = max(1.0, _BLUR_RADIUS[level] * image.shape[1])
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0.0, 1.0)
    return cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT_101).astype(np.uint8, copy=False)


def _dark(image: Image, level: int, seed: int) -> Image:
    """Too little light: lower signal, paler colour, and the noise of a sensor at high gain."""
    grey = image.mean(axis=2, keepdims=True, dtype=np.float32)
    light = (0.75 * image + 0.25 * grey) * np.float32(_DARK_GAIN[level])
    sigma = (1.0 + level) + 0.6 * np.sqrt(light)
    return _to_uint8(light + sigma * _sensor_noise(image, seed))


def _noise(image: Image, level: int, seed: int) -> Image:
    """Read noise plus the part of shot noise, which grows with the square root of the signal."""
    sigma = _NOISE_SIGMA[level] * (0.6 + 0.4 * np.sqrt(image.astype(np.float32) / 128.0))
    return _to_uint8(image + sigma * _sensor_noise(image, seed))


_TRANSFORMS: dict[str, Callable[[Image, int, int], Image]] = {
    "identity": _identity,
    "fog": _fog,
    "mud": _mud,
    "blur": _blur,
    "dark": _dark,
    "noise": _noise,
}
ANOMALIES: tuple[str, ...] = tuple(_TRANSFORMS)


@lru_cache(maxsize=8)
def _mud_overlay(height: int, width: int, level: int, seed: int) -> tuple[Plane, Plane]:
    """Opacity (H, W, 1) in [0, 1] and colour (H, W, 3) of dirt on the lens; a heavier level covers a lighter one's dirt."""
    size = (height, width)
    field = (
        _smooth_noise(size, 5, seed)
        + 0.45 * _smooth_noise(size, 14, seed + 1)
        + 0.2 * _smooth_noise(size, 40, seed + 2)
    )
    edge = np.float32(np.quantile(field, 1.0 - _MUD_COVER[level]))
    alpha = np.clip((field - edge) / 0.35 + 0.5, 0.0, 1.0)
    alpha = cv2.GaussianBlur(
        alpha * alpha * (3.0 - 2.0 * alpha), (0, 0), 0.006 * width
    )  # dirt on a lens is out of focus
    thickness = 0.86 + 0.12 * np.tanh(_smooth_noise(size, 9, seed + 3))
    shade = 1.0 + 0.22 * _smooth_noise(size, 24, seed + 4) + 0.10 * _smooth_noise(size, 90, seed + 5)
    colour = np.float32([38.0, 58.0, 78.0]) * shade[..., None]
    return (alpha * thickness)[..., None].astype(np.float32), colour.astype(np.float32)


def _depth(height: int, width: int) -> Plane:
    """Rough distance of a street scene, 0 near to 1 at the horizon and above it, (H, W)."""
    below = (np.arange(height, dtype=np.float32) / height - _HORIZON) / (1.0 - _HORIZON)
    rows = np.float32(1.0) / (1.0 + 6.0 * np.clip(below, 0.0, None))
    return np.broadcast_to(rows[:, None], (height, width)).astype(np.float32)


def _smooth_noise(size: tuple[int, int], cells: int, seed: int) -> Plane:
    """Random field of unit standard deviation whose features are 1/cells of the height, the same at every resolution."""
    columns = max(2, round(cells * size[1] / size[0]))
    grid = np.random.default_rng([seed, cells]).standard_normal((cells + 1, columns + 1), dtype=np.float32)
    return cv2.resize(grid, (size[1], size[0]), interpolation=cv2.INTER_CUBIC).astype(np.float32, copy=False)


def _sensor_noise(image: Image, seed: int) -> Plane:
    """Standard normal noise (H, W, 3): repeatable for one picture, different for the next."""
    rng = np.random.default_rng([seed, zlib.crc32(np.ascontiguousarray(image))])
    return rng.standard_normal(image.shape, dtype=np.float32)


def _outside_lens(image: Image) -> NDArray[np.bool_]:
    """Black area joined to the corners (H, W): a fisheye's image circle ends there and no fog is seen."""
    # Averaged, because sensor noise speckles the black.
    black = (cv2.blur(image.max(axis=2), (5, 5)) <= 16).astype(np.uint8)
    height, width = black.shape
    for corner in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
        if black[corner[1], corner[0]] == 1:
            cv2.floodFill(black, None, corner, 2)
    return black == 2


def _to_uint8(values: Plane) -> Image:
    return np.clip(values + 0.5, 0.0, 255.0).astype(np.uint8)
