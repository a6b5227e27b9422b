"""Tileable textures: ground materials and the two rows of facades.

Each texture is kept at several levels of blur along the street (stacked downwards), because far away a pixel
covers metres along the street but only decimetres across it.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .plan import Plan

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Pixels = NDArray[np.integer | np.floating]

GROUND_SCALE = 20.0  # texels per metre
GROUND_WIDTH = 1024
GROUND_TILE = 128
GROUND_LEVELS = 5
MATERIALS = ("asphalt", "pavement", "curb", "grass")
FACADE_SCALE = 6.0
FACADE_WIDTH = 2048
FACADE_ROWS = 140  # 23 m
FACADE_LEVELS = 4
_PAD = 2


def ground_row(material: NDArray[np.integer], level: NDArray[np.integer], y: Floats) -> Floats:
    """Row in the ground atlas of lateral position ``y`` (m)."""
    tile = material * GROUND_LEVELS + level
    return np.asarray(tile * (GROUND_TILE + 2 * _PAD) + _PAD + np.mod(y * GROUND_SCALE, GROUND_TILE), np.float32)


def facade_row(side: NDArray[np.integer], level: NDArray[np.integer], z: Floats) -> Floats:
    """Row in the facade atlas of height ``z`` (m) on side 0 (right) or 1 (left)."""
    tile = side * FACADE_LEVELS + level
    row = np.clip(FACADE_ROWS - 1 - z * FACADE_SCALE, 0, FACADE_ROWS - 1)
    return np.asarray(tile * (FACADE_ROWS + 2 * _PAD) + _PAD + row, np.float32)


def _wrap_blur(image: Pixels, sigma_x: float, sigma_y: float, wrap_rows: bool) -> Pixels:
    pad = int(3 * sigma_x + 2)
    image = cv2.copyMakeBorder(image, 0, 0, pad, pad, cv2.BORDER_WRAP)
    if wrap_rows:
        image = cv2.copyMakeBorder(image, pad, pad, 0, 0, cv2.BORDER_WRAP)
    image = cv2.GaussianBlur(image, (0, 0), sigma_x, sigmaY=max(sigma_y, 0.05), borderType=cv2.BORDER_REPLICATE)
    return image[pad:-pad, pad:-pad] if wrap_rows else image[:, pad:-pad]


@lru_cache(maxsize=1)
def noise_tiles() -> Floats:
    """Unit-contrast tileable noise (3, GROUND_TILE, GROUND_WIDTH): fine grain, patches, stains."""
    rng = np.random.default_rng(20_19)
    tiles = []
    for sigma in (0.5, 2.5, 11.0):
        tile = _wrap_blur(rng.normal(size=(GROUND_TILE, GROUND_WIDTH)).astype(np.float32), sigma, sigma, True)
        tiles.append(tile / tile.std())
    return np.stack(tiles).astype(np.float32)


@lru_cache(maxsize=1)
def sensor_noise() -> NDArray[np.int16]:
    """A pool of unit Gaussian noise (x 64), (1400, 1800, 3); frames take crops of it."""
    rng = np.random.default_rng(33)
    luma = rng.normal(size=(1400, 1800, 1)).astype(np.float32)
    chroma = rng.normal(size=(1400, 1800, 3)).astype(np.float32)
    return np.round(64 * (0.75 * luma + 0.65 * chroma)).astype(np.int16)


def _stack(tiles: list[Bytes]) -> Bytes:
    return np.concatenate([cv2.copyMakeBorder(t, _PAD, _PAD, 0, 0, cv2.BORDER_REPLICATE) for t in tiles])


def ground_atlas(plan: Plan) -> Bytes:
    """BGR atlas of the ground materials in the drive's palette."""
    rng = np.random.default_rng([0x91, plan.seed])
    fine, patch, stain = (np.roll(n, int(rng.integers(GROUND_WIDTH)), axis=1) for n in noise_tiles())
    tiles: list[Bytes] = []
    for name in MATERIALS:
        base = np.array(getattr(plan, name), np.float32)
        amount = {"asphalt": (0.075, 0.03, 0.03), "pavement": (0.04, 0.03, 0.04), "curb": (0.04, 0.03, 0.03),
                  "grass": (0.13, 0.12, 0.10)}[name]  # fmt: skip
        tone = 1.0 + amount[0] * fine + amount[1] * patch + amount[2] * stain
        if name == "pavement" and rng.uniform() < 0.7:
            slab = 2 ** int(np.round(np.log2(2 * rng.integers(8, 17))))  # a power of two tiles without a seam
            tone[::slab] *= 0.8
            tone[:, ::slab] *= 0.8
        if name == "curb":
            tone[:, ::32] *= 0.65
        if name == "asphalt":
            for _ in range(int(rng.integers(4, 14))):  # repair patches
                x, y = int(rng.integers(GROUND_WIDTH)), int(rng.integers(GROUND_TILE))
                tone[y : y + int(rng.integers(12, 40)), x : x + int(rng.integers(20, 120))] *= rng.uniform(0.82, 1.1)
        picture = np.clip(base * tone[..., None], 0, 255).astype(np.uint8)
        if name == "asphalt":
            _wear(rng, picture)
        if name in ("asphalt", "pavement"):
            _litter(rng, picture, plan)
        tiles += [
            np.asarray(_wrap_blur(picture, 0.45 * 2**k, 0.3 * 1.6**k, True), np.uint8) for k in range(GROUND_LEVELS)
        ]
    return _stack(tiles)


def _wear(rng: np.random.Generator, asphalt: Bytes) -> None:
    """Manhole covers, cracks and oil stains."""
    base = np.median(asphalt.reshape(-1, 3), axis=0)
    for _ in range(int(rng.integers(0, 4))):
        centre = (int(rng.integers(20, GROUND_WIDTH - 20)), int(rng.integers(10, GROUND_TILE - 10)))
        cv2.circle(asphalt, centre, 6, (0.62 * base).tolist(), -1, cv2.LINE_AA)
        cv2.circle(asphalt, centre, 6, (1.2 * base).tolist(), 1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 12))):
        steps = rng.normal(0, (9, 4) if rng.uniform() < 0.6 else (3, 8), (10, 2)).cumsum(axis=0)
        crack = np.round(steps + rng.uniform((0, 0), (GROUND_WIDTH, GROUND_TILE))).astype(np.int32)
        cv2.polylines(asphalt, [crack], False, (0.6 * base).tolist(), 1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 6))):
        centre = (int(rng.integers(GROUND_WIDTH)), int(rng.integers(GROUND_TILE)))
        axes = (int(rng.integers(4, 16)), int(rng.integers(2, 7)))
        cv2.ellipse(asphalt, centre, axes, 0, 0, 360, (rng.uniform(0.7, 0.9) * base).tolist(), -1, cv2.LINE_AA)


def _litter(rng: np.random.Generator, ground: Bytes, plan: Plan) -> None:
    """Fallen leaves and scraps of paper."""
    count = int(rng.integers(0, 250))
    colours = np.array([np.array(plan.grass) * 0.8, (40, 110, 160), (35, 75, 120), (205, 210, 212)])
    rows, columns = rng.integers(0, GROUND_TILE - 1, count), rng.integers(0, GROUND_WIDTH - 2, count)
    for row, column, pick in zip(rows, columns, rng.choice(4, count, p=[0.3, 0.35, 0.25, 0.1]), strict=True):
        ground[row : row + 2, column : column + 2] = np.clip(colours[pick], 0, 255)


def facade_atlas(plan: Plan) -> Bytes:
    """Premultiplied BGRA atlas of both building rows; alpha 0 is open sky."""
    rng = np.random.default_rng([0x92, plan.seed])
    tiles: list[Bytes] = []
    for _side in range(2):
        strip = _facade_strip(plan, rng)
        tiles += [
            np.asarray(_wrap_blur(strip, 0.4 * 2**k, 0.4 * 1.5**k, False), np.uint8) for k in range(FACADE_LEVELS)
        ]
    return _stack(tiles)


def _facade_strip(plan: Plan, rng: np.random.Generator) -> Bytes:
    strip = np.zeros((FACADE_ROWS, FACADE_WIDTH, 4), np.uint8)
    hedge = tuple(0.8 * c for c in plan.grass)
    x = 0
    while x < FACADE_WIDTH:
        width = int(FACADE_SCALE * rng.uniform(8, 18))
        x_end = FACADE_WIDTH if x + width + 40 > FACADE_WIDTH else x + width
        if rng.uniform() < plan.house_gaps:
            height = int(FACADE_SCALE * rng.uniform(1.0, 2.6))
            strip[-height:, x:x_end] = (*hedge, 255)
            mottle = rng.uniform(0.75, 1.15, (height, x_end - x, 1))
            strip[-height:, x:x_end, :3] = np.clip(strip[-height:, x:x_end, :3] * mottle, 0, 255)
        else:
            _building(plan, rng, strip[:, x:x_end])
        x = x_end
    return strip


def _building(plan: Plan, rng: np.random.Generator, view: NDArray[np.uint8]) -> None:
    height = int(FACADE_SCALE * np.clip(plan.building_height * rng.uniform(0.75, 1.25), 4.0, 22.0))
    width = view.shape[1]
    wall = np.array(plan.facades[int(rng.integers(len(plan.facades)))]) * rng.uniform(0.85, 1.1)
    top = FACADE_ROWS - height
    view[top:] = (*np.clip(wall, 0, 255), 255)
    mottle = cv2.resize(rng.normal(1.0, 0.05, (height // 6 + 2, width // 6 + 2)).astype(np.float32), (width, height))
    view[top:, :, :3] = np.clip(view[top:, :, :3] * mottle[..., None], 0, 255)
    view[top : top + 3, :, :3] = np.clip(wall * 0.7, 0, 255)  # cornice
    storey = int(FACADE_SCALE * rng.uniform(2.8, 3.5))
    pitch = int(FACADE_SCALE * rng.uniform(1.8, 3.2))
    w, h = int(pitch * rng.uniform(0.4, 0.7)), int(storey * rng.uniform(0.4, 0.6))
    glass = np.array((95, 80, 66)) * rng.uniform(0.6, 1.3)
    frame = np.clip(wall * rng.uniform(1.1, 1.35), 0, 250)
    ground_floor = FACADE_ROWS - storey
    for row in range(ground_floor - storey + (storey - h) // 2, top + 4, -storey):
        for col in range((pitch - w) // 2, width - w, pitch):
            view[row - 1 : row + h + 1, max(col - 1, 0) : col + w + 1, :3] = frame
            view[row : row + h, col : col + w, :3] = np.clip(glass * rng.uniform(0.75, 1.35), 0, 255)
    if rng.uniform() < 0.6:  # shops
        view[ground_floor : ground_floor + 3, :, :3] = rng.integers(40, 200, 3)
        view[ground_floor + 4 : -3, 3:-3, :3] = np.clip(glass * 0.9, 0, 255)
        for col in range(pitch, width - 4, pitch * 2):
            view[ground_floor + 4 : -1, col : col + 3, :3] = np.clip(wall * 0.8, 0, 255)
    else:
        door = int(rng.integers(4, max(width - 10, 5)))
        view[-13:, door : door + 6, :3] = np.clip(wall * 0.45, 0, 255)
        for col in range((pitch - w) // 2, width - w, pitch):
            view[ground_floor + 5 : ground_floor + 5 + h, col : col + w, :3] = np.clip(glass, 0, 255)
    view[:, :1, :3] = view[:, :1, :3] // 2
