"""Lane lines: where they run, in which colour, and how much of a pixel they cover."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .plan import Plan

Floats = NDArray[np.float32]
LINE_HALF_WIDTH = 0.075  # m
LINE_OPACITY = 0.9


def _paints(plan: Plan) -> tuple[Floats, Floats]:
    """Colours of the lane lines and of the middle line."""
    paint = np.array(plan.paint, np.float32)
    return paint, np.array((80, 185, 225), np.float32) if plan.centre_yellow else paint


def solid_lines(plan: Plan) -> list[tuple[float, Floats]]:
    """Offsets y and colours of the unbroken lines: the outer edges, and the middle where there is no island."""
    paint, middle = _paints(plan)
    lines = [(plan.outer_line, paint), (-plan.outer_line, paint)]
    if plan.median:
        lines += [(plan.inner_edge, middle), (-plan.inner_edge, middle)]
    elif plan.lanes > 1:
        lines += [(0.13, middle), (-0.13, middle)]
    return lines


def dashed_lines(plan: Plan) -> list[tuple[float, Floats]]:
    """Offsets y and colours of the broken lines."""
    paint, middle = _paints(plan)
    lines = [(s * (plan.inner_edge + k * plan.lane_width), paint) for k in range(1, plan.lanes) for s in (-1, 1)]
    if not plan.median and plan.lanes == 1:
        lines.append((0.0, middle))
    return lines


def across(offset: NDArray[np.floating], soft: NDArray[np.floating]) -> tuple[Floats, NDArray[np.bool_]]:
    """Coverage of a line by a pixel whose footprint across it is ``soft`` (m), and whether its centre is on it."""
    apart = np.abs(offset)
    full = np.minimum(1.0, 2 * LINE_HALF_WIDTH / soft)
    cover = np.clip((LINE_HALF_WIDTH - apart) / soft + 0.5, 0, 1) * full
    return cover.astype(np.float32), apart <= LINE_HALF_WIDTH
