"""An object that no training set has, drawn onto the road, with its mask as ground truth."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .image_ops import Image, Plane, grid, smooth_noise, smoothstep, to_uint8

_SIZE = (0.05, 0.08, 0.12, 0.17, 0.24)  # half the height of the object, fraction of the picture's height


def unknown_object(image: Image, level: int, seed: int) -> Image:
    """Draw an object of random shape and pattern; nothing outside its mask changes."""
    alpha, colour = _object(image.shape[0], image.shape[1], level, seed)
    return to_uint8(image + (colour - image) * alpha)


def unknown_object_mask(image: Image, level: int, seed: int) -> Image:
    """Pixels (H, W) that ``unknown_object`` draws: 1 on the object, 0 elsewhere."""
    alpha, _ = _object(image.shape[0], image.shape[1], level, seed)
    return (alpha[..., 0] > 0.0).astype(np.uint8)


@lru_cache(maxsize=4)
def _object(height: int, width: int, level: int, seed: int) -> tuple[Plane, Plane]:
    """Opacity (H, W, 1) and colour (H, W, 3); a heavier level is a larger object on the same spot of the road."""
    rng = np.random.default_rng([seed, 9])
    rows, columns = grid(height, width)
    size = _SIZE[level]
    foot, middle = rng.uniform(0.70, 0.80), width / height * rng.uniform(0.38, 0.62)
    v, u = (rows - (foot - size)) / size, (columns - middle) / size  # -1 to 1 on the object
    angle, radius = np.arctan2(v, u), np.hypot(u, v)
    outline = np.ones_like(angle)
    for lobe in range(2, 6):
        outline += rng.normal(0.0, 0.10) * np.cos(lobe * angle + rng.uniform(0.0, 6.28))
    corners = rng.uniform(1.5, 6.0)  # from a diamond over a ball to a box
    body = (np.abs(u / rng.uniform(0.7, 1.15)) ** corners + np.abs(v) ** corners) ** (1.0 / corners) / outline
    alpha = smoothstep((1.0 - body) * size * height, -0.5, 0.5)
    alpha[alpha < 0.5] = 0.0

    tilt, waves = rng.uniform(0.0, 3.14), rng.uniform(5.0, 9.0)
    stripes = np.sin(waves * (u * np.cos(tilt) + v * np.sin(tilt)) + rng.uniform(0.0, 6.28))
    if rng.random() < 0.5:  # spots or checks
        stripes = stripes * np.sin(waves * (v * np.cos(tilt) - u * np.sin(tilt)))
    pattern = smoothstep(stripes.astype(np.float32), -0.15, 0.15)[..., None]
    hue = rng.uniform(0.0, 6.28)
    paints = [np.float32(130.0 + 120.0 * np.cos(hue + turn + np.arange(3) * 2.09)) for turn in (0.0, 2.5)]
    colour = paints[0] * pattern + paints[1] * (1.0 - pattern)
    round_shade = 1.05 - 0.30 * np.clip(radius, 0.0, 1.5) ** 2 - 0.22 * v - 0.10 * u  # light from above left
    grain = 1.0 + 0.06 * smooth_noise((height, width), 60, seed)
    return alpha[..., None], (colour * (np.clip(round_shade, 0.25, 1.3) * grain)[..., None]).astype(np.float32)
