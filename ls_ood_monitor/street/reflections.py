"""Reflections: the street in a wet road, and the sky in paint and glass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import textures
from .cross_section import RayHits
from .light import lit, sky, sun_direction
from .plan import Plan

Floats = NDArray[np.float32]
_UPSIDE_DOWN = np.array([1.0, 1.0, -1.0], np.float32)


@dataclass(frozen=True)
class Mirror:
    """A wet road as a mirror: tables over the picture rows from the first one with ground downwards.

    The mirror image is what a camera as far below the road sees, so ``position`` and ``to_camera`` are that camera's.
    """

    position: Floats  # (3,)
    to_camera: Floats  # (3, 3)
    share: Floats  # (h, W, 1) part of the light that is mirrored
    sky: Floats  # (h, W, 3)
    facade_x: Floats  # (h, W) texels of the facade atlas
    facade_y: Floats
    facade_gain: Floats  # (h, W, 3)
    facade_mask: Floats  # (h, W, 1)


def wet_mirror(plan: Plan, d: Floats, hit: RayHits, position: Floats, turn: Floats, top: int) -> Mirror | None:
    """Tables of the mirror for rays ``d`` (H, W, 3) that meet the street at ``hit``; None on a dry road."""
    if not plan.wetness:
        return None
    d = d[top:]
    # Schlick's shape of the Fresnel term with a rough road's smaller exponent: mirrors towards grazing angles.
    grazing = (1 - np.clip(-d[..., 2], 0, 1)) ** 4
    share = plan.wetness * 0.9 * grazing * hit.road[top:]
    up = d * _UPSIDE_DOWN
    height = -hit.facade_z[top:]  # the ray goes on upwards from the road as steeply as it came down
    side = (d[..., 1] > 0).astype(np.int32)
    level = np.full(side.shape, min(2, textures.FACADE_LEVELS - 1), np.int32)  # rough: blurred
    covered = (height > 0) & (height < textures.FACADE_ROWS / textures.FACADE_SCALE)
    covered &= hit.facade_t[top:] * np.abs(d[..., 0]) < 300
    walls = np.array([[0, 1.0, 0], [0, -1.0, 0]], np.float32)
    light = lit(plan, walls)[side][..., None] * np.array(plan.light, np.float32) * covered[..., None]
    return Mirror(
        position=position * _UPSIDE_DOWN,
        to_camera=turn * _UPSIDE_DOWN,
        share=share[..., None].astype(np.float32),
        sky=sky(plan, up.astype(np.float32)),
        facade_x=np.where(covered, hit.facade_t[top:] * d[..., 0] * textures.FACADE_SCALE, 0).astype(np.float32)
        + np.float32(position[0] * textures.FACADE_SCALE),
        facade_y=textures.facade_row(side, level, np.clip(height, 0, None).astype(np.float32)),
        facade_gain=light.astype(np.float32),
        facade_mask=(covered / 255.0).astype(np.float32)[..., None],
    )


def sheen(plan: Plan, towards: Floats, normals: Floats, gloss: Floats) -> tuple[Floats, Floats]:
    """Light of sky and sun that glossy surfaces reflect.

    Args:
        plan: the drive's sun and sky.
        towards: unit directions (N, 3) from the camera to the surface.
        normals: unit normals (N, 3) that face the camera.
        gloss: (N,) share mirrored at right angles; it grows towards grazing ones.

    Returns:
        share (N, 1) of the surface's own light that is replaced, and the colours (N, 3) that replace it.
    """
    facing = np.clip(-(towards * normals).sum(axis=1), 0, 1)
    out = towards + 2 * facing[:, None] * normals
    share = gloss * (1 + 2.5 * (1 - facing) ** 3)
    blend = np.clip(out[:, 2:], 0, 1) ** 0.5
    above = np.array(plan.sky_horizon) * (1 - blend) + np.array(plan.sky_zenith) * blend
    below = 0.7 * np.array(plan.asphalt)
    colour = np.where(out[:, 2:] > 0, above, below)
    glint = np.clip(out @ sun_direction(plan), 0, 1) ** 80 * plan.sun_strength
    return np.clip(share, 0, 0.8)[:, None].astype(np.float32), (colour + 240 * glint[:, None]).astype(np.float32)
