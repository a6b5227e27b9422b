"""Turn the things around the car into outlines on the picture, in the order in which they cover each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .backdrop import View
from .camera import MAX_ANGLE, project
from .light import lit
from .models import VEHICLE, Shape, capsule_outline
from .plan import Plan
from .reflections import sheen
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
    parts = [_place(shape(name), ranks, [things[r] for r in ranks], view, plan) for name, ranks in groups.items()]
    if not parts:
        return Outlines([], [], [])
    vertices, sizes, keys, colours, classes = (np.concatenate([p[k] for p in parts]) for k in range(5))
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


def _place(
    model: Shape, ranks: list[int], things: list[Thing], view: View, plan: Plan
) -> tuple[Floats, NDArray[np.int64], Floats, Floats, NDArray[np.int64]]:
    """All polygons of several things of one shape: vertices, sizes, sort keys (P, 3), colours (P, 3), classes (P,)."""
    n = len(things)
    yaw = np.array([t.yaw for t in things], np.float32)
    c, s, zero, one = np.cos(yaw), np.sin(yaw), np.zeros(n, np.float32), np.ones(n, np.float32)
    turn = np.stack([np.stack([c, s, zero], -1), np.stack([-s, c, zero], -1), np.stack([zero, zero, one], -1)], 1)
    base = np.array([[t.x, t.y, plan.ground_height(t.y)] for t in things], np.float32) - view.position
    palettes = np.stack([t.palette for t in things])
    rank = np.array(ranks, np.float32)
    away = np.linalg.norm(base, axis=1)

    out_v, out_n, out_k, out_c, out_t = [], [], [], [], []
    if len(model.sizes):
        normals, centres = model.normals @ turn, model.centres @ turn + base[:, None]
        facing = (normals * centres).sum(axis=2) < 0
        detail = (away < _DETAIL_RANGE)[:, None] | (model.tags[:, 2] < 2)[None] | (model.tags[:, 3] > 0)[None]
        chosen = (facing | (model.tags[:, 3] > 0)[None]) & detail
        vertices = model.vertices @ turn + base[:, None]
        owner = np.repeat(np.arange(len(model.sizes)), model.sizes)
        out_v.append(vertices[chosen[:, owner]])
        i, p = np.nonzero(chosen)
        out_n.append(model.sizes[p])
        out_k.append(np.stack([rank[i], model.tags[p, 2], -np.linalg.norm(centres[i, p], axis=1)], 1))
        flipped = np.where(facing[i, p], 1.0, -1.0)[:, None] * normals[i, p]
        colour = palettes[i, model.tags[p, 1]] * lit(plan, flipped.astype(np.float32))[:, None]
        shiny = np.flatnonzero((model.tags[p, 0] == VEHICLE) & (model.tags[p, 1] < len(_GLOSS)))
        if len(shiny):
            towards = centres[i, p][shiny]
            towards = towards / np.linalg.norm(towards, axis=1, keepdims=True)
            share, thrown = sheen(plan, towards, flipped[shiny], _GLOSS[model.tags[p, 1][shiny]])
            colour[shiny] += share * (thrown - colour[shiny])
        out_c.append(_through_air(colour, away[i], plan))
        out_t.append(model.tags[p, 0])
    if len(model.capsules):
        ends = model.capsules[:, :6].reshape(-1, 2, 3) @ turn[:, None]
        ends = ends + base[:, None, None]
        k = len(model.capsules)
        flat = ends.reshape(-1, 2, 3)
        out_v.append(capsule_outline(flat, np.tile(model.capsules[:, 6], n)).reshape(-1, 3))
        out_n.append(np.full(n * k, 10, np.int64))
        middle = flat.mean(axis=1)
        length = np.linalg.norm(middle, axis=1, keepdims=True)
        tags = np.tile(model.capsule_tags, (n, 1))
        out_k.append(np.stack([np.repeat(rank, k), tags[:, 2], -length[:, 0]], 1))
        towards = -middle / length + np.array([0, 0, 0.45], np.float32)
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        colour = palettes[:, model.capsule_tags[:, 1]].reshape(-1, 3) * lit(plan, towards)[:, None]
        out_c.append(_through_air(colour, np.repeat(away, k), plan))
        out_t.append(tags[:, 0])
    return tuple(np.concatenate(x) for x in (out_v, out_n, out_k, out_c, out_t))  # type: ignore[return-value]


def _through_air(colour: NDArray[np.floating], distance: Floats, plan: Plan) -> Floats:
    clear = np.exp(-plan.haze_per_m * distance)[:, None]
    seen = colour * np.array(plan.light) * clear + np.array(plan.sky_horizon) * (1 - clear)
    return np.clip(seen, 0, 255).astype(np.float32)
