"""Cars, vans and buses: a side profile extruded across, with windows, wheels and lights."""

from __future__ import annotations

import numpy as np

from .models import VEHICLE, Model

# Palette slots of a vehicle: 0 body, 1 glass, 2 tyre, 3 rim, 4 tail light, 5 head light, 6 dark trim.
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


def vehicle(kind: str) -> Model:
    length, width, outline, rear, front, belt = PROFILES[kind]
    top = max(z for _, z in outline)
    model = Model(length, width, top)
    roof_narrowing = 0.06 if kind in ("van", "bus") else 0.2

    def at(x: float, z: float, side: int) -> tuple[float, float, float]:
        inset = roof_narrowing * max(0.0, (z - belt) / (top - belt))
        return (x, side * (width - inset), z)

    for i, ((xa, za), (xb, zb)) in enumerate(zip(outline, outline[1:], strict=False)):
        quad = [at(xb, zb, -1), at(xb, zb, 1), at(xa, za, 1), at(xa, za, -1)]
        model.polygon(quad, VEHICLE, 0, 0)
        if i in (rear, front):
            inner = [(0.92 * (0.9 * q[0] + 0.1 * (xa + xb) / 2) + 0.08 * q[0], 0.86 * q[1], z) for q, z in
                     zip(quad, (zb - 0.06 * np.sign(zb - za), zb - 0.06 * np.sign(zb - za),
                                za + 0.06 * np.sign(zb - za), za + 0.06 * np.sign(zb - za)), strict=True)]
            model.polygon([(float(x), float(y), float(z)) for x, y, z in inner], VEHICLE, 1, 1)
    for side in (1, -1):
        flank = [at(x, z, side) for x, z in outline]
        model.polygon(flank if side == 1 else flank[::-1], VEHICLE, 0, 0)
        sill = [(-length + 0.1, 0.32), (-length + 0.1, 0.45), (length - 0.1, 0.45), (length - 0.1, 0.36)]
        band = [(x, side * (width + 0.005), z) for x, z in sill]
        model.polygon(band if side == 1 else band[::-1], VEHICLE, 6, 1)
        (xa, za), (xb, zb) = outline[rear + (1 if kind == "sedan" else 1)], outline[front]
        base_a, base_b = outline[rear][0], outline[front + 1][0]
        posts = [0.0, 0.48, 1.0] if kind != "bus" else [0.0, 0.16, 0.33, 0.5, 0.66, 0.83, 1.0]
        if kind == "van":
            posts = [0.62, 1.0]
        for p, q in zip(posts, posts[1:], strict=False):
            lo = (base_a + 0.12) + np.array([p, q]) * (base_b - base_a - 0.24) + np.array([0.03, -0.03])
            hi = (xa + 0.12) + np.array([p, q]) * (xb - xa - 0.2) + np.array([0.03, -0.03])
            z_low, z_high = belt + 0.02, min(za, zb) - 0.08 if kind == "hatch" else top - 0.12
            pane = [at(lo[0], z_low, side), at(hi[0], z_high, side), at(hi[1], z_high, side), at(lo[1], z_low, side)]
            pane = [(float(x), float(y + side * 0.01), float(z)) for x, y, z in pane]
            model.polygon(pane if side == 1 else pane[::-1], VEHICLE, 1, 1)
    r = 0.34 if kind not in ("bus", "van") else (0.48 if kind == "bus" else 0.37)
    for x in (-0.62 * length, 0.64 * length):
        for side in (1, -1):
            facing = "+y" if side == 1 else "-y"
            model.disc((x, side * (width + 0.012), r), r + 0.06, VEHICLE, 6, 2, facing)
            model.disc((x, side * (width + 0.015), r), r, VEHICLE, 2, 3, facing)
            model.disc((x, side * (width + 0.018), r), 0.62 * r, VEHICLE, 3, 4, facing, 10)
            y0, y1 = sorted((side * width, side * (width - 0.22)))
            model.polygon([(x + r * 0.8, y0, 0), (x + r * 0.8, y1, 0), (x + r * 0.8, y1, r), (x + r * 0.8, y0, r)],
                          VEHICLE, 2, -1, True)
            model.polygon([(x - r * 0.8, y0, 0), (x - r * 0.8, y1, 0), (x - r * 0.8, y1, r), (x - r * 0.8, y0, r)],
                          VEHICLE, 2, -1, True)
    for side in (1, -1):
        for x, slot, z in ((length + 0.02, 5, outline[-2][1] - 0.16), (-length - 0.02, 4, outline[1][1] - 0.18)):
            y0, y1 = sorted((side * 0.58 * width, side * 0.95 * width))
            quad = [(x, y0, z), (x, y1, z), (x, y1, z + 0.15), (x, y0, z + 0.15)]
            model.polygon(quad if x > 0 else quad[::-1], VEHICLE, slot, 2)
    for x, z in ((length + 0.02, 0.45), (-length - 0.02, 0.55)):
        plate = [(x, -0.26, z), (x, 0.26, z), (x, 0.26, z + 0.12), (x, -0.26, z + 0.12)]
        model.polygon(plate if x > 0 else plate[::-1], VEHICLE, 7, 2)
    return model
