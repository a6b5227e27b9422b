"""The values that stay the same over a drive, drawn from its seed: street, light, weather, palette, camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]  # BGR, 0..255

STREET_TYPES = ("avenue", "narrow", "suburban", "arterial")
WEATHERS = ("clear", "overcast", "haze", "wet")


@dataclass(frozen=True)
class Plan:
    """The drawn values of one drive. Lengths in metres, angles in degrees, speeds in m/s; y points left.

    Right-hand traffic: the ego car and its lanes lie at negative y, the street's middle is y = 0.
    """

    seed: int
    street: str
    weather: str
    lanes: int  # per direction
    lane_width: float
    median: float  # half width of the raised island; 0 = no island
    shoulder: float  # strip between the outer lane line and the parking strip: bicycles ride here
    parking: float  # width of the parking strip; 0 = no strip
    sidewalk: float
    verge: float  # grass behind the sidewalk
    curb_height: float
    curb_width: float
    building_height: float
    house_gaps: float  # share of the building line that is open
    tree_share: float
    ego_lane: int  # 0 is next to the middle
    speed: float
    speed_swing: float
    dash_length: float
    dash_gap: float
    centre_yellow: bool
    crossing_spacing: float
    sun_azimuth: float
    sun_height: float
    sun_strength: float  # 0 diffuse, 1 hard light
    light: Colour  # multiplies every colour, 1 = neutral
    sky_zenith: Colour
    sky_horizon: Colour
    cloud_cover: float
    haze_per_m: float
    asphalt: Colour
    pavement: Colour
    curb: Colour
    grass: Colour
    facades: tuple[Colour, ...]
    paint: Colour
    wetness: float
    exposure: float
    contrast: float
    white_balance: Colour
    vignette: float
    blur: float  # pixels at 640 wide
    noise: float  # grey levels
    pitch: float
    roll: float
    camera_lift: float
    ego_colour: Colour
    clutter: float  # share of the places along the sidewalk where something stands about
    roadworks_spacing: float  # m between closed-off stretches of the shoulder; 0 = no roadworks

    @property
    def inner_edge(self) -> float:
        """|y| where the lanes of a direction begin."""
        return self.median + 0.35 if self.median else 0.0

    @property
    def outer_line(self) -> float:
        return self.inner_edge + self.lanes * self.lane_width

    @property
    def curb_y(self) -> float:
        """|y| of the curb face on both sides."""
        return self.outer_line + self.shoulder + self.parking

    @property
    def facade_y(self) -> float:
        return self.curb_y + self.curb_width + self.sidewalk + self.verge

    @property
    def ego_y(self) -> float:
        return -(self.inner_edge + (self.ego_lane + 0.5) * self.lane_width)

    def ground_height(self, y: float) -> float:
        """Height of the ground at lateral position ``y``: 0 on the road, the curb's height beside it."""
        return self.curb_height if abs(y) > self.curb_y or abs(y) < self.median else 0.0

    def ego_x(self, t_s: float) -> float:
        """Position of the ego car along the street at time ``t_s``."""
        return self.speed * t_s + self.speed_swing * (1.0 - float(np.cos(0.35 * t_s)))


def _colour(rng: np.random.Generator, bgr: Colour, spread: float) -> Colour:
    grey = rng.normal(0.0, spread)
    value: NDArray[np.float64] = np.clip(np.array(bgr) + grey + rng.normal(0.0, spread * 0.3, 3), 4, 250)
    return (float(value[0]), float(value[1]), float(value[2]))


_FACADES = ((150, 170, 185), (105, 130, 165), (80, 95, 140), (170, 175, 180), (120, 150, 190), (140, 140, 140),
            (165, 180, 205), (95, 110, 120), (185, 195, 200), (120, 135, 110))  # fmt: skip
_CAR_BODIES = ((200, 200, 200), (40, 38, 36), (110, 108, 105), (60, 40, 130), (120, 70, 40), (150, 150, 152))


def draw_plan(seed: int) -> Plan:
    """Draw everything that stays the same over one drive."""
    rng = np.random.default_rng([0x57, seed])
    u = rng.uniform
    street = STREET_TYPES[int(rng.choice(4, p=[0.25, 0.27, 0.22, 0.26]))]
    weather = WEATHERS[int(rng.choice(4, p=[0.45, 0.27, 0.14, 0.14]))]
    lanes = {"avenue": int(rng.integers(2, 4)), "arterial": 2}.get(street, 1)
    parking = {"avenue": 2.1 * (u() < 0.5), "narrow": 2.0 * (u() < 0.7), "suburban": 2.0 * (u() < 0.3)}.get(street, 0.0)
    sunny = weather in ("clear", "haze")
    warmth = u(-0.06, 0.10) if sunny else u(-0.06, 0.02)
    zenith = {"clear": (205, 150, 95), "haze": (205, 185, 165)}.get(weather, (190, 182, 172))
    horizon = {"clear": (228, 212, 192), "haze": (214, 208, 200)}.get(weather, (206, 203, 198))
    wet = u(0.35, 0.8) if weather == "wet" else 0.0
    facade_picks = rng.choice(len(_FACADES), 5, replace=False)
    white = u(-0.04, 0.04)
    return Plan(
        seed=seed,
        street=street,
        weather=weather,
        lanes=lanes,
        lane_width=u(3.0, 3.25) if street == "narrow" else u(3.2, 3.6),
        median=u(0.7, 1.5) if street == "avenue" else 0.0,
        shoulder={"arterial": u(1.5, 1.9)}.get(street, u(0.7, 1.3)),
        parking=float(parking),
        sidewalk=u(1.9, 2.8) if street == "narrow" else u(2.4, 4.0),
        verge=u(2.5, 6.0) if street == "suburban" else 0.0,
        curb_height=u(0.12, 0.17),
        curb_width=u(0.26, 0.38),
        building_height={"avenue": u(14, 20), "narrow": u(9, 15), "suburban": u(5, 8)}.get(street, u(6, 15)),
        house_gaps={"suburban": u(0.3, 0.5), "narrow": u(0.02, 0.1)}.get(street, u(0.08, 0.25)),
        tree_share={"suburban": u(0.14, 0.24), "narrow": u(0.0, 0.08)}.get(street, u(0.05, 0.16)),
        ego_lane=lanes - 1 if u() < 0.75 else 0,
        speed=u(7.0, 9.0),
        speed_swing=u(0.0, 2.0),
        dash_length=u(2.5, 4.0),
        dash_gap=u(3.0, 5.5),
        centre_yellow=bool(u() < 0.45),
        crossing_spacing=u(38, 60),
        sun_azimuth=u(0, 360),
        sun_height=u(22, 65),
        sun_strength=u(0.75, 1.0) if weather == "clear" else (u(0.25, 0.5) if weather == "haze" else u(0.0, 0.12)),
        light=(1.0 - warmth, 1.0, 1.0 + warmth),
        sky_zenith=_colour(rng, zenith, 10),
        sky_horizon=_colour(rng, horizon, 8),
        cloud_cover=u(0.1, 0.7) if sunny else u(0.8, 1.0),
        haze_per_m=u(0.006, 0.010) if weather == "haze" else u(0.0008, 0.003),
        asphalt=_colour(rng, (98, 97, 96) if not wet else (76, 74, 72), 9),
        pavement=_colour(rng, (140, 146, 152), 12),
        curb=_colour(rng, (172, 176, 180), 9),
        grass=_colour(rng, (55, 105, 82), 9),
        facades=tuple(_colour(rng, _FACADES[i], 10) for i in facade_picks),
        paint=_colour(rng, (222, 226, 228), 8),
        wetness=wet,
        exposure=u(0.86, 1.12),
        contrast=u(0.9, 1.12),
        white_balance=(1.0 + white, 1.0, 1.0 - white),
        vignette=u(0.12, 0.38),
        blur=u(0.35, 0.7),
        noise=u(1.0, 4.5),
        pitch=u(-2.0, 2.0),
        roll=u(-1.0, 1.0),
        camera_lift=u(-0.06, 0.10),
        ego_colour=_colour(rng, _CAR_BODIES[int(rng.integers(len(_CAR_BODIES)))], 6),
        clutter=u(0.1, 0.6),
        roadworks_spacing=u(70, 160) if u() < 0.35 else 0.0,
    )
