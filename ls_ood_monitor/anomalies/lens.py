"""Anomalies at the lens: dirt, water drops, occlusion, defocus and motion blur."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from .image_ops import Image, Plane, grid, outside_lens, smooth_noise, smoothstep, to_uint8

_MUD_COVER = (0.06, 0.12, 0.20, 0.30, 0.42)  # fraction of the picture
_BLUR_RADIUS = (0.003, 0.006, 0.010, 0.016, 0.025)  # circle of confusion, fraction of the width
_MOTION_LENGTH = (0.008, 0.016, 0.028, 0.045, 0.070)  # shift of the picture during the exposure, fraction of the width
_OCCLUSION_COVER = (0.06, 0.14, 0.25, 0.40, 0.60)  # fraction of the picture
_DROPS = (8, 18, 34, 58, 95)  # on a 4:3 picture


def mud(image: Image, level: int, seed: int) -> Image:
    """Dirt on the lens, brown and out of focus."""
    alpha, colour = _mud_overlay(image.shape[0], image.shape[1], level, seed)
    return to_uint8(image * (1.0 - alpha) + colour * alpha)


def blur(image: Image, level: int, seed: int) -> Image:
    """Defocus: every point becomes a disc."""
    radius = max(1.0, _BLUR_RADIUS[level] * image.shape[1])
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0.0, 1.0)
    return cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT_101).astype(np.uint8, copy=False)


def motion_blur(image: Image, level: int, seed: int) -> Image:
    """Every point becomes a stroke, mostly sideways; the seed draws its direction."""
    half = 0.5 * max(1.5, _MOTION_LENGTH[level] * image.shape[1])
    angle = np.random.default_rng([seed, 4]).uniform(-0.4, 0.4)
    reach_x, reach_y = int(np.ceil(half * np.cos(angle))) + 1, int(np.ceil(half * abs(np.sin(angle)))) + 1
    y, x = np.mgrid[-reach_y : reach_y + 1, -reach_x : reach_x + 1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    stroke = np.clip(half + 0.5 - np.abs(along), 0.0, 1.0) * np.clip(1.0 - np.abs(across), 0.0, 1.0)
    kernel = stroke / stroke.sum()
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101).astype(np.uint8, copy=False)


def occlusion(image: Image, level: int, seed: int) -> Image:
    """An opaque object reaches in from one edge, out of focus because it is so near."""
    alpha, colour = _occluder(image.shape[0], image.shape[1], level, seed)
    return np.where(outside_lens(image)[..., None], image, to_uint8(image * (1.0 - alpha) + colour * alpha))


def mud_mask(image: Image, level: int, seed: int) -> Image:
    """Pixels (H, W) where ``mud`` is more than half opaque: 1 there, 0 elsewhere."""
    alpha, _ = _mud_overlay(image.shape[0], image.shape[1], level, seed)
    return (alpha[..., 0] > 0.5).astype(np.uint8)


def occlusion_mask(image: Image, level: int, seed: int) -> Image:
    """Pixels (H, W) within the image circle where ``occlusion`` is more than half opaque: 1 there, 0 elsewhere."""
    alpha, _ = _occluder(image.shape[0], image.shape[1], level, seed)
    return ((alpha[..., 0] > 0.5) & ~outside_lens(image)).astype(np.uint8)


def water_drops(image: Image, level: int, seed: int) -> Image:
    """Drops on the lens: each shows the scene upside down, small and blurred, with a dark rim and a glint."""
    height, width = image.shape[:2]
    map_x, map_y, alpha, shade, glint = _drop_overlay(height, width, level, seed)
    soft = cv2.GaussianBlur(image, (0, 0), max(0.6, 0.010 * height))
    seen = cv2.remap(soft, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    light = 0.5 * float(np.percentile(image, 95)) + 60.0
    drop = seen * shade + glint * np.float32(light)
    return np.where(outside_lens(image)[..., None], image, to_uint8(image + (drop - image) * alpha))


@lru_cache(maxsize=8)
def _mud_overlay(height: int, width: int, level: int, seed: int) -> tuple[Plane, Plane]:
    """Opacity (H, W, 1) in [0, 1] and colour (H, W, 3) of dirt on the lens; a heavier level covers a lighter one's dirt."""
    size = (height, width)
    field = (
        smooth_noise(size, 5, seed) + 0.45 * smooth_noise(size, 14, seed + 1) + 0.2 * smooth_noise(size, 40, seed + 2)
    )
    edge = np.float32(np.quantile(field, 1.0 - _MUD_COVER[level]))
    alpha = np.clip((field - edge) / 0.35 + 0.5, 0.0, 1.0)
    # Dirt on a lens is out of focus.
    alpha = cv2.GaussianBlur(alpha * alpha * (3.0 - 2.0 * alpha), (0, 0), 0.006 * width)
    thickness = 0.86 + 0.12 * np.tanh(smooth_noise(size, 9, seed + 3))
    shade = 1.0 + 0.22 * smooth_noise(size, 24, seed + 4) + 0.10 * smooth_noise(size, 90, seed + 5)
    colour = np.array([38.0, 58.0, 78.0], np.float32) * shade[..., None]
    return (alpha * thickness)[..., None].astype(np.float32), colour.astype(np.float32)


@lru_cache(maxsize=4)
def _occluder(height: int, width: int, level: int, seed: int) -> tuple[Plane, Plane]:
    """Opacity (H, W, 1) and colour (H, W, 3); a heavier level reaches further in from the same place of the same edge."""
    rng = np.random.default_rng([seed, 5])
    rows, columns = grid(height, width)
    span = width / height
    edge, place, slimness = int(rng.integers(4)), rng.uniform(0.25, 0.75), rng.uniform(0.5, 0.9)
    across = (rows, 1.0 - rows, columns, span - columns)[edge]
    along = (columns - place * span) if edge < 2 else (rows - place)
    reach = np.hypot(across, slimness * along) + 0.05 * smooth_noise((height, width), 3, seed)
    # The object goes on beyond the edge of the picture, so it has no border there.
    limit = float(np.quantile(reach, _OCCLUSION_COVER[level]))
    alpha = smoothstep(limit - reach, -0.045, 0.045)
    base = np.float32(rng.uniform(25.0, 110.0)) * np.float32(rng.uniform(0.75, 1.2, 3))
    shade = 1.0 + 0.12 * smooth_noise((height, width), 4, seed + 1) - 0.35 * smoothstep(reach - limit, -0.12, 0.0)
    return alpha[..., None], (base * shade[..., None]).astype(np.float32)


@lru_cache(maxsize=4)
def _drop_overlay(height: int, width: int, level: int, seed: int) -> tuple[Plane, Plane, Plane, Plane, Plane]:
    """Source of each pixel (x and y, (H, W)), opacity, shade and glint (H, W, 1); a heavier level adds drops."""
    rng = np.random.default_rng([seed, 6])
    rows, columns = grid(height, width)
    map_y, map_x = np.broadcast_to(rows, (height, width)).copy(), np.broadcast_to(columns, (height, width)).copy()
    alpha, glint = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    shade = np.ones((height, width), np.float32)
    span = width / height
    for _ in range(round(_DROPS[level] * span * 0.75)):
        x, y, size = rng.uniform(0.0, span), rng.uniform(0.0, 1.0), 0.015 + 0.055 * rng.random() ** 2.5
        stretch, wobble, turn = rng.uniform(1.0, 1.35), rng.uniform(0.0, 0.12), rng.uniform(0.0, 6.28)
        reach = 1.6 * size
        top, bottom = max(0, int((y - reach) * height)), int((y + reach) * height) + 2
        left, right = max(0, int((x - reach) * height)), int((x + reach) * height) + 2
        part = (slice(top, bottom), slice(left, right))
        dy, dx = (rows[top:bottom] - y) / (size * stretch), (columns[:, left:right] - x) / size
        distance = np.hypot(dy, dx) * (1.0 + wobble * np.sin(2.0 * np.arctan2(dy, dx) + turn))
        cover = smoothstep(-distance, -1.12, -0.88)
        inside = cover > alpha[part]
        bulge = 5.0 * size * (1.0 + 0.8 * np.minimum(distance, 1.2) ** 2)  # stronger towards the rim
        map_y[part] = np.where(inside, y - dy * bulge, map_y[part])
        map_x[part] = np.where(inside, x - dx * bulge, map_x[part])
        shade[part] = np.where(inside, 1.08 - 0.42 * smoothstep(distance, 0.65, 1.1), shade[part])
        spot = 0.7 * np.exp(-(((dy + 0.45) ** 2 + (dx + 0.35) ** 2) / 0.03))
        glint[part] = np.where(inside, spot, glint[part])
        alpha[part] = np.maximum(alpha[part], cover)
    return map_x * height - 0.5, map_y * height - 0.5, 0.96 * alpha[..., None], shade[..., None], glint[..., None]
