"""The part of a drive that only slides past: ground, curbs, buildings, sky and the own car, per pixel.

The street's cross-section does not change along a drive, so what a pixel's ray hits, apart from the position
along the street, is worked out once per camera and size; a frame only looks the textures up further along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import textures
from .camera import MAX_ANGLE, MOUNTS, Mount, rays, rotation
from .light import building_shade, lit, sky
from .optics import optics
from .plan import Plan

Floats = NDArray[np.float32]
ROAD, LANEMARKS, CURB = 1, 2, 3
LINE_HALF_WIDTH = 0.075  # m
_LINE_OPACITY = 0.9


@dataclass
class View:
    """A camera of a drive at one size: pose, and the per-pixel tables of the backdrop."""

    mount: Mount
    position: Floats  # relative to the ego car's origin, y in the street frame
    to_camera: Floats  # (3, 3)
    labels: NDArray[np.uint8]
    keep: NDArray[np.uint8]  # 255 where the street shows, 0 on the own car and outside the lens circle
    top: int  # first row with ground
    ground_x: Floats
    ground_y: Floats
    ground_gain: Floats
    ground_add: Floats
    bottom: int  # first row without facades
    facade_x: Floats
    facade_y: Floats
    facade_gain: Floats
    facade_haze: Floats
    facade_mask: Floats
    dash_index: NDArray[np.int64]
    dash_x: Floats
    dash_soft: Floats
    dash_alpha: Floats
    dash_is_paint: NDArray[np.bool_]
    dash_colour: Floats
    gain: Floats  # last step: lens, exposure and white balance
    add: Floats  # the own car


def view(plan: Plan, camera: str, width: int, height: int) -> View:
    """Work out the tables of one camera of a drive."""
    mount = MOUNTS[camera]
    turn = rotation(mount, plan.pitch, plan.roll)
    table, theta = rays(mount, width, height)
    d = (table.reshape(-1, 3) @ turn).reshape(height, width, 3)
    dx, dy, dz = d[..., 0], d[..., 1], d[..., 2]
    dy = np.where(np.abs(dy) < 1e-5, np.float32(1e-5), dy)
    position = np.array([mount.x, plan.ego_y + mount.y, mount.z + plan.camera_lift], np.float32)
    _, cy, cz = (float(v) for v in position)
    inside = theta <= MAX_ANGLE

    hc = plan.curb_height
    down = np.minimum(dz, -1e-4)
    t0, t1 = -cz / down, (hc - cz) / down
    y0, y1 = cy + t0 * dy, cy + t1 * dy
    a0, a1 = np.abs(y0), np.abs(y1)
    edge, top_edge = plan.curb_y, plan.curb_y + plan.curb_width
    raised = a0 > edge
    riser = raised & (a1 <= edge)
    material = np.zeros((height, width), np.int32)
    y = np.where(raised & ~riser, y1, y0)
    t = np.where(raised & ~riser, t1, t0)
    is_curb = raised & (a1 <= top_edge)
    material[is_curb] = 2
    material[raised & (a1 > top_edge)] = 1
    material[raised & (a1 > plan.facade_y - plan.verge)] = 3
    riser_t = (np.where(dy < 0, -1, 1) * edge - cy) / dy
    t = np.where(riser, riser_t, t)
    if plan.median:
        m = plan.median
        near_face = (y1 < -m) & (y0 > -m)
        on_top = a1 <= m
        island_curb = near_face | (on_top & (a1 > m - plan.curb_width))
        t = np.where(near_face, (-m - cy) / dy, np.where(on_top, t1, t))
        y = np.where(near_face | on_top, y1, y)
        material[on_top] = 3
        material[island_curb] = 2
        is_curb |= island_curb
    facade_t = (np.where(dy < 0, -1, 1) * plan.facade_y - cy) / dy
    facade_z = cz + facade_t * dz
    ground = (dz < -1e-4) & (t < 400) & (t <= facade_t + 1e-3)
    facade = ~ground & (facade_z < textures.FACADE_ROWS / textures.FACADE_SCALE) & (facade_t < 500)

    labels = np.zeros((height, width), np.uint8)
    road = ground & (material == 0)
    labels[road] = ROAD
    labels[ground & is_curb] = CURB
    pixel = 1.0 / (340.0 * width / 1280.0)  # rad
    soft_y = np.clip(t * pixel * np.abs(cz / np.maximum(t * np.hypot(dy, dz), 1e-3)) ** -1, 0.004, 0.5)
    soft_x = np.clip(t * pixel * t * np.hypot(dx, dz) / cz, 0.004, 4.0)

    light = np.array(plan.light, np.float32)
    ground_light = np.full((height, width), float(lit(plan, np.array([[0, 0, 1.0]], np.float32))[0]), np.float32)
    ground_light[riser] *= 0.72
    ground_light *= 1.0 - 0.38 * plan.sun_strength * building_shade(plan, y)
    distance = np.clip(np.where(ground, t, np.where(facade, facade_t, 1e4)), 0, 1e4)
    clear = np.exp(-plan.haze_per_m * distance)[..., None]
    horizon = np.array(plan.sky_horizon, np.float32)
    gain = (ground_light[..., None] * light * clear).astype(np.float32)
    add = (horizon * (1 - clear)).astype(np.float32)
    if plan.wetness:
        shine = (plan.wetness * 0.5 * (1 - np.clip(-dz, 0, 1)) ** 4 * road)[..., None]
        gain *= 1 - shine
        add += shine * horizon * 0.85

    paint = np.array(plan.paint, np.float32)
    yellow = np.array((80, 185, 225), np.float32)
    line_alpha = np.zeros((height, width), np.float32)
    for offset, colour in solid_lines(plan, paint, yellow):
        cover, inside_line = _across(y - offset, soft_y)
        cover = cover * road * _LINE_OPACITY
        labels[road & inside_line] = LANEMARKS
        add += cover[..., None] * colour * gain
        line_alpha = np.maximum(line_alpha, cover)
    dash_cover, dash_inside = np.zeros((height, width), np.float32), np.zeros((height, width), bool)
    dash_colour_map = np.broadcast_to(paint, (height, width, 3)).copy()
    for offset, colour in dashed_lines(plan, paint, yellow):
        cover, inside_line = _across(y - offset, soft_y)
        dash_colour_map[cover > 0] = colour
        dash_cover = np.maximum(dash_cover, cover * road)
        dash_inside |= inside_line & road
    visible = inside & (dash_cover > 0.02) | dash_inside & inside
    dash_index = np.flatnonzero(visible)
    dash_gain = gain.reshape(-1, 3)[dash_index]
    dash_haze = (horizon * (1 - clear)).astype(np.float32).reshape(-1, 3)[dash_index]
    gain = gain * (1 - line_alpha[..., None])

    gain[~ground] = 0
    add = np.where(ground[..., None], add, sky(plan, d)).astype(np.float32)
    level = _levels(soft_x * textures.GROUND_SCALE, textures.GROUND_LEVELS)
    ground_x = (t * dx + position[0]) * textures.GROUND_SCALE
    ground_y = textures.ground_row(material, level, y.astype(np.float32))
    rows = np.flatnonzero((ground & inside).any(axis=1))
    top = int(rows[0]) if rows.size else height - 1

    side = (dy > 0).astype(np.int32)
    normals = np.array([[0, 1.0, 0], [0, -1.0, 0]], np.float32)
    wall_light = (1.08 * lit(plan, normals))[side][..., None] * light
    wall_light = wall_light * (0.86 + 0.14 * np.clip(facade_z / 3.0, 0, 1))[..., None]
    along = facade_t * np.abs(dx)
    grazing = np.clip(facade_t * pixel * facade_t * np.hypot(dx, 1e-3) / plan.facade_y, 1e-3, 50)
    f_level = _levels(np.maximum(grazing, facade_t * pixel) * textures.FACADE_SCALE, textures.FACADE_LEVELS)
    rows = np.flatnonzero((facade & inside).any(axis=1))
    bottom = int(rows[-1]) + 1 if rows.size else 1
    mask = (facade * np.clip((450 - along) / 100, 0, 1)).astype(np.float32)[..., None]

    last_gain, last_add, keep = optics(plan, d, theta, position)
    return View(
        mount=mount,
        position=position,
        to_camera=turn,
        labels=labels & keep,
        keep=keep,
        top=top,
        ground_x=_rows(np.where(ground, ground_x, 0), top, None),
        ground_y=_rows(np.where(ground, ground_y, 0), top, None),
        ground_gain=_rows(gain, top, None),
        ground_add=add,
        bottom=bottom,
        facade_x=_rows(np.where(facade, (facade_t * dx + position[0]) * textures.FACADE_SCALE, 0), 0, bottom),
        facade_y=_rows(np.where(facade, textures.facade_row(side, f_level, facade_z), 0), 0, bottom),
        facade_gain=_rows(wall_light * clear * mask, 0, bottom),
        facade_haze=_rows(horizon * (1 - clear), 0, bottom),
        facade_mask=_rows(mask / 255.0, 0, bottom),
        dash_index=dash_index,
        dash_x=(t * dx + position[0]).ravel()[dash_index].astype(np.float32),
        dash_soft=soft_x.ravel()[dash_index].astype(np.float32),
        dash_alpha=(_LINE_OPACITY * dash_cover).ravel()[dash_index].astype(np.float32),
        dash_is_paint=dash_inside.ravel()[dash_index] & (keep.ravel()[dash_index] > 0),
        dash_colour=(dash_colour_map.reshape(-1, 3)[dash_index] * dash_gain + dash_haze).astype(np.float32),
        gain=last_gain,
        add=last_add,
    )


def _rows(table: NDArray[np.floating], first: int, last: int | None) -> Floats:
    return np.ascontiguousarray(table[first:last], dtype=np.float32)


def solid_lines(plan: Plan, paint: Floats, yellow: Floats) -> list[tuple[float, Floats]]:
    """Offsets y and colours of the unbroken lines: the outer edges, and the middle where there is no island."""
    lines = [(plan.outer_line, paint), (-plan.outer_line, paint)]
    middle = yellow if plan.centre_yellow else paint
    if plan.median:
        lines += [(plan.inner_edge, middle), (-plan.inner_edge, middle)]
    elif plan.lanes > 1:
        lines += [(0.13, middle), (-0.13, middle)]
    return lines


def dashed_lines(plan: Plan, paint: Floats, yellow: Floats) -> list[tuple[float, Floats]]:
    """Offsets y and colours of the broken lines."""
    lines = [(s * (plan.inner_edge + k * plan.lane_width), paint) for k in range(1, plan.lanes) for s in (-1, 1)]
    if not plan.median and plan.lanes == 1:
        lines.append((0.0, yellow if plan.centre_yellow else paint))
    return lines


def _across(offset: NDArray[np.floating], soft: NDArray[np.floating]) -> tuple[Floats, NDArray[np.bool_]]:
    """Coverage of a line by a pixel whose footprint across it is ``soft`` (m), and whether its centre is on it."""
    apart = np.abs(offset)
    full = np.minimum(1.0, 2 * LINE_HALF_WIDTH / soft)
    cover = np.clip((LINE_HALF_WIDTH - apart) / soft + 0.5, 0, 1) * full
    return cover.astype(np.float32), apart <= LINE_HALF_WIDTH


def _levels(texels: NDArray[np.floating], count: int) -> NDArray[np.int32]:
    """Blur level per pixel; ordered dither hides the seams."""
    dither = (np.indices(texels.shape).sum(axis=0) % 2) * 0.5 - 0.25
    level = np.log2(np.maximum(texels, 1e-3)) + dither
    return np.clip(np.round(level), 0, count - 1).astype(np.int32)
