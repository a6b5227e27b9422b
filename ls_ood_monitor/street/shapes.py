"""The catalogue of shapes by name."""

from __future__ import annotations

from functools import lru_cache

from .clutter import CLUTTER
from .furniture import bin_, lamp, sign, tree
from .road_users import pedestrian, two_wheeler
from .shape_builder import Shape, ShapeBuilder
from .vehicles import PROFILES, vehicle


@lru_cache(maxsize=64)
def shape(name: str) -> Shape:
    """The shape called ``name``.

    Names: a vehicle kind (``sedan`` ...), ``walk0`` to ``walk3`` (phases of a step), ``bicycle``, ``motorcycle``,
    ``cyclist``, ``motorcyclist``, ``sign_<plate>_<axis it faces>``, ``tree0`` to ``tree3``, ``lamp``, ``bin``, and
    the names in ``CLUTTER``.
    """
    return _builder(name).build()


def _builder(name: str) -> ShapeBuilder:
    if name in CLUTTER:
        return CLUTTER[name]()
    if name in PROFILES:
        return vehicle(name)
    if name.startswith("walk"):
        return pedestrian(int(name[4:]))
    if name.startswith("tree"):
        return tree(int(name[4:]))
    if name.startswith("sign_"):
        return sign(name.removeprefix("sign_"))
    if name in ("bicycle", "motorcycle"):
        return two_wheeler(name, ridden=False)
    if name in ("cyclist", "motorcyclist"):
        return two_wheeler("bicycle" if name == "cyclist" else "motorcycle", ridden=True)
    return lamp() if name == "lamp" else bin_()
