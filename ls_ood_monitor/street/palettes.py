"""Colours of the things in the street, drawn per thing: BGR, 0..255, before the light falls on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .plan import Colour, Plan

Palette = NDArray[np.float32]  # (10, 3) BGR, a row for each colour slot of the shape

_BODIES = ((225, 226, 226), (36, 34, 33), (150, 150, 148), (92, 90, 88), (52, 38, 150), (140, 84, 46), (70, 60, 50),
           (60, 100, 60), (120, 165, 190), (60, 130, 205), (185, 120, 40), (40, 30, 110))  # fmt: skip
_CLOTHES = ((60, 45, 40), (150, 90, 50), (60, 60, 170), (70, 140, 70), (190, 190, 190), (60, 170, 200), (110, 60, 120),
            (35, 35, 38), (100, 120, 150), (40, 90, 190))  # fmt: skip
_SKINS = ((140, 170, 215), (105, 140, 190), (70, 95, 140), (50, 65, 95))
_HAIR = ((30, 35, 45), (40, 60, 100), (120, 120, 125), (60, 130, 170))
_BINS = ((60, 90, 60), (70, 70, 70), (110, 80, 40))
_THINGS = ((70, 110, 150), (60, 80, 110), (150, 155, 160), (95, 130, 175), (60, 60, 170), (140, 90, 50),
           (200, 200, 205), (80, 130, 80), (50, 170, 210))  # fmt: skip
_POLE = (125, 127, 128)
_SIGNS = (
    ("disc", (40, 30, 200), (235, 235, 235), (30, 30, 30)),
    ("disc", (195, 95, 20), (200, 105, 25), (240, 240, 240)),
    ("disc", (40, 30, 200), (45, 35, 205), (240, 240, 240)),
    ("triangle", (40, 30, 205), (235, 238, 238), (30, 30, 30)),
    ("panel", (200, 100, 20), (240, 240, 240), (240, 240, 240)),
    ("panel", (30, 205, 240), (30, 30, 30), (30, 30, 30)),
    ("board", (90, 130, 20), (240, 240, 240), (240, 240, 240)),
    ("board", (190, 95, 20), (240, 240, 240), (240, 240, 240)),
)


def _palette(*colours: Colour) -> Palette:
    padded = [*colours, *[(90.0, 90.0, 90.0)] * (10 - len(colours))]
    return np.array(padded, np.float32)


def _pick(rng: np.random.Generator, table: tuple[tuple[int, int, int], ...]) -> Colour:
    value = np.clip(np.array(table[int(rng.integers(len(table)))]) * rng.uniform(0.8, 1.15), 12, 245)
    return (float(value[0]), float(value[1]), float(value[2]))


def vehicle_palette(rng: np.random.Generator) -> Palette:
    """Slots as listed in ``vehicles``."""
    return _palette(_pick(rng, _BODIES), (74, 62, 52), (24, 24, 25), (135, 135, 135), (40, 30, 190), (225, 235, 235),
                    (38, 38, 38), (220, 222, 222))  # fmt: skip


def person_palette(rng: np.random.Generator) -> Palette:
    """Slots as listed in ``road_users``."""
    return _palette(_pick(rng, _SKINS), _pick(rng, _CLOTHES), _pick(rng, _CLOTHES),
                    _pick(rng, _HAIR), (35, 35, 38))  # fmt: skip


def machine_palette(rng: np.random.Generator, kind: str) -> Palette:
    """A bicycle or motorcycle and the person who may ride it; slots as listed in ``road_users``."""
    palette = person_palette(rng)
    palette[1] = _pick(rng, ((60, 220, 190), (40, 130, 235), (60, 60, 190), (180, 120, 50), (70, 170, 60)))
    palette[3] = _pick(rng, ((235, 235, 235), (40, 40, 200), (200, 130, 40), (50, 200, 220)))
    if kind == "bicycle":
        palette[5:10] = [(30, 30, 30), (150, 152, 155), _pick(rng, ((60, 60, 200), (190, 120, 40), (70, 160, 60),
                         (40, 190, 220), (210, 210, 210))), (28, 28, 30), (200, 200, 200)]  # fmt: skip
    else:
        palette[1] = _pick(rng, ((40, 40, 42), (60, 45, 45), (50, 50, 140), (45, 60, 80)))
        palette[5:10] = [(20, 20, 21), (105, 105, 108), _pick(rng, ((35, 30, 170), (130, 60, 25), (40, 40, 40),
                         (30, 120, 200))), (42, 40, 40), (225, 232, 235)]  # fmt: skip
    return palette


def sign_kind_and_palette(rng: np.random.Generator) -> tuple[str, Palette]:
    """A plate and its colours: grey pole, plate, inner plate, symbol."""
    kind, plate, inner, symbol = _SIGNS[int(rng.integers(len(_SIGNS)))]
    return kind, _palette(_POLE, plate, inner, symbol)


def tree_palette(rng: np.random.Generator, plan: Plan) -> Palette:
    """Trunk and three greens from dark to light."""
    green = np.array(plan.grass) * rng.uniform(0.7, 1.1)
    dark, middle, light = ((float(c[0]), float(c[1]), float(c[2])) for c in (green * 0.62, green * 0.85, green * 1.1))
    return _palette((50, 65, 82), dark, middle, light)


def lamp_palette() -> Palette:
    """Grey metal."""
    return _palette((105, 106, 106))


def clutter_palette(rng: np.random.Generator, name: str, plan: Plan) -> Palette:
    """Slots as listed in ``clutter``."""
    green = np.array(plan.grass) * rng.uniform(0.7, 1.2)
    leaves = [(float(c[0]), float(c[1]), float(c[2])) for c in (green * 0.7, green)]
    if name in ("cone", "barrier"):
        return _palette(_pick(rng, ((30, 90, 235), (40, 40, 205))), (228, 230, 232), (38, 38, 40), *leaves)
    main, second = _pick(rng, _THINGS), _pick(rng, _THINGS)
    return _palette(main, second, _pick(rng, ((60, 62, 62), (45, 50, 45), (110, 112, 112))), *leaves)


def bin_palette(rng: np.random.Generator) -> Palette:
    """Green, grey or blue."""
    return _palette(_pick(rng, _BINS))
