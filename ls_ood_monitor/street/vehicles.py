"""Cars, vans and buses: a side profile extruded across, with windows, wheels and lights."""

from __future__ import annotations

from itertools import pairwise

from .shape_builder import VEHICLE, Point, ShapeBuilder

# Palette slots of a vehicle: 0 body, 1 glass, 2 tyre, 3 rim, 4 tail light, 5 head light, 6 dark trim, 7 number plate.
PROFILES: dict[str, tuple[float, float, list[tuple[float, float]], int, int, float]] = {
    # half length, half width, outline (x, z) from the rear bottom over the roof to the front bottom,
    # index of the rear and of the front screen segment, belt line
    "sedan": (2.25, 0.90, [(-2.2, 0.3), (-2.25, 0.9), (-1.6, 0.98), (-0.95, 1.42), (0.45, 1.44), (1.15, 0.98),
                           (2.15, 0.8), (2.25, 0.35)], 2, 4, 0.96),
    "hatch": (1.95, 0.86, [(-1.9, 0.3), (-1.95, 0.95), (-1.6, 1.45), (-0.9, 1.53), (0.5, 1.5), (1.1, 1.0),
                           (1.85, 0.82), (1.95, 0.35)], 1, 4, 0.98),
    "suv": (2.3, 0.95, [(-2.25, 0.38), (-2.3, 1.05), (-2.0, 1.65), (-1.2, 1.75), (0.45, 1.72), (1.05, 1.15),
                        (2.2, 1.02), (2.3, 0.42)], 1, 4, 1.12),
    "van": (2.6, 1.0, [(-2.6, 0.35), (-2.6, 1.1), (-2.55, 2.05), (-2.3, 2.1), (1.2, 2.1), (1.95, 1.2),
                       (2.5, 1.0), (2.6, 0.4)], 1, 4, 1.2),
    "bus": (5.2, 1.22, [(-5.2, 0.4), (-5.2, 1.1), (-5.15, 2.85), (-5.0, 2.95), (4.9, 2.95), (5.12, 2.85),
                        (5.2, 1.0), (5.2, 0.4)], 1, 5, 1.2),
}  # fmt: skip
_POSTS = {"bus": (0.0, 0.16, 0.33, 0.5, 0.66, 0.83, 1.0), "van": (0.62, 1.0)}  # shares of the cabin's length


def vehicle(kind: str) -> ShapeBuilder:
    """A vehicle of one of the ``PROFILES``."""
    half_length, half_width, outline, *_ = PROFILES[kind]
    builder = ShapeBuilder(half_length, half_width, max(z for _, z in outline))
    _body(builder, kind)
    _wheels(builder, {"bus": 0.48, "van": 0.37}.get(kind, 0.34))
    _lights(builder, outline[-2][1] - 0.16, outline[1][1] - 0.18)
    return builder


def _at(builder: ShapeBuilder, kind: str, x: float, z: float, side: int) -> Point:
    """A point of the flank; above the belt line the body narrows towards the roof."""
    belt = PROFILES[kind][5]
    narrowing = 0.06 if kind in ("van", "bus") else 0.2
    inset = narrowing * max(0.0, (z - belt) / (builder.height - belt))
    return (x, side * (builder.half_width - inset), z)


def _facing_out(points: list[Point], side: int) -> list[Point]:
    return points if side == 1 else points[::-1]


def _body(builder: ShapeBuilder, kind: str) -> None:
    length, width, outline, rear, front, _ = PROFILES[kind]
    for i, ((xa, za), (xb, zb)) in enumerate(pairwise(outline)):
        ends = ((xb, zb, -1), (xb, zb, 1), (xa, za, 1), (xa, za, -1))
        quad = [_at(builder, kind, x, z, side) for x, z, side in ends]
        builder.polygon(quad, VEHICLE, 0)
        if i in (rear, front):
            rim = 0.06 if zb > za else -0.06
            heights = (zb - rim, zb - rim, za + rim, za + rim)
            middle = (xa + xb) / 2
            screen = [(0.92 * (0.9 * x + 0.1 * middle) + 0.08 * x, 0.86 * y, z)
                      for (x, y, _), z in zip(quad, heights, strict=True)]  # fmt: skip
            builder.polygon(screen, VEHICLE, 1, 1)
    for side in (1, -1):
        flank = [_at(builder, kind, x, z, side) for x, z in outline]
        builder.polygon(_facing_out(flank, side), VEHICLE, 0)
        sill = ((-length + 0.1, 0.32), (-length + 0.1, 0.45), (length - 0.1, 0.45), (length - 0.1, 0.36))
        builder.polygon(_facing_out([(x, side * (width + 0.005), z) for x, z in sill], side), VEHICLE, 6, 1)
        _side_windows(builder, kind, side)


def _side_windows(builder: ShapeBuilder, kind: str, side: int) -> None:
    _, _, outline, rear, front, belt = PROFILES[kind]
    (roof_rear, z_rear), (roof_front, z_front) = outline[rear + 1], outline[front]
    base_rear, base_front = outline[rear][0], outline[front + 1][0]
    low, high = belt + 0.02, min(z_rear, z_front) - 0.08 if kind == "hatch" else builder.height - 0.12
    for p, q in pairwise(_POSTS.get(kind, (0.0, 0.48, 1.0))):
        base = [(base_rear + 0.12) + k * (base_front - base_rear - 0.24) + gap for k, gap in ((p, 0.03), (q, -0.03))]
        roof = [(roof_rear + 0.12) + k * (roof_front - roof_rear - 0.2) + gap for k, gap in ((p, 0.03), (q, -0.03))]
        corners = ((base[0], low), (roof[0], high), (roof[1], high), (base[1], low))
        pane = [_at(builder, kind, x, z, side) for x, z in corners]
        builder.polygon(_facing_out([(x, y + side * 0.01, z) for x, y, z in pane], side), VEHICLE, 1, 1)


def _wheels(builder: ShapeBuilder, r: float) -> None:
    width = builder.half_width
    for x in (-0.62 * builder.half_length, 0.64 * builder.half_length):
        for side in (1, -1):
            facing = "+y" if side == 1 else "-y"
            builder.disc((x, side * (width + 0.012), r), r + 0.06, VEHICLE, 6, 2, facing)
            builder.disc((x, side * (width + 0.015), r), r, VEHICLE, 2, 3, facing)
            builder.disc((x, side * (width + 0.018), r), 0.62 * r, VEHICLE, 3, 4, facing, 10)
            y0, y1 = sorted((side * width, side * (width - 0.22)))
            for tread in (x + r * 0.8, x - r * 0.8):
                builder.polygon([(tread, y0, 0), (tread, y1, 0), (tread, y1, r), (tread, y0, r)], VEHICLE, 2, -1, True)


def _lights(builder: ShapeBuilder, z_front: float, z_rear: float) -> None:
    ends = builder.half_length + 0.02
    for side in (1, -1):
        for x, slot, z in ((ends, 5, z_front), (-ends, 4, z_rear)):
            y0, y1 = sorted((side * 0.58 * builder.half_width, side * 0.95 * builder.half_width))
            lamp = [(x, y0, z), (x, y1, z), (x, y1, z + 0.15), (x, y0, z + 0.15)]
            builder.polygon(lamp if x > 0 else lamp[::-1], VEHICLE, slot, 2)
    for x, z in ((ends, 0.45), (-ends, 0.55)):
        plate = [(x, -0.26, z), (x, 0.26, z), (x, 0.26, z + 0.12), (x, -0.26, z + 0.12)]
        builder.polygon(plate if x > 0 else plate[::-1], VEHICLE, 7, 2)
