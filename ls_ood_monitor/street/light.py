"""Sun, sky and air of a drive."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from . import textures
from .plan import Plan

Floats = NDArray[np.float32]


def sun_direction(plan: Plan) -> Floats:
    """Unit vector towards the sun."""
    azimuth, height = np.radians([plan.sun_azimuth, plan.sun_height])
    return np.array(
        [np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)], dtype=np.float32
    )


def lit(plan: Plan, normals: Floats) -> Floats:
    """Light (N,) that surfaces with unit ``normals`` (N, 3) receive; 1 is level ground in the open."""
    sun = sun_direction(plan)
    hard = 0.42 * plan.sun_strength
    direct = np.clip(normals @ sun, 0, 1) / max(float(sun[2]), 0.45)
    sky = 0.78 + 0.22 * normals[..., 2]
    return np.asarray((1 - hard) * sky + hard * np.minimum(direct, 1.25), np.float32)


def building_shade(plan: Plan, y: NDArray[np.floating]) -> Floats:
    """1 where the building row on the sun's side shades the ground (mean building height, soft edge)."""
    sun = sun_direction(plan)
    if plan.house_gaps > 0.28 or abs(float(sun[1])) < 0.05:
        return np.zeros(y.shape, np.float32)
    reach = 0.85 * plan.building_height * abs(float(sun[1])) / float(sun[2])
    from_wall = plan.facade_y - y if sun[1] > 0 else plan.facade_y + y
    return np.asarray(np.clip((reach - from_wall) / 0.6 + 0.5, 0, 1), np.float32)


def sky(plan: Plan, d: Floats) -> Floats:
    """Colour (H, W, 3) of the sky, its clouds and the hills on the horizon along rays ``d`` (H, W, 3)."""
    up = np.clip(d[..., 2], 0, 1)
    blend = (1 - (1 - up) ** 2.2)[..., None]
    colour = np.array(plan.sky_horizon) * (1 - blend) + np.array(plan.sky_zenith) * blend
    scale = 90.0 / (up + 0.18)
    shift = (plan.seed * 37) % 1024
    noise = textures.noise_tiles()[2]
    cloud = cv2.remap(
        noise,
        (d[..., 0] * scale + shift).astype(np.float32),
        (d[..., 1] * scale).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
    amount = np.clip(cloud * 0.35 + plan.cloud_cover - 0.5, 0, 1)[..., None] * np.clip(up * 5, 0, 1)[..., None]
    white = 235.0 if plan.weather == "clear" else 205.0
    colour = colour * (1 - 0.7 * amount) + white * 0.7 * amount
    ridge = 0.022 + 0.012 * np.sin(np.arctan2(d[..., 1], d[..., 0]) * 9 + plan.seed)
    hills = (d[..., 2] < ridge)[..., None]
    far = 0.45 * np.array(plan.grass) + 0.55 * np.array(plan.sky_horizon) * 0.8
    return np.where(hills, far, colour).astype(np.float32)
