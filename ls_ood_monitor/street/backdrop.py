"""The background of a drive, per pixel: ground, curbs, buildings, sky and the ego car.

The street's cross-section does not change along a drive. So the point that a pixel's ray hits is computed once per
camera and size; for each frame only the position along the street moves on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import textures
from .camera import MAX_ANGLE, MOUNTS, Mount, rays, rotation
from .cross_section import RayHits, intersect
from .light import building_shade, lit, sky
from .markings import LINE_OPACITY, across, dashed_lines, solid_lines
from .optics import optics
from .plan import Plan
from .reflections import Mirror, wet_mirror

Floats = NDArray[np.float32]
ROAD, LANEMARKS, CURB = 1, 2, 3

_PARALLEL = np.float32(1e-5)  # rays closer than this to the street's direction are turned away from it


@dataclass
class View:
    """A camera of a drive at one size: pose, and the per-pixel tables of the backdrop."""

    mount: Mount
    position: Floats  # relative to the ego car's origin, y in the street frame
    to_camera: Floats  # (3, 3)
    labels: NDArray[np.uint8]
    keep: NDArray[np.uint8]  # 255 where the street shows, 0 on the ego car and outside the lens circle
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
    add: Floats  # the ego car
    mirror: Mirror | None  # the wet road


def make_view(plan: Plan, camera: str, width: int, height: int) -> View:
    """Compute the tables of one camera of a drive."""
    mount = MOUNTS[camera]
    turn = rotation(mount, plan.pitch, plan.roll)
    table, theta = rays(mount, width, height)
    d = (table.reshape(-1, 3) @ turn).reshape(height, width, 3)
    dx, dy, dz = d[..., 0], d[..., 1], d[..., 2]
    dy[np.abs(dy) < _PARALLEL] = _PARALLEL
    position = np.array([mount.x, plan.ego_y + mount.y, mount.z + plan.camera_lift], np.float32)
    _, cy, cz = (float(v) for v in position)
    hit = intersect(plan, d, cy, cz)
    t, y, ground, road, facade = hit.t, hit.y, hit.ground, hit.road, hit.facade
    inside = theta <= MAX_ANGLE

    labels = np.zeros((height, width), np.uint8)
    labels[road] = ROAD
    labels[ground & hit.curb] = CURB
    pixel = 1.0 / (340.0 * width / 1280.0)  # rad
    soft_y = np.clip(t * pixel * t * np.hypot(dy, dz) / cz, 0.004, 0.5)
    soft_x = np.clip(t * pixel * t * np.hypot(dx, dz) / cz, 0.004, 4.0)

    light = np.array(plan.light, np.float32)
    distance = np.clip(np.where(ground, t, np.where(facade, hit.facade_t, 1e4)), 0, 1e4)
    clear = np.exp(-plan.haze_per_m * distance)[..., None]
    horizon = np.array(plan.sky_horizon, np.float32)
    haze = (horizon * (1 - clear)).astype(np.float32)
    gain = (_ground_light(plan, hit)[..., None] * light * clear).astype(np.float32)
    add = haze.copy()

    line_alpha = np.zeros((height, width), np.float32)
    for offset, colour in solid_lines(plan):
        cover, on_line = across(y - offset, soft_y)
        cover = cover * road * LINE_OPACITY
        labels[road & on_line] = LANEMARKS
        add += cover[..., None] * colour * gain
        line_alpha = np.maximum(line_alpha, cover)
    dash_cover, dash_inside = np.zeros((height, width), np.float32), np.zeros((height, width), bool)
    dash_colour = np.zeros((height, width, 3), np.float32)
    for offset, colour in dashed_lines(plan):
        cover, on_line = across(y - offset, soft_y)
        dash_colour[cover > 0] = colour
        dash_cover = np.maximum(dash_cover, cover * road)
        dash_inside |= on_line & road
    dash_index = np.flatnonzero(((dash_cover > 0.02) | dash_inside) & inside)
    painted = (dash_colour * gain + haze).reshape(-1, 3)[dash_index]

    gain = np.where(ground[..., None], gain * (1 - line_alpha[..., None]), 0)
    add = np.where(ground[..., None], add, sky(plan, d)).astype(np.float32)
    level = _levels(soft_x * textures.GROUND_SCALE, textures.GROUND_LEVELS)
    ground_x = (t * dx + position[0]) * textures.GROUND_SCALE
    ground_y = textures.ground_row(hit.material, level, y.astype(np.float32))
    rows = np.flatnonzero((ground & inside).any(axis=1))
    top = int(rows[0]) if rows.size else height - 1

    side = (dy > 0).astype(np.int32)
    walls = np.array([[0, 1.0, 0], [0, -1.0, 0]], np.float32)
    wall_light = (1.08 * lit(plan, walls))[side][..., None] * light
    wall_light = wall_light * (0.86 + 0.14 * np.clip(hit.facade_z / 3.0, 0, 1))[..., None]
    grazing = np.clip(hit.facade_t * pixel * hit.facade_t * np.hypot(dx, 1e-3) / plan.facade_y, 1e-3, 50)
    level = _levels(np.maximum(grazing, hit.facade_t * pixel) * textures.FACADE_SCALE, textures.FACADE_LEVELS)
    facade_x = (hit.facade_t * dx + position[0]) * textures.FACADE_SCALE
    facade_y = textures.facade_row(side, level, hit.facade_z)
    mask = (facade * np.clip((450 - hit.facade_t * np.abs(dx)) / 100, 0, 1)).astype(np.float32)[..., None]
    rows = np.flatnonzero((facade & inside).any(axis=1))
    bottom = int(rows[-1]) + 1 if rows.size else 1

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
        facade_x=_rows(np.where(facade, facade_x, 0), 0, bottom),
        facade_y=_rows(np.where(facade, facade_y, 0), 0, bottom),
        facade_gain=_rows(wall_light * clear * mask, 0, bottom),
        facade_haze=_rows(haze, 0, bottom),
        facade_mask=_rows(mask / 255.0, 0, bottom),
        dash_index=dash_index,
        dash_x=(t * dx + position[0]).ravel()[dash_index].astype(np.float32),
        dash_soft=soft_x.ravel()[dash_index].astype(np.float32),
        dash_alpha=(LINE_OPACITY * dash_cover).ravel()[dash_index].astype(np.float32),
        dash_is_paint=dash_inside.ravel()[dash_index] & (keep.ravel()[dash_index] > 0),
        dash_colour=painted.astype(np.float32),
        gain=last_gain,
        add=last_add,
        mirror=wet_mirror(plan, d, hit, position, turn, top),
    )


def _ground_light(plan: Plan, hit: RayHits) -> Floats:
    level = float(lit(plan, np.array([[0, 0, 1.0]], np.float32))[0])
    light = np.where(hit.riser, level * 0.72, level)
    return np.asarray(light * (1.0 - 0.38 * plan.sun_strength * building_shade(plan, hit.y)), np.float32)


def _rows(table: NDArray[np.floating], first: int, last: int | None) -> Floats:
    return np.ascontiguousarray(table[first:last], dtype=np.float32)


def _levels(texels: NDArray[np.floating], count: int) -> NDArray[np.int32]:
    """Blur level per pixel; ordered dither hides the seams."""
    dither = (np.indices(texels.shape).sum(axis=0) % 2) * 0.5 - 0.25
    level = np.log2(np.maximum(texels, 1e-3)) + dither
    return np.asarray(np.clip(np.round(level), 0, count - 1), np.int32)
