"""Anomalies of weather: fog, rain, snow."""

from __future__ import annotations

import cv2
import numpy as np

from .image_ops import Image, Plane, depth, frame_random, outside_lens, sky_light, smooth_noise, to_uint8

_FOG_DENSITY = (0.9, 1.4, 2.0, 2.8, 4.0)  # optical depth at the horizon
_RAIN_VEIL = (0.12, 0.20, 0.30, 0.42, 0.55)  # share of the contrast lost at the horizon
_RAIN_STREAKS = (250, 450, 750, 1150, 1700)  # streaks on a 4:3 picture
_SNOW_VEIL = (0.10, 0.20, 0.32, 0.46, 0.62)
_SNOW_FLAKES = (350, 700, 1200, 2000, 3200)  # flakes on a 4:3 picture
# Far, middle, near: share of all, length, width (fractions of the height), opacity.
_STREAK_LAYERS = ((0.62, 0.035, 0.0012, 0.35), (0.30, 0.075, 0.0020, 0.50), (0.08, 0.150, 0.0036, 0.45))
# Far, middle, near: share of all, radius (fraction of the height), blur in radii, opacity.
_FLAKE_LAYERS = ((0.80, 0.0026, 0.5, 0.80), (0.17, 0.0060, 0.5, 0.90), (0.03, 0.0150, 0.6, 0.75))
_SHIFT = 4  # OpenCV's fraction bits of a coordinate


def fog(image: Image, level: int, seed: int) -> Image:
    """Fog by Koschmieder's law: with distance, the light of the fog replaces the light of the scene."""
    height, width = image.shape[:2]
    far = depth(height, width) * (1.0 + 0.25 * smooth_noise((height, width), 4, seed))
    transmission = np.exp(-_FOG_DENSITY[level] * far)[..., None]
    scene = cv2.GaussianBlur(image, (0, 0), 0.0007 * width * (level + 1)).astype(np.float32)
    veil = np.float64(sky_light(image)) * np.array([1.02, 1.0, 0.98], np.float32)
    foggy = scene * transmission + veil * (1.0 - transmission)
    return np.where(outside_lens(image)[..., None], image, to_uint8(foggy))


def rain(image: Image, level: int, seed: int) -> Image:
    """Streaks along the wind, the near ones long and pale, over a scene that lost contrast."""
    height, width = image.shape[:2]
    rng = frame_random(image, seed)
    slant = np.random.default_rng([seed, 1]).uniform(-0.3, 0.3)  # the wind stays the same over a drive
    count = _RAIN_STREAKS[level] * width / height * 0.75
    alpha = np.zeros((height, width), np.float32)
    for share, length, thickness, opacity in _STREAK_LAYERS:
        number = max(1, round(share * count))
        tops = rng.uniform((-0.1 * width, -0.15 * height), (1.1 * width, height), (number, 2))
        falls = length * height * rng.uniform(0.6, 1.4, (number, 1))
        bottoms = tops + falls * np.hstack((slant + rng.normal(0.0, 0.03, (number, 1)), np.ones((number, 1))))
        layer = np.zeros((height, width), np.uint8)
        lines = np.round(np.stack((tops, bottoms), axis=1) * 2**_SHIFT).astype(np.int32)
        pixels = max(1, round(thickness * height))
        # A streak thinner than a pixel is drawn one pixel wide and that much paler.
        value = 255.0 * opacity * min(1.0, thickness * height / pixels)
        cv2.polylines(layer, list(lines), False, value, pixels, cv2.LINE_AA, _SHIFT)
        alpha = np.maximum(alpha, cv2.GaussianBlur(layer, (0, 0), max(0.3, 0.0008 * height)) / np.float32(255.0))
    light = sky_light(image)
    scene = cv2.GaussianBlur(image, (0, 0), 0.0004 * width * (level + 1)).astype(np.float32)
    wet = _veiled(scene * (1.0 - 0.03 * (level + 1)), 0.75 * light, _RAIN_VEIL[level])
    wet += (min(255.0, 1.1 * light) - wet) * alpha[..., None]
    return np.where(outside_lens(image)[..., None], image, to_uint8(wet))


def snow(image: Image, level: int, seed: int) -> Image:
    """Flakes of several sizes, the near ones large and out of focus, before a white veil."""
    height, width = image.shape[:2]
    rng = frame_random(image, seed)
    count = _SNOW_FLAKES[level] * width / height * 0.75
    light = sky_light(image)
    white = _veiled(image.astype(np.float32), light, _SNOW_VEIL[level])
    for share, radius, blur, opacity in _FLAKE_LAYERS:
        number = max(1, round(share * count))
        centres = rng.uniform((0.0, 0.0), (width, height), (number, 2))
        radii = radius * height * rng.uniform(0.6, 1.4, number)
        layer = np.zeros((height, width), np.uint8)
        for (x, y), size in zip(centres, radii, strict=True):
            drawn = max(0.7, float(size))
            value = 255.0 * opacity * min(1.0, float(size) / drawn) ** 2
            centre = (round(x * 2**_SHIFT), round(y * 2**_SHIFT))
            cv2.circle(layer, centre, round(drawn * 2**_SHIFT), value, -1, cv2.LINE_AA, _SHIFT)
        alpha = cv2.GaussianBlur(layer, (0, 0), max(0.3, blur * radius * height))[..., None] / np.float32(255.0)
        white += (min(255.0, 1.15 * light + 10.0) - white) * alpha
    return np.where(outside_lens(image)[..., None], image, to_uint8(white))


def _veiled(scene: Plane, light: float, share: float) -> Plane:
    """Scene behind a veil that hides ``share`` of it at the horizon and a third of that just before the camera."""
    height, width = scene.shape[:2]
    veil = (share * (0.33 + 0.67 * depth(height, width)))[..., None]
    return np.asarray(scene * (1.0 - veil) + np.float32(light) * veil, np.float32)
