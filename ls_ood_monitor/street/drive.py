"""Render a drive through the procedural street frame by frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property, lru_cache, partial

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from . import textures
from .backdrop import LANEMARKS, ROAD, View, make_view
from .camera import CAMERAS, MAX_ANGLE, project
from .light import sun_direction
from .outlines import fixed_point, outlines, visible_things
from .plan import draw_plan
from .shapes import shape
from .world import Thing, World

Image = NDArray[np.uint8]
Labels = NDArray[np.uint8]
_SHIFT = 4
_VIEWS_KEPT = 4
_POLES = ("tree", "lamp", "sign")  # tall and slim: their shadow is not that of a box


class StreetDrive:
    """A drive of the ego car along an endless street; the seed (>= 0) fixes the street, its traffic and its weather.

    Equal seeds give equal pictures. ``world`` is the source of the things in the street; None draws them from the seed.
    """

    def __init__(self, seed: int, world: World | None = None) -> None:
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ConfigError(f"StreetDrive seed is {seed!r}; it must be a whole number, 0 or larger.")
        self._plan = draw_plan(int(seed))
        self._world = world or World(self._plan)
        self._view = lru_cache(_VIEWS_KEPT)(partial(make_view, self._plan))

    @property
    def description(self) -> dict[str, object]:
        """The values drawn for this drive: street type, widths, light, weather, camera; lengths in metres, angles in degrees."""
        return asdict(self._plan)

    def render(self, camera: str, t_s: float, width: int = 640, height: int = 483) -> tuple[Image, Labels]:
        """Picture, BGR uint8 (H, W, 3), that ``camera`` sees ``t_s`` seconds into the drive, and classes, uint8 (H, W).

        Class ids are in the order of ``core.classes.CLASS_NAMES``. Raises ``ConfigError`` for an unknown camera, a
        negative or non-finite time, or a side outside 64..4096 pixels.
        """
        _check(camera, t_s, width, height)
        plan, view = self._plan, self._view(camera, width, height)
        ego_x = plan.ego_x(t_s)
        labels = view.labels.copy()
        image = self._backdrop(view, ego_x, labels)
        things = visible_things(self._world.things(t_s, ego_x), view)
        self._paint_crossings(image, labels, view, ego_x)
        self._cast_shadows(image, things, view)
        self._mirror(image, things, view, ego_x)
        drawn = outlines(things, view, plan, width, height)
        for points, colour, cls in zip(drawn.points, drawn.colours, drawn.classes, strict=True):
            cv2.fillPoly(image, [points], colour, cv2.LINE_AA, _SHIFT)
            cv2.fillPoly(labels, [points], cls, cv2.LINE_8, _SHIFT)
        labels &= view.keep
        return self._expose(image, view, camera, t_s), labels

    @cached_property
    def _ground(self) -> Image:
        return textures.ground_atlas(self._plan)

    @cached_property
    def _facades(self) -> Image:
        return textures.facade_atlas(self._plan)

    @cached_property
    def _tone(self) -> Image:
        """Tone curve of the camera."""
        x = np.arange(256, dtype=np.float64) / 255
        curve = 0.5 + (x - 0.5) * self._plan.contrast
        return np.clip(np.round(255 * curve), 0, 255).astype(np.uint8)

    def _backdrop(self, view: View, ego_x: float, labels: Labels) -> Image:
        """Ground, buildings and sky; adds the dashed lines to ``labels``."""
        wrap, linear = cv2.BORDER_WRAP, cv2.INTER_LINEAR
        canvas = view.ground_add.copy()
        shift = (ego_x * textures.GROUND_SCALE) % textures.GROUND_WIDTH
        texture = cv2.remap(self._ground, view.ground_x + np.float32(shift), view.ground_y, linear, borderMode=wrap)
        canvas[view.top :] += cv2.multiply(texture, view.ground_gain, dtype=cv2.CV_32F)
        self._paint_dashes(canvas, labels, view, ego_x)
        shift = (ego_x * textures.FACADE_SCALE) % textures.FACADE_WIDTH
        wall = cv2.remap(self._facades, view.facade_x + np.float32(shift), view.facade_y, linear, borderMode=wrap)
        cover = wall[..., 3:] * view.facade_mask
        upper = canvas[: view.bottom]
        upper += cover * (view.facade_haze - upper)
        upper += cv2.multiply(np.ascontiguousarray(wall[..., :3]), view.facade_gain, dtype=cv2.CV_32F)
        return _bytes(canvas)

    def _paint_dashes(self, canvas: NDArray[np.float32], labels: Labels, view: View, ego_x: float) -> None:
        plan = self._plan
        period = plan.dash_length + plan.dash_gap
        phase = np.mod(view.dash_x + np.float32(ego_x % period), np.float32(period))
        beyond = np.abs(phase - np.float32(plan.dash_length / 2)) - np.float32(plan.dash_length / 2)
        beyond = np.minimum(beyond, period - plan.dash_length - beyond)
        cover = np.clip(0.5 - beyond / view.dash_soft, 0, 1)
        alpha = (cover * view.dash_alpha)[:, None]
        flat = canvas.reshape(-1, 3)
        flat[view.dash_index] += alpha * (view.dash_colour - flat[view.dash_index])
        labels.reshape(-1)[view.dash_index[(beyond <= 0) & view.dash_is_paint]] = LANEMARKS

    def _paint_crossings(self, image: Image, labels: Labels, view: View, ego_x: float) -> None:
        plan = self._plan
        height, width = labels.shape
        colour = tuple(float(0.93 * p * k) for p, k in zip(plan.paint, plan.light, strict=True))
        half, limit = 1.6, plan.curb_y - plan.parking - 0.15
        bars = [(y, y + 0.5) for y in np.arange(-limit, limit - 0.5, 1.0) if abs(y + 0.25) > plan.median + 0.3]
        quads = []
        for x in self._world.crossings(ego_x, 34):
            if abs(x - ego_x) > 40:
                continue
            near, far = x - half - ego_x, x + half - ego_x
            quads += [_strip(near, far, a, b) for a, b in bars]
            lanes = (-plan.outer_line + 0.1, -plan.inner_edge - 0.1)
            quads.append(_strip(near - 1.6, near - 1.25, *lanes))
            quads.append(_strip(far + 1.25, far + 1.6, -lanes[1], -lanes[0]))
        bare = image.copy()
        paved = np.zeros_like(labels)
        for points in _on_picture(quads, view, width, height):
            cv2.fillPoly(image, [points], colour, cv2.LINE_AA, _SHIFT)
            cv2.fillPoly(paved, [points], 255, cv2.LINE_8, _SHIFT)
        on_road = (view.labels == ROAD) | (view.labels == LANEMARKS)
        labels[(paved > 0) & on_road] = LANEMARKS
        cv2.copyTo(bare, (~on_road).astype(np.uint8), image)

    def _cast_shadows(self, image: Image, things: Sequence[Thing], view: View) -> None:
        """Darken the ground under things, and beside them in sunshine."""
        plan = self._plan
        height, width = image.shape[:2]
        sun = sun_direction(plan)
        slope = -sun[:2] / sun[2]
        contact, cast, dappled = [], [], []
        for thing in things:
            if math.hypot(thing.x, thing.y - plan.ego_y) > 32:
                continue
            a, b = thing.half_extent
            place = np.array([thing.x, thing.y])
            lift = np.array([0, 0, plan.ground_height(thing.y)], np.float32)
            base = thing.name.rstrip("0123456789").split("_")[0]
            if base in _POLES:
                if plan.sun_strength > 0.2:
                    tall = shape(thing.name).extent[2]
                    cast.append(_pole_shadow(place, slope * 0.95 * tall) + lift)
                    if base == "tree":
                        dappled.append(_crown_shadow(place + slope * 0.72 * tall, slope) + lift)
                continue
            tall = min(0.9 * shape(thing.name).extent[2], 2.2)
            foot = np.array([[-a, -b], [a, -b], [a, b], [-a, b]], np.float32) + place
            contact.append(_ring(foot.astype(np.float32)) + lift)
            if plan.sun_strength > 0.2:
                slim = (foot - place) * (1.0, 0.9 if a > 1.2 else 0.6) + place
                both = np.concatenate([slim, slim + slope * tall]).astype(np.float32)
                cast.append(_ring(np.asarray(cv2.convexHull(both)[:, 0], np.float32)) + lift)
        mask = np.full((height, width, 3), 255, np.uint8)
        deep = 255 * (1 - 0.5 * plan.sun_strength)
        light = 255 * (1 - 0.38 * plan.sun_strength)
        for rings, grey in ((dappled, light), (cast, deep), (contact, min(deep, 150.0))):
            for points in _on_picture(rings, view, width, height):
                cv2.fillPoly(mask, [points], (grey, grey, grey), cv2.LINE_AA, _SHIFT)
        radius = max(1, width // 160)
        mask[view.top :] = cv2.blur(mask[view.top :], (2 * radius + 1, 2 * radius + 1))
        lower = image[view.top :]
        cv2.multiply(lower, mask[view.top :], dst=lower, scale=1 / 255)

    def _mirror(self, image: Image, things: Sequence[Thing], view: View, ego_x: float) -> None:
        """Blend the reflections of a wet road into ``image``: buildings, sky and things upside down."""
        mirror = view.mirror
        if mirror is None:
            return
        height, width = image.shape[:2]
        shift = np.float32((ego_x * textures.FACADE_SCALE) % textures.FACADE_WIDTH)
        wall = cv2.remap(
            self._facades, mirror.facade_x + shift, mirror.facade_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
        )
        seen = mirror.sky * (1 - wall[..., 3:] * mirror.facade_mask)
        seen += cv2.multiply(np.ascontiguousarray(wall[..., :3]), mirror.facade_gain, dtype=cv2.CV_32F)
        whole = np.zeros_like(image)
        whole[view.top :] = _bytes(seen)
        below = replace(view, position=mirror.position, to_camera=mirror.to_camera)
        drawn = outlines([t for t in things if abs(t.x) + abs(t.y) < 40], below, self._plan, width, height)
        for points, colour in zip(drawn.points, drawn.colours, strict=True):
            cv2.fillPoly(whole, [points], colour, cv2.LINE_AA, _SHIFT)
        rough = cv2.GaussianBlur(whole[view.top :], (0, 0), width / 400, sigmaY=width / 130)
        lower = image[view.top :]
        lower[:] = _bytes(lower + mirror.share * (rough.astype(np.float32) - lower))

    def _expose(self, image: Image, view: View, camera: str, t_s: float) -> Image:
        """Lens blur, fall-off, ego car, exposure, white balance, sensor noise and tone curve."""
        plan = self._plan
        height, width = image.shape[:2]
        soft = cv2.GaussianBlur(image, (0, 0), max(plan.blur * width / 640, 0.3))
        light = np.asarray(cv2.multiply(soft, view.gain, dtype=cv2.CV_32F), np.float32) + view.add
        rng = np.random.default_rng([0x94, plan.seed, CAMERAS.index(camera), round(t_s * 1e6)])
        pool = textures.sensor_noise()
        if height + 1 > pool.shape[0] or width + 1 > pool.shape[1]:
            pool = np.tile(pool, (height // pool.shape[0] + 2, width // pool.shape[1] + 2, 1))
        row, col = int(rng.integers(pool.shape[0] - height)), int(rng.integers(pool.shape[1] - width))
        noise = pool[row : row + height, col : col + width]
        noisy = cv2.scaleAdd(noise.astype(np.float32), plan.noise / 64.0, light)
        return np.asarray(cv2.LUT(_bytes(noisy), self._tone), np.uint8)


def _bytes(light: NDArray[np.integer | np.floating]) -> Image:
    """Round and saturate."""
    return np.asarray(cv2.add(light, np.zeros(4), dtype=cv2.CV_8U), np.uint8)


def _strip(x0: float, x1: float, y0: float, y1: float) -> NDArray[np.float32]:
    return _ring(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32))


def _ring(corners: NDArray[np.float32], step: float = 0.6) -> NDArray[np.float32]:
    """A ground outline (n, 2) with its edges cut into short pieces, as points (m, 3) on the ground."""
    pieces = []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        count = max(1, math.ceil(float(np.hypot(*(b - a))) / step))
        pieces.append(a + (b - a) * (np.arange(count, dtype=np.float32) / count)[:, None])
    flat = np.concatenate(pieces)
    return np.column_stack([flat, np.zeros(len(flat), np.float32)]).astype(np.float32)


def _pole_shadow(place: NDArray[np.floating], reach: NDArray[np.floating]) -> NDArray[np.float32]:
    """Outline of a thin shadow from ``place`` that ends ``reach`` further (m)."""
    along = reach / max(float(np.hypot(*reach)), 1e-6)
    across = 0.07 * np.array([-along[1], along[0]])
    return _ring(np.array([place - across, place + across, place + reach + across, place + reach - across], np.float32))


def _crown_shadow(centre: NDArray[np.floating], slope: NDArray[np.floating]) -> NDArray[np.float32]:
    """Outline of a tree crown's shadow: a ragged ellipse, longer where the sun is low."""
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    r = 1.35 + 0.25 * np.sin(5 * turn) + 0.12 * np.sin(11 * turn)
    along = slope / max(float(np.hypot(*slope)), 1e-6)
    stretch = math.hypot(1.0, float(np.hypot(*slope)))
    u, v = r * np.cos(turn) * stretch, r * np.sin(turn)
    points = centre + u[:, None] * along + v[:, None] * np.array([-along[1], along[0]])
    return np.column_stack([points, np.zeros(len(points))]).astype(np.float32)


def _on_picture(rings: list[NDArray[np.float32]], view: View, width: int, height: int) -> list[NDArray[np.int32]]:
    if not rings:
        return []
    sizes = np.array([len(r) for r in rings])
    local = (np.concatenate(rings) - view.position) @ view.to_camera.T
    pixels, theta = project(local, view.mount, width, height)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    shown = np.minimum.reduceat(theta, starts) < MAX_ANGLE
    fixed = fixed_point(pixels)
    return [fixed[a : a + n] for a, n, ok in zip(starts, sizes, shown, strict=True) if ok]


def _check(camera: str, t_s: float, width: int, height: int) -> None:
    if camera not in CAMERAS:
        raise ConfigError(f"There is no camera {camera!r}; the car has {', '.join(CAMERAS)}.")
    if isinstance(t_s, bool) or not isinstance(t_s, (int, float, np.number)) or not (math.isfinite(t_s) and t_s >= 0):
        raise ConfigError(f"Time in the drive is {t_s!r} s; it must be a finite number, 0 or larger.")
    for name, side in (("width", width), ("height", height)):
        if isinstance(side, bool) or not isinstance(side, (int, np.integer)) or not 64 <= side <= 4096:
            raise ConfigError(f"Picture {name} is {side!r}; it must be a whole number of pixels from 64 to 4096.")
