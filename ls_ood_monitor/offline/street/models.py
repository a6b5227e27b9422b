"""Shapes of the things in the street: flat polygons and capsules, tagged with class, colour slot and layer.

A capsule (two joints and a radius) always shows its full width to the camera, so limbs, tubes, poles and tree
crowns need no side faces. Polygons have their edges subdivided, because straight edges are curves in a fisheye.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...core.classes import CLASS_NAMES

Floats = NDArray[np.float32]
VOID, PERSON, RIDER, VEHICLE, BICYCLE, MOTORCYCLE, SIGN = (
    CLASS_NAMES.index(n) for n in ("void", "person", "rider", "vehicles", "bicycle", "motorcycle", "traffic_sign")
)
_MAX_EDGE = 0.6  # m; the longest straight piece of an outline
_CAPSULE_ARC = np.radians([-90, -40, 0, 40, 90])


@dataclass
class Model:
    """One shape in its own frame (x forward, y left, z up, origin on the ground below the centre), metres.

    Colour slots index the palette of the placed thing. Layers are drawn in ascending order within the shape.
    """

    half_length: float
    half_width: float
    height: float
    polygons: list[Floats] = field(default_factory=list)
    polygon_tags: list[tuple[int, int, int, bool]] = field(default_factory=list)  # class, slot, layer, two-sided
    capsules: list[tuple[float, ...]] = field(default_factory=list)  # x0 y0 z0 x1 y1 z1 radius
    capsule_tags: list[tuple[int, int, int]] = field(default_factory=list)  # class, slot, layer

    def polygon(
        self, points: list[tuple[float, float, float]], cls: int, slot: int, layer: int = 0, both: bool = False
    ) -> None:
        """Add a flat polygon whose corners run counter-clockwise seen from outside; ``both`` shows its back too."""
        pieces = []
        corners = np.array(points, dtype=np.float32)
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            steps = max(1, int(np.ceil(np.linalg.norm(b - a) / _MAX_EDGE)))
            pieces.append(a + (b - a) * (np.arange(steps, dtype=np.float32) / steps)[:, None])
        self.polygons.append(np.concatenate(pieces))
        self.polygon_tags.append((cls, slot, layer, both))

    def box(self, centre: tuple[float, float, float], size: tuple[float, float, float], cls: int, slot: int) -> None:
        """Add the five upper faces of an upright box."""
        (cx, cy, cz), (a, b, c) = centre, (size[0] / 2, size[1] / 2, size[2] / 2)
        x0, x1, y0, y1, z0, z1 = cx - a, cx + a, cy - b, cy + b, cz - c, cz + c
        self.polygon([(x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)], cls, slot)
        self.polygon([(x0, y1, z0), (x0, y0, z0), (x0, y0, z1), (x0, y1, z1)], cls, slot)
        self.polygon([(x1, y1, z0), (x0, y1, z0), (x0, y1, z1), (x1, y1, z1)], cls, slot)
        self.polygon([(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)], cls, slot)
        self.polygon([(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)], cls, slot)

    def disc(
        self, centre: tuple[float, float, float], r: float, cls: int, slot: int, layer: int, facing: str, sides: int = 14
    ) -> None:
        """Add a regular polygon facing +y, -y, x (both ways) or y (both ways)."""
        turn = np.linspace(0, 2 * np.pi, sides, endpoint=False) + np.pi / sides
        if facing == "-y":
            turn = -turn
        x, y, z = centre
        if facing == "x":
            points = [(x, y + r * np.cos(a), z + r * np.sin(a)) for a in turn]
        else:
            points = [(x - r * np.cos(a), y, z + r * np.sin(a)) for a in turn]
        self.polygon(points, cls, slot, layer, both=facing in "xy")

    def capsule(
        self, a: tuple[float, float, float], b: tuple[float, float, float], r: float, cls: int, slot: int, layer: int = 0
    ) -> None:
        """Add a rounded bar from joint ``a`` to joint ``b``."""
        self.capsules.append((*a, *b, r))
        self.capsule_tags.append((cls, slot, layer))


@dataclass(frozen=True)
class Shape:
    """A model as arrays: vertices (V, 3), polygon starts (P,), normals and centres (P, 3), tags; capsules (K, 7)."""

    extent: tuple[float, float, float]
    vertices: Floats
    sizes: NDArray[np.int64]
    normals: Floats
    centres: Floats
    tags: NDArray[np.int64]
    capsules: Floats
    capsule_tags: NDArray[np.int64]


def _freeze(model: Model) -> Shape:
    normals, centres = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)
    if model.polygons:
        newell = [np.cross(p, np.roll(p, -1, axis=0)).sum(axis=0) for p in model.polygons]
        normals = np.array([n / max(float(np.linalg.norm(n)), 1e-9) for n in newell], np.float32)
        centres = np.array([p.mean(axis=0) for p in model.polygons], np.float32)
    return Shape(
        extent=(model.half_length, model.half_width, model.height),
        vertices=np.concatenate(model.polygons) if model.polygons else np.zeros((0, 3), np.float32),
        sizes=np.array([len(p) for p in model.polygons], np.int64),
        normals=normals,
        centres=centres,
        tags=np.array(model.polygon_tags, np.int64).reshape(-1, 4),
        capsules=np.array(model.capsules, np.float32).reshape(-1, 7),
        capsule_tags=np.array(model.capsule_tags, np.int64).reshape(-1, 3),
    )


def capsule_outline(ends: Floats, radii: Floats) -> Floats:
    """Outlines (K, 10, 3) of capsules with joints ``ends`` (K, 2, 3), seen from the origin."""
    a, b = ends[:, 0], ends[:, 1]
    view = (a + b) / 2
    axis = b - a + 1e-6
    side = np.cross(axis, view)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    along = np.cross(view, side)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    along *= np.sign((along * axis).sum(axis=1, keepdims=True) + 1e-12)
    s, c = np.sin(_CAPSULE_ARC)[None, :, None], np.cos(_CAPSULE_ARC)[None, :, None]
    r = radii[:, None, None]
    cap_b = b[:, None] + r * (s * side[:, None] + c * along[:, None])
    cap_a = a[:, None] - r * (s * side[:, None] + c * along[:, None])
    return np.concatenate([cap_b, cap_a], axis=1).astype(np.float32)


# ------------------------------------------------------------------------------------------------ vehicles
# Palette slots of a vehicle: 0 body, 1 glass, 2 tyre, 3 rim, 4 tail light, 5 head light, 6 dark trim.
_PROFILES: dict[str, tuple[float, float, list[tuple[float, float]], int, int, float]] = {
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


def _vehicle(kind: str) -> Model:
    length, width, outline, rear, front, belt = _PROFILES[kind]
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


# ----------------------------------------------------------------------------------------- people and machines
# Palette slots of a person: 0 skin, 1 jacket, 2 trousers, 3 hair or helmet, 4 shoes.
def _pedestrian(phase: int) -> Model:
    swing = (0.26, 0.08, -0.26, -0.08)[phase]
    model = Model(0.3, 0.28, 1.78)
    for side in (1, -1):
        foot = side * swing
        model.capsule((foot, side * 0.09, 0.1), (foot * 0.55 + 0.04, side * 0.09, 0.5), 0.085, PERSON, 2)
        model.capsule((foot * 0.55 + 0.04, side * 0.09, 0.5), (0, side * 0.09, 0.92), 0.105, PERSON, 2)
        model.capsule((foot - 0.03, side * 0.09, 0.06), (foot + 0.12, side * 0.09, 0.06), 0.06, PERSON, 4)
        model.capsule((0, side * 0.24, 1.38), (-foot * 0.8, side * 0.27, 0.98), 0.068, PERSON, 1)
        model.capsule((-foot * 0.8, side * 0.27, 0.95), (-foot * 0.8 + 0.02, side * 0.27, 0.88), 0.05, PERSON, 0, 1)
    model.capsule((0, 0.09, 1.0), (0, 0.12, 1.36), 0.145, PERSON, 1)
    model.capsule((0, -0.09, 1.0), (0, -0.12, 1.36), 0.145, PERSON, 1)
    model.capsule((0.02, 0, 1.56), (0.02, 0, 1.66), 0.105, PERSON, 0, 1)
    model.capsule((-0.02, 0, 1.67), (-0.01, 0, 1.70), 0.11, PERSON, 3, 2)
    return model


def _wheel(model: Model, x: float, r: float, width: float, cls: int, rim_slot: int) -> None:
    model.disc((x, 0, r), r, cls, 5, 0, "y", 16)
    model.disc((x, 0, r), r * (0.8 if cls == BICYCLE else 0.55), cls, rim_slot, 1, "y", 12)
    model.capsule((x, 0, width), (x, 0, 2 * r - width), width, cls, 5, 0)


# Machine slots: 5 tyre, 6 rim, 7 frame or tank, 8 saddle and engine, 9 lamp. Rider slots as a person's.
def _bicycle(model: Model) -> None:
    for x in (-0.52, 0.54):
        _wheel(model, x, 0.35, 0.03, BICYCLE, 6)
    joints = {"rear": (-0.52, 0, 0.35), "crank": (-0.05, 0, 0.32), "seat": (-0.2, 0, 0.86), "head": (0.38, 0, 0.86),
              "front": (0.54, 0, 0.35), "bar": (0.34, 0, 1.02)}  # fmt: skip
    for a, b in (("rear", "crank"), ("rear", "seat"), ("crank", "seat"), ("crank", "head"), ("seat", "head"),
                 ("head", "front"), ("head", "bar")):  # fmt: skip
        model.capsule(joints[a], joints[b], 0.035, BICYCLE, 7, 2)
    model.capsule((-0.32, 0, 0.93), (-0.1, 0, 0.93), 0.055, BICYCLE, 8, 2)
    model.capsule((0.34, -0.28, 1.03), (0.34, 0.28, 1.03), 0.032, BICYCLE, 8, 2)


def _motorcycle(model: Model) -> None:
    for x in (-0.68, 0.72):
        _wheel(model, x, 0.33, 0.09, MOTORCYCLE, 6)
    model.capsule((-0.4, 0, 0.48), (0.32, 0, 0.46), 0.22, MOTORCYCLE, 8, 2)
    model.capsule((-0.85, 0, 0.82), (-0.2, 0, 0.78), 0.13, MOTORCYCLE, 8, 2)
    model.capsule((0.02, 0, 0.86), (0.36, 0, 0.88), 0.19, MOTORCYCLE, 7, 3)
    model.capsule((0.5, 0, 0.95), (0.72, 0, 0.35), 0.075, MOTORCYCLE, 6, 2)
    model.capsule((-0.75, -0.17, 0.36), (-0.1, -0.17, 0.32), 0.065, MOTORCYCLE, 6, 3)
    model.capsule((0.58, 0, 0.62), (0.84, 0, 0.68), 0.11, MOTORCYCLE, 7, 2)
    model.capsule((0.44, -0.36, 1.08), (0.44, 0.36, 1.08), 0.045, MOTORCYCLE, 8, 3)
    model.capsule((0.55, 0, 0.98), (0.62, 0, 0.98), 0.13, MOTORCYCLE, 9, 3)


def _rider(model: Model, seat: float, lean: float, reach: tuple[float, float], foot_z: float, spread: float) -> None:
    hip, neck = (-0.18, 0.0, seat + 0.1), (-0.18 + lean, 0.0, seat + 0.6)
    for i, side in enumerate((1, -1)):
        knee = (0.16, side * spread, seat - 0.02 - 0.18 * i * (spread < 0.15))
        model.capsule((hip[0], side * 0.1, hip[2]), knee, 0.1, RIDER, 2, 4)
        model.capsule(knee, (0.0 + 0.05 * side, side * spread, foot_z + 0.17 * i * (spread < 0.15)), 0.08, RIDER, 2, 4)
        model.capsule((neck[0], side * 0.2, neck[2] - 0.06), (reach[0], side * 0.27, reach[1]), 0.065, RIDER, 1, 4)
        model.capsule((hip[0], side * 0.08, hip[2]), (neck[0], side * 0.12, neck[2] - 0.08), 0.15, RIDER, 1, 4)
    model.capsule((neck[0] + 0.06, 0, neck[2] + 0.16), (neck[0] + 0.06, 0, neck[2] + 0.22), 0.11, RIDER, 0, 5)
    model.capsule((neck[0] + 0.03, 0, neck[2] + 0.24), (neck[0] + 0.08, 0, neck[2] + 0.26), 0.135, RIDER, 3, 6)


def _two_wheeler(kind: str, ridden: bool) -> Model:
    model = Model(0.9, 0.3, 1.75 if ridden else 1.1)
    if kind == "bicycle":
        _bicycle(model)
        if ridden:
            _rider(model, 0.92, 0.3, (0.32, 1.06), 0.26, 0.12)
    else:
        model.half_length, model.half_width = 1.1, 0.38
        _motorcycle(model)
        if ridden:
            _rider(model, 0.9, 0.14, (0.42, 1.1), 0.34, 0.24)
    return model


# ------------------------------------------------------------------------------------------- street furniture
# Sign slots: 0 pole, 1 plate, 2 inner plate, 3 symbol.
def _sign(kind: str) -> Model:
    model = Model(0.4, 0.4, 2.9)
    model.capsule((0, 0, 0), (0, 0, 2.5), 0.045, VOID, 0, 0)
    z = 2.25
    for facing in kind[-1]:
        base = kind.split("_")[0]
        if base == "disc":
            model.disc((0, 0, z), 0.42, SIGN, 1, 1, facing, 18)
            model.disc((0, 0, z), 0.29, SIGN, 2, 2, facing, 16)
            plan = [(-0.15, -0.05), (0.15, -0.05), (0.15, 0.05), (-0.15, 0.05)]
        elif base == "triangle":
            plan = [(-0.48, -0.36), (0.48, -0.36), (0.0, 0.47)]
            model.polygon([_plate(u, w + z, facing) for u, w in plan], SIGN, 1, 1, True)
            model.polygon([_plate(0.6 * u, 0.6 * w + z - 0.03, facing) for u, w in plan], SIGN, 2, 2, True)
            plan = [(-0.03, -0.14), (0.03, -0.14), (0.03, 0.1), (-0.03, 0.1)]
        else:
            wide, high = (0.36, 0.46) if base == "panel" else (0.75, 0.42)
            for k, (slot, layer) in zip((1.0, 0.88), ((2, 1), (1, 2)), strict=True):
                plan = [(-wide * k, -high * k), (wide * k, -high * k), (wide * k, high * k), (-wide * k, high * k)]
                model.polygon([_plate(u, w + z, facing) for u, w in plan], SIGN, slot, layer, True)
            plan = [(-0.12, -0.25), (0.12, -0.25), (0.12, 0.25), (-0.12, 0.25)]
        model.polygon([_plate(u, w + z, facing) for u, w in plan], SIGN, 3, 3, True)
    return model


def _plate(u: float, z: float, facing: str) -> tuple[float, float, float]:
    return (0.0, u, z) if facing == "x" else (u, 0.0, z)


# Tree slots: 0 trunk, 1..3 foliage from dark to light.
def _tree(kind: int) -> Model:
    rng = np.random.default_rng([77, kind])
    height = float(rng.uniform(4.5, 7.0))
    model = Model(0.6, 0.6, height)
    model.capsule((0, 0, 0), (0, 0, height * 0.6), 0.13, VOID, 0, 0)
    for i in range(9):
        a, r = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.2)
        z = rng.uniform(0.52, 0.95) * height
        x, y = float(r * np.cos(a)), float(r * np.sin(a))
        model.capsule((x, y, z), (x, y, z + 0.2), float(rng.uniform(0.55, 1.0)), VOID, 1 + i // 3, 1 + i // 3)
    return model


def _lamp() -> Model:
    model = Model(0.3, 0.3, 7.0)
    model.capsule((0, 0, 0), (0, 0, 7.0), 0.08, VOID, 0)
    model.capsule((0, 0, 7.0), (0, 1.8, 7.3), 0.06, VOID, 0)
    return model


def _bin() -> Model:
    model = Model(0.3, 0.3, 1.0)
    model.box((0, 0, 0.5), (0.5, 0.55, 1.0), VOID, 0)
    return model


@lru_cache(maxsize=64)
def shape(name: str) -> Shape:
    """The shape called ``name``: a vehicle kind, ``walk0``..``walk3``, ``bicycle``, ``cyclist``, ``sign_...``, ..."""
    if name in _PROFILES:
        return _freeze(_vehicle(name))
    if name.startswith("walk"):
        return _freeze(_pedestrian(int(name[4:])))
    if name.startswith("tree"):
        return _freeze(_tree(int(name[4:])))
    builders = {
        "bicycle": lambda: _two_wheeler("bicycle", False),
        "motorcycle": lambda: _two_wheeler("motorcycle", False),
        "cyclist": lambda: _two_wheeler("bicycle", True),
        "motorcyclist": lambda: _two_wheeler("motorcycle", True),
        "lamp": _lamp,
        "bin": _bin,
    }
    return _freeze(builders[name]() if name in builders else _sign(name.removeprefix("sign_")))
