"""Build shapes from flat polygons and capsules, tagged with class, colour slot and layer.

A capsule (two joints and a radius) always shows its full width to the camera, so limbs, tubes, poles and tree
crowns need no side faces. Polygons have their edges subdivided, because straight edges are curves in a fisheye.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..core.classes import CLASS_NAMES

Floats = NDArray[np.float32]
Point = tuple[float, float, float]
VOID, PERSON, RIDER, VEHICLE, BICYCLE, MOTORCYCLE, SIGN = (
    CLASS_NAMES.index(n) for n in ("void", "person", "rider", "vehicles", "bicycle", "motorcycle", "traffic_sign")
)
_MAX_EDGE = 0.6  # m; the longest straight piece of an outline
_CAPSULE_ARC = np.radians([-90, -40, 0, 40, 90])


@dataclass(frozen=True)
class Shape:
    """The arrays of one shape: P polygons with V vertices in all, and K capsules."""

    extent: Point  # half length, half width and height, metres
    vertices: Floats  # (V, 3), polygon after polygon
    sizes: NDArray[np.int64]  # (P,) number of vertices of each polygon
    normals: Floats  # (P, 3) unit normals
    centres: Floats  # (P, 3)
    tags: NDArray[np.int64]  # (P, 4) class, colour slot, layer, two-sided
    capsules: Floats  # (K, 7) both joints and the radius
    capsule_tags: NDArray[np.int64]  # (K, 3) class, colour slot, layer


@dataclass
class ShapeBuilder:
    """Collects the parts of one shape in its own frame: x forward, y left, z up, origin on the ground below; metres.

    Colour slots index the palette of the placed thing. Layers are drawn in ascending order within the shape.
    """

    half_length: float
    half_width: float
    height: float
    polygons: list[Floats] = field(default_factory=list)
    polygon_tags: list[tuple[int, int, int, bool]] = field(default_factory=list)  # class, slot, layer, two-sided
    capsules: list[tuple[float, ...]] = field(default_factory=list)  # x0 y0 z0 x1 y1 z1 radius
    capsule_tags: list[tuple[int, int, int]] = field(default_factory=list)  # class, slot, layer

    def polygon(self, points: list[Point], cls: int, slot: int, layer: int = 0, both: bool = False) -> None:
        """Add a flat polygon whose corners run counter-clockwise seen from outside; ``both`` shows its back too."""
        pieces = []
        corners = np.array(points, dtype=np.float32)
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            steps = max(1, int(np.ceil(np.linalg.norm(b - a) / _MAX_EDGE)))
            pieces.append(a + (b - a) * (np.arange(steps, dtype=np.float32) / steps)[:, None])
        self.polygons.append(np.concatenate(pieces))
        self.polygon_tags.append((cls, slot, layer, both))

    def box(self, centre: Point, size: Point, cls: int, slot: int) -> None:
        """Add the five upper faces of an upright box."""
        (cx, cy, cz), (a, b, c) = centre, (size[0] / 2, size[1] / 2, size[2] / 2)
        x0, x1, y0, y1, z0, z1 = cx - a, cx + a, cy - b, cy + b, cz - c, cz + c
        self.polygon([(x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)], cls, slot)
        self.polygon([(x0, y1, z0), (x0, y0, z0), (x0, y0, z1), (x0, y1, z1)], cls, slot)
        self.polygon([(x1, y1, z0), (x0, y1, z0), (x0, y1, z1), (x1, y1, z1)], cls, slot)
        self.polygon([(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)], cls, slot)
        self.polygon([(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)], cls, slot)

    def disc(self, centre: Point, r: float, cls: int, slot: int, layer: int, facing: str, sides: int = 14) -> None:
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

    def capsule(self, a: Point, b: Point, r: float, cls: int, slot: int, layer: int = 0) -> None:
        """Add a rounded bar from joint ``a`` to joint ``b``."""
        self.capsules.append((*a, *b, r))
        self.capsule_tags.append((cls, slot, layer))

    def build(self) -> Shape:
        """The finished shape."""
        normals, centres = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)
        if self.polygons:
            newell = [np.cross(p, np.roll(p, -1, axis=0)).sum(axis=0) for p in self.polygons]
            normals = np.array([n / max(float(np.linalg.norm(n)), 1e-9) for n in newell], np.float32)
            centres = np.array([p.mean(axis=0) for p in self.polygons], np.float32)
        return Shape(
            extent=(self.half_length, self.half_width, self.height),
            vertices=np.concatenate(self.polygons) if self.polygons else np.zeros((0, 3), np.float32),
            sizes=np.array([len(p) for p in self.polygons], np.int64),
            normals=normals,
            centres=centres,
            tags=np.array(self.polygon_tags, np.int64).reshape(-1, 4),
            capsules=np.array(self.capsules, np.float32).reshape(-1, 7),
            capsule_tags=np.array(self.capsule_tags, np.int64).reshape(-1, 3),
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
