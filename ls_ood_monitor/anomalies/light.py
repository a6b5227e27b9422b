"""Anomalies of light: darkness, night, sun flare, wrong exposure."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from .image_ops import HORIZON, Image, Plane, grid, outside_lens, sensor_noise, smoothstep, to_uint8

_DARK_GAIN = (0.55, 0.38, 0.25, 0.15, 0.08)  # fraction of the light left
_NIGHT_GAIN = (0.36, 0.25, 0.17, 0.11, 0.065)
_NIGHT_NOISE = (3.0, 5.0, 7.0, 9.0, 12.0)  # standard deviation, grey levels
_OVER_STOPS = (0.7, 1.3, 2.0, 2.8, 3.8)  # a stop is a factor of two in light
_UNDER_STOPS = (1.0, 1.8, 2.7, 3.7, 5.0)
_GLARE = (0.35, 0.60, 0.95, 1.40, 2.00)  # brightness of the halo
_GHOSTS = (0.50, 0.80, 1.15, 1.55, 2.00)  # brightness of the reflections in the lens
_LAMPS = ((0.45, 0.75, 1.0), (0.9, 0.95, 1.0), (0.25, 0.2, 1.0))  # BGR of street lamps, headlights, rear lights


def dark(image: Image, level: int, seed: int) -> Image:
    """Too little light: lower signal, paler colour, and the noise of a sensor at high gain."""
    grey = image.mean(axis=2, keepdims=True, dtype=np.float32)
    light = (0.75 * image + 0.25 * grey) * np.float32(_DARK_GAIN[level])
    sigma = (1.0 + level) + 0.6 * np.sqrt(light)
    return to_uint8(light + sigma * sensor_noise(image, seed))


def night(image: Image, level: int, seed: int) -> Image:
    """Night: a dark sky above a blue scene, blotchy noise, and lamps that glow."""
    height, width = image.shape[:2]
    grey = image.mean(axis=2, keepdims=True, dtype=np.float32)
    rows, _ = grid(height, width)
    sky = (1.0 - 0.6 * smoothstep(-rows, -HORIZON, -0.5 * HORIZON))[..., None]
    tint = np.array([1.3, 0.95, 0.75], np.float32) * np.float32(_NIGHT_GAIN[level])
    scene = (0.5 * image + 0.5 * grey) * tint * sky
    noise = sensor_noise(image, seed)
    noise += 1.5 * cv2.GaussianBlur(noise, (0, 0), max(0.6, 0.0022 * height))  # noise reduction leaves blotches
    scene += _NIGHT_NOISE[level] * noise
    lamps = np.where(outside_lens(image)[..., None], np.float32(0.0), _lamps(height, width, seed))
    return to_uint8(scene + (255.0 - np.clip(scene, 0.0, 255.0)) * lamps)


def sun_flare(image: Image, level: int, seed: int) -> Image:
    """A low sun in the picture: disc, halo, and its reflections between the lens's surfaces."""
    glare, ghosts = _flare(*image.shape[:2], seed)
    dark_left = np.exp(-_GLARE[level] * glare) * (1.0 - np.minimum(_GHOSTS[level] * ghosts, 0.9))
    flared = 255.0 - (255.0 - image) * dark_left
    return np.where(outside_lens(image)[..., None], image, to_uint8(flared))


def overexposure(image: Image, level: int, seed: int) -> Image:
    """Too long an exposure: more light in every pixel, saturated to white."""
    return _exposed(image, 2.0 ** _OVER_STOPS[level], 0.0)


def underexposure(image: Image, level: int, seed: int) -> Image:
    """Too short an exposure: less light in every pixel, few grey levels, black shadows."""
    return _exposed(image, 2.0 ** -_UNDER_STOPS[level], 0.0008)


def _exposed(image: Image, gain: float, black: float) -> Image:
    linear = np.linspace(0.0, 1.0, 256) ** 2.2 * gain - black
    table = to_uint8(255.0 * np.clip(linear, 0.0, 1.0) ** (1.0 / 2.2))
    return cv2.LUT(image, table).astype(np.uint8, copy=False)


@lru_cache(maxsize=4)
def _lamps(height: int, width: int, seed: int) -> Plane:
    """Share of white light (H, W, 3) that 5 to 9 lamps near the horizon add: a core and a halo each."""
    rng = np.random.default_rng([seed, 2])
    rows, columns = grid(height, width)
    light = np.zeros((height, width, 3), np.float32)
    for _ in range(int(rng.integers(5, 10))):
        x, y = rng.uniform(0.08, 0.92) * width / height, HORIZON + rng.uniform(-0.22, 0.08)
        size, colour = 0.005 + 0.013 * rng.random() ** 2, np.array(_LAMPS[int(rng.integers(len(_LAMPS)))], np.float32)
        square = ((rows - y) ** 2 + (columns - x) ** 2) / size**2
        core, halo = np.exp(-square * square), 0.8 / (1.0 + square / 6.0) * np.exp(-np.sqrt(square) / 16.0)
        light += core[..., None] + halo[..., None] * colour
    return np.minimum(light, 1.0)


@lru_cache(maxsize=4)
def _flare(height: int, width: int, seed: int) -> tuple[Plane, Plane]:
    """Halo (H, W, 1) as optical density and ghosts (H, W, 3) as a share of white, both for a sun of unit strength."""
    rng = np.random.default_rng([seed, 3])
    rows, columns = grid(height, width)
    middle = 0.5 * width / height
    x, y = middle * (1.0 + rng.uniform(-0.65, 0.65)), rng.uniform(0.08, 0.24)
    distance = np.hypot(rows - y, columns - x)
    angle = np.arctan2(rows - y, columns - x)
    rays = 0.5 + 0.5 * np.cos(int(rng.integers(5, 8)) * angle + rng.uniform(0.0, 6.28))
    glare = 7.0 * smoothstep(-distance, -0.048, -0.026) + 1.6 * np.exp(-distance / 0.10)
    glare += 0.45 * np.exp(-distance / 0.45) + 0.8 * rays**24 * np.exp(-distance / 0.16)
    ghosts = np.zeros((height, width, 3), np.float32)
    for _ in range(int(rng.integers(6, 13))):
        along = rng.uniform(0.4, 2.2)  # 0 at the sun, 1 at the middle of the picture
        size, soft = rng.uniform(0.012, 0.075), rng.uniform(0.004, 0.02)
        away = np.hypot(rows - (y + along * (0.5 - y)), columns - (x + along * (middle - x)))
        inside = smoothstep(-away, -size - soft, -size + soft)
        rim = np.exp(-(((away - size) / (0.12 * size + 0.003)) ** 2))
        colour = np.float32(0.35 + 0.65 * rng.random(3)) * np.float32(rng.uniform(0.16, 0.36))
        ghosts += (0.7 * inside + 0.5 * rim)[..., None] * colour
    return glare[..., None].astype(np.float32), ghosts
