"""Street furniture: traffic signs, trees, lamps and bins."""

from __future__ import annotations

import numpy as np

from .shape_builder import SIGN, VOID, Point, ShapeBuilder


# Sign slots: 0 pole, 1 plate, 2 inner plate, 3 symbol.
def sign(kind: str) -> ShapeBuilder:
    builder = ShapeBuilder(0.4, 0.4, 2.9)
    builder.capsule((0, 0, 0), (0, 0, 2.5), 0.045, VOID, 0, 0)
    z = 2.25
    base, _, facing = kind.partition("_")
    if base == "disc":
        builder.disc((0, 0, z), 0.42, SIGN, 1, 1, facing, 18)
        builder.disc((0, 0, z), 0.29, SIGN, 2, 2, facing, 16)
        plan = [(-0.15, -0.05), (0.15, -0.05), (0.15, 0.05), (-0.15, 0.05)]
    elif base == "triangle":
        plan = [(-0.48, -0.36), (0.48, -0.36), (0.0, 0.47)]
        builder.polygon([_plate(u, w + z, facing) for u, w in plan], SIGN, 1, 1, True)
        builder.polygon([_plate(0.6 * u, 0.6 * w + z - 0.03, facing) for u, w in plan], SIGN, 2, 2, True)
        plan = [(-0.03, -0.14), (0.03, -0.14), (0.03, 0.1), (-0.03, 0.1)]
    else:
        wide, high = (0.36, 0.46) if base == "panel" else (0.75, 0.42)
        for k, (slot, layer) in zip((1.0, 0.88), ((2, 1), (1, 2)), strict=True):
            plan = [(-wide * k, -high * k), (wide * k, -high * k), (wide * k, high * k), (-wide * k, high * k)]
            builder.polygon([_plate(u, w + z, facing) for u, w in plan], SIGN, slot, layer, True)
        plan = [(-0.12, -0.25), (0.12, -0.25), (0.12, 0.25), (-0.12, 0.25)]
    builder.polygon([_plate(u, w + z, facing) for u, w in plan], SIGN, 3, 3, True)
    return builder


def _plate(u: float, z: float, facing: str) -> Point:
    return (0.0, u, z) if facing == "x" else (u, 0.0, z)


# Tree slots: 0 trunk, 1..3 foliage from dark to light.
def tree(kind: int) -> ShapeBuilder:
    rng = np.random.default_rng([77, kind])
    height = float(rng.uniform(4.5, 7.0))
    builder = ShapeBuilder(0.6, 0.6, height)
    builder.capsule((0, 0, 0), (0, 0, height * 0.6), 0.13, VOID, 0, 0)
    for i in range(9):
        a, r = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.2)
        z = rng.uniform(0.52, 0.95) * height
        x, y = float(r * np.cos(a)), float(r * np.sin(a))
        builder.capsule((x, y, z), (x, y, z + 0.2), float(rng.uniform(0.55, 1.0)), VOID, 1 + i // 3, 1 + i // 3)
    return builder


def lamp() -> ShapeBuilder:
    builder = ShapeBuilder(0.3, 0.3, 7.0)
    builder.capsule((0, 0, 0), (0, 0, 7.0), 0.08, VOID, 0)
    builder.capsule((0, 0, 7.0), (0, 1.8, 7.3), 0.06, VOID, 0)
    return builder


def bin_() -> ShapeBuilder:
    builder = ShapeBuilder(0.3, 0.3, 1.0)
    builder.box((0, 0, 0.5), (0.5, 0.55, 1.0), VOID, 0)
    return builder
