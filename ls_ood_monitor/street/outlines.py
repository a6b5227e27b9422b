"""Turn the things around the car into outlines on the picture, far ones first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .backdrop import View
from .camera import MAX_ANGLE, project
from .light import lit
from .plan import Plan
from .reflections import sheen
from .shape_builder import VEHICLE, Shape, capsule_outline
from .shapes import shape
from .world import Thing

Floats = NDArray[np.float32]
_SHIFT = 4  # fractional bits of the outlines given to OpenCV
_DETAIL_RANGE = 24.0  # m; beyond it vehicles lose their small parts
_SMALLEST = 0.022  # rad; things that look smaller are left out
_GLOSS = np.array([0.10, 0.30], np.float32)  # of a vehicle's body and glass
_WRAPS_BEHIND = 2.0  # rad; an outline that runs round the axis and reaches further back encloses the way backwards


@dataclass
class Outlines:
    """Filled outlines in drawing order: points (P lists of (n, 2) int32, fixed point), colours, classes."""

    points: list[NDArray[np.int32]]
    colours: list[tuple[float, float, float]]
    classes: list[int]


def fixed_point(pixels: NDArray[np.floating]) -> NDArray[np.int32]:
    return np.round(pixels * (1 << _SHIFT)).astype(np.int32)


def visible_things(things: Sequence[Thing], view: View) -> list[Thing]:
    """The things that may show in the view, far ones that would be specks left out, in drawing order."""
    if not things:
        return []
    centres = np.array([[t.x, t.y, 0.5 * shape(t.name).extent[2]] for t in things], np.float32) - view.position
    halves = np.array([t.half_extent for t in things], np.float32)
    heights = np.array([shape(t.name).extent[2] for t in things], np.float32)
    reach = np.sqrt((halves**2).sum(axis=1) + (heights / 2) ** 2)
    distance = np.linalg.norm(centres, axis=1)
    local = centres @ view.to_camera.T
    theta = np.arccos(np.clip(local[:, 2] / distance, -1, 1))
    spread = np.arcsin(np.clip(reach / distance, 0, 1))
    shown = (theta - spread < MAX_ANGLE) & (heights / distance > _SMALLEST)
    index = np.flatnonzero(shown)
    order = _painters_order(centres[index, :2], halves[index], distance[index])
    return [things[index[k]] for k in order]


def _painters_order(centres: Floats, halves: Floats, distance: Floats) -> list[int]:
    """Order boxes on the ground so that none is drawn after one that can hide it (camera at the origin).

    A box cannot be hidden by another where a street-parallel or street-crossing line separates the two with the
    camera on its own side; this is exact for boxes that do not overlap, unlike sorting by distance.
    """
    n = len(centres)
    low, high = centres - halves, centres + halves
    safe = np.zeros((n, n), bool)  # safe[i, j]: j cannot hide i
    for axis in (0, 1):
        a_low, a_high, b_low, b_high = low[:, None, axis], high[:, None, axis], low[None, :, axis], high[None, :, axis]
        safe |= ((a_high <= b_low + 0.02) & (b_low >= 0)) | ((a_low >= b_high - 0.02) & (b_high <= 0))
    before = ~safe & safe.T  # i must be drawn before j
    both = ~safe & ~safe.T
    before |= both & (distance[:, None] > distance[None, :])
    np.fill_diagonal(before, False)
    waiting = before.sum(axis=0).astype(np.float64)
    order: list[int] = []
    key = -distance.astype(np.float64)
    for _ in range(n):
        k = int(np.argmin(waiting * 1e6 + key))
        order.append(k)
        waiting -= before[k]
        key[k] = np.inf
    return order


def outlines(things: Sequence[Thing], view: View, plan: Plan, width: int, height: int) -> Outlines:
    """Outlines of ``things`` (already in drawing order) as the view sees them."""
    groups: dict[str, list[int]] = {}
    for rank, thing in enumerate(things):
        groups.setdefault(thing.name, []).append(rank)
    parts = [
        faces
        for name, ranks in groups.items()
        for faces in _faces(shape(name), ranks, [things[rank] for rank in ranks], view, plan)
    ]
    if not parts:
        return Outlines([], [], [])
    vertices, sizes, keys, colours, classes = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    local = vertices @ view.to_camera.T
    pixels, theta = project(local, view.mount, width, height)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    nearest, furthest = np.minimum.reduceat(theta, starts), np.maximum.reduceat(theta, starts)
    left, right = (f.reduceat(pixels, starts, axis=0) for f in (np.minimum, np.maximum))
    on_picture = ((right >= 0) & (left <= np.array([width, height]))).all(axis=1)
    shown = (nearest < MAX_ANGLE) & on_picture
    shown &= (furthest < _WRAPS_BEHIND) | ~_rounds_axis(local, starts, sizes)
    order = np.lexsort((keys[:, 2], keys[:, 1], keys[:, 0]))
    order = order[shown[order]]
    fixed = fixed_point(pixels)
    begin, end = starts[order].tolist(), (starts + sizes)[order].tolist()
    return Outlines(
        [fixed[a:b] for a, b in zip(begin, end, strict=True)],
        [tuple(c) for c in colours[order].tolist()],
        classes[order].tolist(),
    )


def _rounds_axis(local: Floats, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each outline (camera frame) runs once round the optical axis, in front or behind."""
    turn = np.arctan2(local[:, 1], local[:, 0])
    following = np.arange(1, len(turn) + 1)
    following[starts + sizes - 1] = starts
    step = np.mod(turn[following] - turn + np.pi, 2 * np.pi) - np.pi
    return np.abs(np.add.reduceat(step, starts)) > np.pi


class _Faces(NamedTuple):
    """Outlines in space: vertices (V, 3), vertices of each (P,), sort keys (P, 3), colours (P, 3), classes (P,)."""

    vertices: Floats
    sizes: NDArray[np.int64]
    keys: Floats
    colours: Floats
    classes: NDArray[np.int64]


def _faces(part: Shape, ranks: list[int], things: list[Thing], view: View, plan: Plan) -> Iterator[_Faces]:
    """The polygons, then the capsules, of several things of one shape."""
    n = len(things)
    yaw = np.array([t.yaw for t in things], np.float32)
    c, s, zero, one = np.cos(yaw), np.sin(yaw), np.zeros(n, np.float32), np.ones(n, np.float32)
    turn = np.stack([np.stack([c, s, zero], -1), np.stack([-s, c, zero], -1), np.stack([zero, zero, one], -1)], 1)
    base = np.array([[t.x, t.y, plan.ground_height(t.y)] for t in things], np.float32) - view.position
    palettes = np.stack([t.palette for t in things])
    rank = np.array(ranks, np.float32)
    away = np.linalg.norm(base, axis=1)

    if len(part.sizes):
        normals, centres = part.normals @ turn, part.centres @ turn + base[:, None]
        facing = (normals * centres).sum(axis=2) < 0
        detail = (away < _DETAIL_RANGE)[:, None] | (part.tags[:, 2] < 2)[None] | (part.tags[:, 3] > 0)[None]
        chosen = (facing | (part.tags[:, 3] > 0)[None]) & detail
        corners = part.vertices @ turn + base[:, None]
        owner = np.repeat(np.arange(len(part.sizes)), part.sizes)
        i, p = np.nonzero(chosen)
        keys = np.stack([rank[i], part.tags[p, 2], -np.linalg.norm(centres[i, p], axis=1)], 1)
        flipped = np.where(facing[i, p], 1.0, -1.0)[:, None] * normals[i, p]
        colour = palettes[i, part.tags[p, 1]] * lit(plan, flipped.astype(np.float32))[:, None]
        shiny = np.flatnonzero((part.tags[p, 0] == VEHICLE) & (part.tags[p, 1] < len(_GLOSS)))
        if len(shiny):
            towards = centres[i, p][shiny]
            towards = towards / np.linalg.norm(towards, axis=1, keepdims=True)
            share, thrown = sheen(plan, towards, flipped[shiny], _GLOSS[part.tags[p, 1][shiny]])
            colour[shiny] += share * (thrown - colour[shiny])
        colour = _through_air(colour, away[i], plan)
        yield _Faces(corners[chosen[:, owner]], part.sizes[p], keys, colour, part.tags[p, 0])
    if len(part.capsules):
        ends = part.capsules[:, :6].reshape(-1, 2, 3) @ turn[:, None]
        ends = ends + base[:, None, None]
        k = len(part.capsules)
        flat = ends.reshape(-1, 2, 3)
        rings = capsule_outline(flat, np.tile(part.capsules[:, 6], n)).reshape(-1, 3)
        middle = flat.mean(axis=1)
        length = np.linalg.norm(middle, axis=1, keepdims=True)
        tags = np.tile(part.capsule_tags, (n, 1))
        keys = np.stack([np.repeat(rank, k), tags[:, 2], -length[:, 0]], 1)
        towards = -middle / length + np.array([0, 0, 0.45], np.float32)
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        colour = palettes[:, part.capsule_tags[:, 1]].reshape(-1, 3) * lit(plan, towards)[:, None]
        colour = _through_air(colour, np.repeat(away, k), plan)
        yield _Faces(rings, np.full(n * k, 10, np.int64), keys, colour, tags[:, 0])


def _through_air(colour: NDArray[np.floating], distance: Floats, plan: Plan) -> Floats:
    clear = np.exp(-plan.haze_per_m * distance)[:, None]
    seen = colour * np.array(plan.light) * clear + np.array(plan.sky_horizon) * (1 - clear)
    return np.asarray(np.clip(seen, 0, 255), np.float32)
