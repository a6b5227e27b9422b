"""Objects of class void beside the road: roadworks, benches, bollards, planters, heaps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .shape_builder import VOID, Point, ShapeBuilder


# Slots of every shape here: 0 main colour, 1 second colour, 2 dark parts, 3 and 4 foliage.
def cone() -> ShapeBuilder:
    builder = ShapeBuilder(0.2, 0.2, 0.72)
    builder.box((0, 0, 0.02), (0.38, 0.38, 0.05), VOID, 2)
    for low, high, r, slot in ((0.04, 0.3, 0.14, 0), (0.3, 0.46, 0.095, 1), (0.46, 0.7, 0.055, 0)):
        builder.capsule((0, 0, low), (0, 0, high), r, VOID, slot, 1)
    return builder


def barrier() -> ShapeBuilder:
    """A striped plank across the direction of travel, on two feet."""
    builder = ShapeBuilder(0.25, 0.9, 1.0)
    for y in (-0.7, 0.7):
        builder.capsule((0, y, 0), (0, y, 0.95), 0.035, VOID, 2)
    stripes = 8
    for i in range(stripes):
        y0, y1 = -0.9 + 1.8 * i / stripes, -0.9 + 1.8 * (i + 1) / stripes
        plank = [(0.0, y0, 0.66), (0.0, y1, 0.66), (0.0, y1, 0.92), (0.0, y0, 0.92)]
        builder.polygon(plank, VOID, i % 2, 1, True)
    return builder


def bollard() -> ShapeBuilder:
    builder = ShapeBuilder(0.12, 0.12, 0.9)
    builder.capsule((0, 0, 0), (0, 0, 0.82), 0.07, VOID, 2)
    builder.capsule((0, 0, 0.66), (0, 0, 0.74), 0.075, VOID, 1, 1)
    return builder


def bench() -> ShapeBuilder:
    builder = ShapeBuilder(0.8, 0.3, 0.85)
    builder.box((0, 0, 0.42), (1.6, 0.45, 0.08), VOID, 0)
    builder.box((0, -0.22, 0.68), (1.6, 0.06, 0.3), VOID, 0)
    for x in (-0.7, 0.7):
        builder.capsule((x, 0, 0), (x, 0, 0.4), 0.05, VOID, 2)
    return builder


def hydrant() -> ShapeBuilder:
    builder = ShapeBuilder(0.2, 0.2, 0.8)
    builder.capsule((0, 0, 0), (0, 0, 0.68), 0.11, VOID, 0)
    builder.capsule((0, -0.18, 0.5), (0, 0.18, 0.5), 0.06, VOID, 0, 1)
    return builder


def planter() -> ShapeBuilder:
    builder = ShapeBuilder(0.5, 0.5, 1.1)
    builder.box((0, 0, 0.25), (0.95, 0.95, 0.5), VOID, 0)
    for i, (x, y, r) in enumerate(((-0.2, 0.15, 0.3), (0.22, 0.1, 0.26), (0.0, -0.2, 0.32), (0.05, 0.05, 0.3))):
        builder.capsule((x, y, 0.55), (x, y, 0.75), r, VOID, 3 + i % 2, 1)
    return builder


def column() -> ShapeBuilder:
    """An advertising column: an eight-sided pillar with posters and a roof."""
    builder = ShapeBuilder(0.7, 0.7, 3.3)
    corners = [(float(np.cos(a)), float(np.sin(a))) for a in np.arange(8) * np.pi / 4]
    for i, ((xa, ya), (xb, yb)) in enumerate(zip(corners, corners[1:] + corners[:1], strict=True)):
        builder.polygon(_wall((xa, ya), (xb, yb), 0.6, 0.0, 3.0), VOID, 2, 0)
        if i % 2 == 0:
            builder.polygon(_wall((xa, ya), (xb, yb), 0.61, 0.6, 2.6), VOID, (i // 2) % 2, 1)
        builder.polygon(_wall((xa, ya), (xb, yb), 0.7, 3.0, 3.25), VOID, 2, 0)
    return builder


def _wall(a: tuple[float, float], b: tuple[float, float], r: float, low: float, high: float) -> list[Point]:
    return [(r * x, r * y, z) for (x, y), z in ((a, low), (b, low), (b, high), (a, high))]


def shelter() -> ShapeBuilder:
    """A bus stop: roof, back wall, seat; it opens towards +y."""
    builder = ShapeBuilder(1.8, 0.8, 2.5)
    builder.box((0, 0, 2.4), (3.6, 1.5, 0.12), VOID, 2)
    builder.polygon([(-1.7, -0.7, 0.3), (1.7, -0.7, 0.3), (1.7, -0.7, 2.3), (-1.7, -0.7, 2.3)], VOID, 0, 0, True)
    builder.polygon([(1.7, -0.7, 0.3), (1.7, 0.2, 0.3), (1.7, 0.2, 2.3), (1.7, -0.7, 2.3)], VOID, 1, 1, True)
    for x in (-1.7, 1.7):
        for y in (-0.7, 0.65):
            builder.capsule((x, y, 0), (x, y, 2.35), 0.04, VOID, 2, 2)
    builder.box((0, -0.4, 0.45), (2.4, 0.4, 0.06), VOID, 2)
    return builder


def heap() -> ShapeBuilder:
    """Rubbish put out for collection: boxes and sacks."""
    builder = ShapeBuilder(0.9, 0.45, 0.8)
    builder.box((-0.5, 0.0, 0.25), (0.6, 0.5, 0.5), VOID, 0)
    builder.box((-0.45, 0.05, 0.62), (0.4, 0.35, 0.25), VOID, 1)
    for x, y, r in ((0.15, 0.05, 0.28), (0.55, -0.1, 0.25), (0.4, 0.2, 0.24)):
        builder.capsule((x, y, 0.15), (x, y, 0.35), r, VOID, 2, 1)
    return builder


CLUTTER: dict[str, Callable[[], ShapeBuilder]] = {
    build.__name__: build for build in (cone, barrier, bollard, bench, hydrant, planter, column, shelter, heap)
}
