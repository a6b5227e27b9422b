"""Pedestrians, bicycles and motorcycles with and without rider, made of capsules and wheel discs."""

from __future__ import annotations

from .shape_builder import BICYCLE, MOTORCYCLE, PERSON, RIDER, ShapeBuilder


# Palette slots of a person: 0 skin, 1 jacket, 2 trousers, 3 hair or helmet, 4 shoes.
def pedestrian(phase: int) -> ShapeBuilder:
    swing = (0.26, 0.08, -0.26, -0.08)[phase]
    builder = ShapeBuilder(0.3, 0.28, 1.78)
    for side in (1, -1):
        foot = side * swing
        builder.capsule((foot, side * 0.09, 0.1), (foot * 0.55 + 0.04, side * 0.09, 0.5), 0.085, PERSON, 2)
        builder.capsule((foot * 0.55 + 0.04, side * 0.09, 0.5), (0, side * 0.09, 0.92), 0.105, PERSON, 2)
        builder.capsule((foot - 0.03, side * 0.09, 0.06), (foot + 0.12, side * 0.09, 0.06), 0.06, PERSON, 4)
        builder.capsule((0, side * 0.24, 1.38), (-foot * 0.8, side * 0.27, 0.98), 0.068, PERSON, 1)
        builder.capsule((-foot * 0.8, side * 0.27, 0.95), (-foot * 0.8 + 0.02, side * 0.27, 0.88), 0.05, PERSON, 0, 1)
    builder.capsule((0, 0.09, 1.0), (0, 0.12, 1.36), 0.145, PERSON, 1)
    builder.capsule((0, -0.09, 1.0), (0, -0.12, 1.36), 0.145, PERSON, 1)
    builder.capsule((0.02, 0, 1.56), (0.02, 0, 1.66), 0.105, PERSON, 0, 1)
    builder.capsule((-0.02, 0, 1.67), (-0.01, 0, 1.70), 0.11, PERSON, 3, 2)
    return builder


def _wheel(builder: ShapeBuilder, x: float, r: float, width: float, cls: int, rim_slot: int) -> None:
    builder.disc((x, 0, r), r, cls, 5, 0, "y", 16)
    builder.disc((x, 0, r), r * (0.8 if cls == BICYCLE else 0.55), cls, rim_slot, 1, "y", 12)
    builder.capsule((x, 0, width), (x, 0, 2 * r - width), width, cls, 5, 0)


# Machine slots: 5 tyre, 6 rim, 7 frame or tank, 8 saddle and engine, 9 lamp. Rider slots as a person's.
def _bicycle(builder: ShapeBuilder) -> None:
    for x in (-0.52, 0.54):
        _wheel(builder, x, 0.35, 0.03, BICYCLE, 6)
    joints = {"rear": (-0.52, 0, 0.35), "crank": (-0.05, 0, 0.32), "seat": (-0.2, 0, 0.86), "head": (0.38, 0, 0.86),
              "front": (0.54, 0, 0.35), "bar": (0.34, 0, 1.02)}  # fmt: skip
    for a, b in (("rear", "crank"), ("rear", "seat"), ("crank", "seat"), ("crank", "head"), ("seat", "head"),
                 ("head", "front"), ("head", "bar")):  # fmt: skip
        builder.capsule(joints[a], joints[b], 0.035, BICYCLE, 7, 2)
    builder.capsule((-0.32, 0, 0.93), (-0.1, 0, 0.93), 0.055, BICYCLE, 8, 2)
    builder.capsule((0.34, -0.28, 1.03), (0.34, 0.28, 1.03), 0.032, BICYCLE, 8, 2)


def _motorcycle(builder: ShapeBuilder) -> None:
    for x in (-0.68, 0.72):
        _wheel(builder, x, 0.33, 0.09, MOTORCYCLE, 6)
    builder.capsule((-0.4, 0, 0.48), (0.32, 0, 0.46), 0.22, MOTORCYCLE, 8, 2)
    builder.capsule((-0.85, 0, 0.82), (-0.2, 0, 0.78), 0.13, MOTORCYCLE, 8, 2)
    builder.capsule((0.02, 0, 0.86), (0.36, 0, 0.88), 0.19, MOTORCYCLE, 7, 3)
    builder.capsule((0.5, 0, 0.95), (0.72, 0, 0.35), 0.075, MOTORCYCLE, 6, 2)
    builder.capsule((-0.75, -0.17, 0.36), (-0.1, -0.17, 0.32), 0.065, MOTORCYCLE, 6, 3)
    builder.capsule((0.58, 0, 0.62), (0.84, 0, 0.68), 0.11, MOTORCYCLE, 7, 2)
    builder.capsule((0.44, -0.36, 1.08), (0.44, 0.36, 1.08), 0.045, MOTORCYCLE, 8, 3)
    builder.capsule((0.55, 0, 0.98), (0.62, 0, 0.98), 0.13, MOTORCYCLE, 9, 3)


def _rider(
    builder: ShapeBuilder, seat: float, lean: float, reach: tuple[float, float], foot_z: float, spread: float
) -> None:
    hip, neck = (-0.18, 0.0, seat + 0.1), (-0.18 + lean, 0.0, seat + 0.6)
    for i, side in enumerate((1, -1)):
        knee = (0.16, side * spread, seat - 0.02 - 0.18 * i * (spread < 0.15))
        builder.capsule((hip[0], side * 0.1, hip[2]), knee, 0.1, RIDER, 2, 4)
        builder.capsule(
            knee, (0.0 + 0.05 * side, side * spread, foot_z + 0.17 * i * (spread < 0.15)), 0.08, RIDER, 2, 4
        )
        builder.capsule((neck[0], side * 0.2, neck[2] - 0.06), (reach[0], side * 0.27, reach[1]), 0.065, RIDER, 1, 4)
        builder.capsule((hip[0], side * 0.08, hip[2]), (neck[0], side * 0.12, neck[2] - 0.08), 0.15, RIDER, 1, 4)
    builder.capsule((neck[0] + 0.06, 0, neck[2] + 0.16), (neck[0] + 0.06, 0, neck[2] + 0.22), 0.11, RIDER, 0, 5)
    builder.capsule((neck[0] + 0.03, 0, neck[2] + 0.24), (neck[0] + 0.08, 0, neck[2] + 0.26), 0.135, RIDER, 3, 6)


def two_wheeler(kind: str, ridden: bool) -> ShapeBuilder:
    builder = ShapeBuilder(0.9, 0.3, 1.75 if ridden else 1.1)
    if kind == "bicycle":
        _bicycle(builder)
        if ridden:
            _rider(builder, 0.92, 0.3, (0.32, 1.06), 0.26, 0.12)
    else:
        builder.half_length, builder.half_width = 1.1, 0.38
        _motorcycle(builder)
        if ridden:
            _rider(builder, 0.9, 0.14, (0.42, 1.1), 0.34, 0.24)
    return builder
