"""WoodScape's fisheye projection and the four places on the car where the cameras sit.

Vehicle and street frame: x forward, y left, z up, metres; the vehicle's origin lies on the ground below its centre.
Camera frame: x right, y down, z along the optical axis.
Source: Yogamani et al., WoodScape, ICCV 2019 (fourth-order polynomial r(theta), image 1280x966).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

POLYNOMIAL = (339.749, -31.988, 48.275, -7.201)  # pixels per rad, rad^2, rad^3, rad^4 at 1280x966
REFERENCE_SIZE = (1280, 966)
MAX_ANGLE = 1.76  # rad off the axis; beyond it the lens barrel is black
_GUARD_ANGLE = 2.3  # rad; directions further out are drawn on this ring, which no picture shows


@dataclass(frozen=True)
class Mount:
    """Where a camera sits: position (m) and yaw (left positive), pitch (downward positive) in degrees."""

    x: float
    y: float
    z: float
    yaw: float
    pitch: float
    offset: tuple[float, float]  # principal point minus picture centre, pixels at the reference size


MOUNTS: dict[str, Mount] = {
    "front": Mount(2.28, 0.0, 0.80, 0.0, 10.0, (3.9, -3.1)),
    "left": Mount(0.75, 1.04, 1.08, 90.0, 24.0, (-2.2, 4.0)),
    "right": Mount(0.75, -1.04, 1.08, -90.0, 24.0, (2.7, 1.5)),
    "rear": Mount(-2.28, 0.0, 0.98, 180.0, 14.0, (-3.4, -1.8)),
}
CAMERAS: tuple[str, ...] = tuple(MOUNTS)


def radius(theta: NDArray[np.floating]) -> NDArray[np.floating]:
    """Image radius in reference pixels of rays ``theta`` rad off the axis."""
    a1, a2, a3, a4 = POLYNOMIAL
    return theta * (a1 + theta * (a2 + theta * (a3 + theta * a4)))


@lru_cache(maxsize=1)
def _inverse_table() -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    theta = np.linspace(0.0, 2.6, 8193)
    return radius(theta), theta


def angle(r: NDArray[np.floating]) -> NDArray[np.floating]:
    """Inverse of ``radius`` for 0 <= r <= radius(2.6 rad)."""
    radii, thetas = _inverse_table()
    return np.asarray(np.interp(r, radii, thetas))


def rotation(mount: Mount, pitch_offset: float = 0.0, roll: float = 0.0) -> Floats:
    """Rows are the camera's right, down and forward axes in the street frame: (3, 3). Offsets in degrees."""
    yaw, pitch = np.radians([mount.yaw, mount.pitch + pitch_offset])
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    down = np.cross(forward, right)
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    return np.stack([c * right + s * down, c * down - s * right, forward]).astype(np.float32)


def _intrinsics(mount: Mount, width: int, height: int) -> tuple[float, float, float, float]:
    scale_x, scale_y = width / REFERENCE_SIZE[0], height / REFERENCE_SIZE[1]
    centre_x = (REFERENCE_SIZE[0] / 2 + mount.offset[0]) * scale_x - 0.5
    centre_y = (REFERENCE_SIZE[1] / 2 + mount.offset[1]) * scale_y - 0.5
    return scale_x, scale_y, centre_x, centre_y


def project(points: NDArray[np.floating], mount: Mount, width: int, height: int) -> tuple[Floats, Floats]:
    """Project camera-frame points (..., 3) to pixel centres (..., 2); also their angle off the axis (...), rad.

    Directions beyond the guard angle are drawn on the guard ring, outside every picture, so that an outline that
    leaves the field of view stays closed.
    """
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    off_axis = np.hypot(x, y)
    theta = np.arctan2(off_axis, z)
    scale = radius(np.minimum(theta, _GUARD_ANGLE)) / np.maximum(off_axis, 1e-9)
    scale_x, scale_y, centre_x, centre_y = _intrinsics(mount, width, height)
    pixels = np.stack([x * scale * scale_x + centre_x, y * scale * scale_y + centre_y], axis=-1)
    return pixels.astype(np.float32), theta.astype(np.float32)


@lru_cache(maxsize=16)
def rays(mount: Mount, width: int, height: int) -> tuple[Floats, Floats]:
    """Camera-frame unit rays (H, W, 3) of the pixel centres, and their angle off the axis (H, W), rad."""
    scale_x, scale_y, centre_x, centre_y = _intrinsics(mount, width, height)
    x = (np.arange(width, dtype=np.float64) - centre_x) / scale_x
    y = (np.arange(height, dtype=np.float64)[:, None] - centre_y) / scale_y
    r = np.hypot(x, y)
    theta = angle(r)
    scale = np.sin(theta) / np.maximum(r, 1e-9)
    table = np.stack(np.broadcast_arrays(x * scale, y * scale, np.cos(theta)), axis=-1).astype(np.float32)
    return table, theta.astype(np.float32)
