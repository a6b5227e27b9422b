"""The camera's effect on the light (lens circle, fall-off, exposure, white balance), and its view of the ego car."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .camera import MAX_ANGLE
from .light import sky
from .plan import Plan

Floats = NDArray[np.float32]
_EGO_BOX = ((-2.17, 2.17), (-0.93, 0.93), (0.22, 1.0))  # m; what the cameras see of the ego car


def optics(plan: Plan, d: Floats, theta: Floats, position: Floats) -> tuple[Floats, Floats, NDArray[np.uint8]]:
    """Last gain (H, W, 3), what the ego car adds (H, W, 3), and the mask of the street (H, W)."""
    origin = np.array([position[0], position[1] - plan.ego_y, position[2]])
    near, far = np.full(theta.shape, -np.inf), np.full(theta.shape, np.inf)
    for axis, (low, high) in enumerate(_EGO_BOX):
        step = np.where(np.abs(d[..., axis]) < 1e-6, 1e-6, d[..., axis])
        a, b = (low - origin[axis]) / step, (high - origin[axis]) / step
        near, far = np.maximum(near, np.minimum(a, b)), np.minimum(far, np.maximum(a, b))
    ego = (near < far) & (far > 0)
    rim = np.clip((MAX_ANGLE - theta) / 0.02, 0, 1)
    fall = 1.0 - plan.vignette * np.clip(theta / MAX_ANGLE, 0, 1) ** 3
    lens = (rim * fall * plan.exposure).astype(np.float32)[..., None] * np.array(plan.white_balance, np.float32)
    hit_z = origin[2] + np.where(ego, near, 0) * d[..., 2]
    sheen = (0.35 + 0.5 * np.clip(hit_z, 0, 1.1))[..., None]
    body = np.array(plan.ego_colour) * sheen + 14.0 * np.clip(hit_z, 0, 1)[..., None]
    # The hood and the doors mirror what is around: rays turn over on the level top, and aside on the upright faces.
    top = (hit_z > _EGO_BOX[2][1] - 0.02)[..., None]
    thrown = np.where(top, sky(plan, d * np.array([1, 1, -1], np.float32)), 0.8 * np.array(plan.asphalt))
    body += (0.06 + 0.3 * (1 - np.abs(d[..., 2:])) ** 3) * (thrown - body)
    add = np.where(ego[..., None], body, 0) * lens
    gain = np.where(ego[..., None], 0, lens)
    keep = np.where(ego | (theta > MAX_ANGLE), 0, 255).astype(np.uint8)
    return gain.astype(np.float32), add.astype(np.float32), keep
