"""The street's cross-section: where a ray meets road, curbs, island, sidewalks and building fronts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import textures
from .plan import Plan

Floats = NDArray[np.float32]
ASPHALT, _PAVEMENT, _CURBSTONE, _GRASS = (textures.MATERIALS.index(n) for n in ("asphalt", "pavement", "curb", "grass"))
LEVEL = 1e-4  # rays less steep than this never reach the ground


@dataclass(frozen=True)
class RayHits:
    """Where the rays of a picture meet the street's cross-section; arrays (H, W)."""

    t: NDArray[np.floating]  # distance along the ray, m
    y: NDArray[np.floating]
    ground: NDArray[np.bool_]  # everything but buildings and sky
    material: NDArray[np.int32]  # index into textures.MATERIALS
    curb: NDArray[np.bool_]
    riser: NDArray[np.bool_]  # the upright face of the outer curbs
    facade: NDArray[np.bool_]
    facade_t: NDArray[np.floating]
    facade_z: NDArray[np.floating]

    @property
    def road(self) -> NDArray[np.bool_]:
        return np.asarray(self.ground & (self.material == ASPHALT))


def intersect(plan: Plan, d: Floats, cy: float, cz: float) -> RayHits:
    """Meet rays ``d`` from lateral position ``cy`` and height ``cz`` with road, curbs, sidewalks and buildings.

    A ray that reaches road level beyond the curb face but curb level before it has hit the face in between.
    """
    dy, dz = d[..., 1], d[..., 2]
    down = np.minimum(dz, -LEVEL)
    t0, t1 = -cz / down, (plan.curb_height - cz) / down
    y0, y1 = cy + t0 * dy, cy + t1 * dy
    a0, a1 = np.abs(y0), np.abs(y1)
    raised = a0 > plan.curb_y
    riser = raised & (a1 <= plan.curb_y)
    on_top = raised & ~riser
    y, t = np.where(on_top, y1, y0), np.where(on_top, t1, t0)
    curb = raised & (a1 <= plan.curb_y + plan.curb_width)
    material = np.full(dy.shape, ASPHALT, np.int32)
    material[curb] = _CURBSTONE
    material[raised & (a1 > plan.curb_y + plan.curb_width)] = _PAVEMENT
    material[raised & (a1 > plan.facade_y - plan.verge)] = _GRASS
    outwards = np.where(dy < 0, -1, 1)
    t = np.where(riser, (outwards * plan.curb_y - cy) / dy, t)
    if plan.median:
        near_face = (y1 < -plan.median) & (y0 > -plan.median)
        island = a1 <= plan.median
        island_curb = near_face | (island & (a1 > plan.median - plan.curb_width))
        t = np.where(near_face, (-plan.median - cy) / dy, np.where(island, t1, t))
        y = np.where(near_face | island, y1, y)
        material[island] = _GRASS
        material[island_curb] = _CURBSTONE
        curb |= island_curb
    facade_t = (outwards * plan.facade_y - cy) / dy
    facade_z = cz + facade_t * dz
    ground = (dz < -LEVEL) & (t < 400) & (t <= facade_t + 1e-3)
    facade = ~ground & (facade_z < textures.FACADE_ROWS / textures.FACADE_SCALE) & (facade_t < 500)
    return RayHits(t, y, ground, material, curb, riser, facade, facade_t, facade_z)
