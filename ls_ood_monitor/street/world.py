"""The things in the street, standing, walking and driving: a function of the drive's seed, the time and the place.

Things sit in slots along the street (or along a lane that moves with its traffic); what a slot holds is drawn
from (seed, stream, slot). So the street is endless and looks the same at every visit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .palettes import (
    Palette,
    bin_palette,
    clutter_palette,
    lamp_palette,
    machine_palette,
    person_palette,
    sign_kind_and_palette,
    tree_palette,
    vehicle_palette,
)
from .plan import Plan
from .shapes import shape


@dataclass(frozen=True)
class Thing:
    """A shape at a place. ``along`` is x in the street, or in its lane's moving frame; metres and radians."""

    name: str
    along: float
    y: float
    yaw: float
    palette: Palette
    x: float = 0.0

    @property
    def half_extent(self) -> tuple[float, float]:
        length, width, _ = shape(self.name).extent
        c, s = abs(float(np.cos(self.yaw))), abs(float(np.sin(self.yaw)))
        return c * length + s * width, s * length + c * width


Builder = Callable[..., list[Thing]]  # what a slot holds, from its own generator


class World:
    """All things of one drive."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._slots: dict[tuple[int, int], tuple[Thing, ...]] = {}

    def things(self, t_s: float, ego_x: float) -> list[Thing]:
        """Everything near the ego car at ``t_s``; ``x`` is relative to the ego car."""
        plan = self._plan
        things: list[Thing] = []
        for side in (-1, 1):
            things += self._stream(10 + side, 6.4, 62, ego_x, self._parked, side) if plan.parking else []
            things += self._stream(20 + side, 3.0, 50, ego_x, self._furniture, side)
            for direction in (-1, 1):
                things += self._walkers(30 + side * 2 + direction, t_s, ego_x, side, direction)
            things += self._stream(100 + side, 4.3, 45, ego_x, self._clutter, side)
            things += self._works(110 + side, ego_x, side)
        if plan.median:
            things += self._stream(40, 6.0, 50, ego_x, self._island, 0)
        things += self._traffic(t_s, ego_x)
        things += self._crossing_people(t_s, ego_x)
        return [thing for thing in things if not self._hits_ego(thing)]

    def crossings(self, ego_x: float, reach: float) -> list[float]:
        """Street positions of the zebra crossings within ``reach`` of the ego car, and one spacing around."""
        spacing = self._plan.crossing_spacing
        first, last = int(np.ceil((ego_x - reach) / spacing)), int(np.floor((ego_x + reach) / spacing))
        return [k * spacing + 20.0 for k in range(first - 1, last + 1)]

    # ------------------------------------------------------------------------------------------- slots
    def _slot(self, stream: int, slot: int, build: Builder, *args: float) -> tuple[Thing, ...]:
        key = (stream, slot)
        if key not in self._slots:
            if len(self._slots) > 20_000:
                self._slots.clear()
            rng = np.random.default_rng([self._plan.seed, stream + 1000, slot + 1_000_000])
            self._slots[key] = tuple(build(rng, *args))
        return self._slots[key]

    def _stream(
        self, stream: int, pitch: float, reach: float, ego_x: float, build: Builder, *args: float, start: float = 0.0
    ) -> list[Thing]:
        """Things in slots of a frame whose origin has moved to ``start`` along the street."""
        first, last = int(np.floor((ego_x - start - reach) / pitch)), int(np.ceil((ego_x - start + reach) / pitch))
        return [
            replace(thing, x=slot * pitch + thing.along + start - ego_x)
            for slot in range(first, last + 1)
            for thing in self._slot(stream, slot, build, *args)
        ]

    def _parked(self, rng: np.random.Generator, side: int) -> list[Thing]:
        y = side * (self._plan.curb_y - 1.05)
        u = rng.uniform()
        heading = np.pi if side > 0 else 0.0
        if u < 0.46:
            name = str(rng.choice(["sedan", "hatch", "suv", "van"], p=[0.35, 0.35, 0.2, 0.1]))
            return [Thing(name, rng.uniform(-0.4, 0.4), y, heading, vehicle_palette(rng))]
        if u < 0.9:
            kind = "bicycle" if u < 0.68 else "motorcycle"
            n, lean = int(rng.integers(1, 4)), rng.uniform(0.2, 1.2) * rng.choice([-1, 1])
            return [Thing(kind, -1.8 + 1.7 * i, y + rng.uniform(-0.2, 0.2), heading + lean, machine_palette(rng, kind))
                    for i in range(n)]  # fmt: skip
        return []

    def _furniture(self, rng: np.random.Generator, side: int) -> list[Thing]:
        plan = self._plan
        y = side * (plan.curb_y + plan.curb_width + 0.35)
        u, along = rng.uniform(), rng.uniform(-0.6, 0.6)
        if u < 0.34:
            kind, palette = sign_kind_and_palette(rng)
            facing = "y" if rng.uniform() < 0.45 else "x"
            return [Thing(f"sign_{kind}_{facing}", along, y, 0.0, palette)]
        if u < 0.34 + plan.tree_share:
            palette = tree_palette(rng, plan)
            return [Thing(f"tree{int(rng.integers(4))}", along, y + side * 0.2, rng.uniform(0, 6), palette)]
        if u < 0.74:
            kind = "bicycle" if rng.uniform() < 0.58 else "motorcycle"
            return [Thing(kind, along, y + side * 0.25, rng.uniform(-0.3, 0.3) + np.pi * rng.integers(2),
                          machine_palette(rng, kind))]  # fmt: skip
        if u < 0.79:
            return [Thing("lamp", along, y, np.pi if side > 0 else 0.0, lamp_palette())]
        if u < 0.83:
            return [Thing("bin", along, y, 0.0, bin_palette(rng))]
        return []

    def _clutter(self, rng: np.random.Generator, side: int) -> list[Thing]:
        plan = self._plan
        if rng.uniform() > plan.clutter:
            return []
        name = str(rng.choice(["bollard", "bench", "hydrant", "planter", "column", "shelter", "heap"],
                              p=[0.3, 0.15, 0.12, 0.15, 0.06, 0.06, 0.16]))  # fmt: skip
        kerbside = name in ("bollard", "hydrant", "heap")
        inside = plan.curb_width + (0.5 if kerbside else plan.sidewalk - 0.5 - shape(name).extent[1])
        yaw = 0.0 if side < 0 else np.pi  # benches and shelters face the road
        palette = clutter_palette(rng, name, plan)
        row = int(rng.integers(2, 4)) if name == "bollard" else 1
        return [
            Thing(name, rng.uniform(-0.1, 0.1) + 1.3 * i, side * (plan.curb_y + inside), yaw, palette)
            for i in range(row)
        ]

    def _works(self, stream: int, ego_x: float, side: int) -> list[Thing]:
        """Roadworks on the strip beside the outer lane: barriers at both ends, cones along it."""
        spacing = self._plan.roadworks_spacing
        return self._stream(stream, spacing, 60, ego_x, self._closure, side) if spacing else []

    def _closure(self, rng: np.random.Generator, side: int) -> list[Thing]:
        plan = self._plan
        if rng.uniform() < 0.4:
            return []
        line, length = side * (plan.outer_line + 0.35), rng.uniform(6, 16)
        middle = side * (plan.outer_line + 0.5 * plan.shoulder + 0.3)
        cones = [
            Thing(
                "cone", float(x), line + rng.uniform(-0.12, 0.12), rng.uniform(0, 6), clutter_palette(rng, "cone", plan)
            )
            for x in np.arange(-length / 2, length / 2, rng.uniform(1.5, 2.6))
        ]
        ends = [
            Thing("barrier", x, middle, 0.0, clutter_palette(rng, "barrier", plan))
            for x in (-length / 2 - 0.8, length / 2 + 0.8)
        ]
        return cones + ends

    def _island(self, rng: np.random.Generator, _side: int) -> list[Thing]:
        u = rng.uniform()
        if u < 0.4:
            palette = tree_palette(rng, self._plan)
            return [Thing(f"tree{int(rng.integers(4))}", 0.0, 0.0, rng.uniform(0, 6), palette)]
        if u < 0.7:
            kind, palette = sign_kind_and_palette(rng)
            return [Thing(f"sign_{kind}_x", 0.0, 0.0, 0.0, palette)]
        return []

    # ------------------------------------------------------------------------------------------- moving things
    def _walkers(self, stream: int, t_s: float, ego_x: float, side: int, direction: int) -> list[Thing]:
        speed = direction * (1.15 + 0.1 * side)
        people = self._stream(stream, 5.5, 42, ego_x, self._walker, side, direction, start=speed * t_s)
        return [replace(p, name=f"walk{int((ego_x + p.x) / 0.36 + 50 * abs(p.y)) % 4}") for p in people]

    def _walker(self, rng: np.random.Generator, side: int, direction: int) -> list[Thing]:
        if rng.uniform() > 0.72:
            return []
        plan = self._plan
        room = plan.sidewalk - 1.0
        y = side * (plan.curb_y + plan.curb_width + 0.75 + room * rng.uniform(0.0, 0.85))
        yaw = 0.0 if direction > 0 else np.pi
        return [Thing("walk0", rng.uniform(-2.2, 2.2), y, yaw + rng.normal(0, 0.15), person_palette(rng))]

    def _traffic(self, t_s: float, ego_x: float) -> list[Thing]:
        plan = self._plan
        things: list[Thing] = []
        rng = np.random.default_rng([0x93, plan.seed])
        for direction in (-1, 1):
            for lane in range(plan.lanes):
                offset = rng.uniform(-1.5, 2.0)
                y = -direction * (plan.inner_edge + (lane + 0.5) * plan.lane_width)
                is_ego = direction > 0 and lane == plan.ego_lane
                start = ego_x if is_ego else direction * (plan.speed + offset) * t_s
                pitch = 17.0 if is_ego else 15.0
                things += self._stream(
                    50 + 10 * direction + lane, pitch, 85, ego_x, self._driver, y, direction, start=start
                )
            edge = -direction * (plan.outer_line + 0.5 * plan.shoulder)
            speed = direction * rng.uniform(3.6, 5.5)
            things += self._stream(80 + direction, 8.0, 45, ego_x, self._cyclist, edge, direction, start=speed * t_s)
        line = plan.ego_y + 0.5 * plan.lane_width
        if plan.median == 0 or plan.ego_lane > 0:
            speed = plan.speed + rng.uniform(1.2, 2.8)
            things += self._stream(90, 15.0, 45, ego_x, self._filtering, line, 1, start=speed * t_s)
        return things

    def _driver(self, rng: np.random.Generator, y: float, direction: int) -> list[Thing]:
        u, along, yaw = rng.uniform(), rng.uniform(-2.2, 2.2), 0.0 if direction > 0 else np.pi
        y = y + rng.uniform(-0.15, 0.15)
        if u < 0.5:
            names = ["sedan", "hatch", "suv", "van", "bus"]
            name = str(rng.choice(names, p=[0.32, 0.28, 0.2, 0.13, 0.07]))
            return [Thing(name, along, y, yaw, vehicle_palette(rng))]
        if u < 0.82:
            return [Thing("motorcyclist", along, y + rng.uniform(-0.4, 0.4), yaw, machine_palette(rng, "motorcycle"))]
        return []

    def _cyclist(self, rng: np.random.Generator, y: float, direction: int) -> list[Thing]:
        yaw = 0.0 if direction > 0 else np.pi
        u = rng.uniform()
        if u < 0.66:
            return [Thing("cyclist", rng.uniform(-2.5, 2.5), y + rng.uniform(-0.1, 0.1), yaw,
                          machine_palette(rng, "bicycle"))]  # fmt: skip
        return []

    def _filtering(self, rng: np.random.Generator, y: float, _direction: int) -> list[Thing]:
        if rng.uniform() > 0.6:
            return []
        return [Thing("motorcyclist", rng.uniform(-4, 4), y + rng.uniform(-0.1, 0.1), 0.0,
                      machine_palette(rng, "motorcycle"))]  # fmt: skip

    def _crossing_people(self, t_s: float, ego_x: float) -> list[Thing]:
        """People on the zebra crossings, timed so that they are clear of the ego car when it passes."""
        plan = self._plan
        people: list[Thing] = []
        limit = plan.curb_y + 1.5
        for x in self.crossings(ego_x, 40):
            t_pass = (x - plan.speed_swing) / plan.speed
            for thing in self._slot(95, round(x), self._crosser):
                direction = 1 if abs(thing.yaw - np.pi / 2) < 0.1 else -1
                y = plan.ego_y + thing.y + direction * 1.25 * (t_s - t_pass)
                if abs(y) < limit:
                    people.append(replace(thing, x=x + thing.along - ego_x, y=y, name=f"walk{int(abs(y) / 0.36) % 4}"))
        return people

    def _crosser(self, rng: np.random.Generator) -> list[Thing]:
        people = []
        for _ in range(int(rng.integers(2, 7))):
            direction = int(rng.choice([-1, 1]))
            away = direction * rng.uniform(3.2, 9.0) if rng.uniform() < 0.75 else -direction * rng.uniform(4.5, 9.0)
            along, yaw = rng.uniform(-1.3, 1.3), direction * np.pi / 2
            people.append(Thing("walk0", along, float(away), yaw, person_palette(rng)))
        return people

    def _hits_ego(self, thing: Thing) -> bool:
        half_x, half_y = thing.half_extent
        if thing.name.startswith(("tree", "sign", "lamp")):
            return False
        return abs(thing.x) < half_x + 2.9 and abs(thing.y - self._plan.ego_y) < half_y + 1.0
