"""The ten semantic classes of WoodScape, and the colours that classes are drawn in.

Sources: Yogamani et al., WoodScape, ICCV 2019 (class order of the semantic annotations); Cordts et al., The Cityscapes
Dataset for Semantic Urban Scene Understanding, CVPR 2016 (names and colours).
"""

from __future__ import annotations

import colorsys
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

CLASS_NAMES: tuple[str, ...] = (
    "void",
    "road",
    "lanemarks",
    "curb",
    "person",
    "rider",
    "vehicles",
    "bicycle",
    "motorcycle",
    "traffic_sign",
)

#: RGB, uint8, (10, 3), one row a class.
CLASS_COLOURS: NDArray[np.uint8] = np.array(
    [
        (0, 0, 0),
        (128, 64, 128),
        (69, 76, 11),
        (0, 255, 0),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (119, 11, 32),
        (0, 0, 230),
        (220, 220, 0),
    ],
    dtype=np.uint8,
)

#: Class of Cityscapes -> RGB.
CITYSCAPES_COLOURS: dict[str, tuple[int, int, int]] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
_UNCOLOURED = frozenset({"void", "background", "unlabelled", "unlabeled", "ignore", "other"})
_GOLDEN_ANGLE = 0.381966  # of a turn: consecutive hues lie far apart


@lru_cache(maxsize=16)
def class_colours(names: tuple[str, ...]) -> NDArray[np.uint8]:
    """Colours of classes by name, RGB uint8 (classes, 3): customary ones where there are any, black for void and the like."""
    known = {**CITYSCAPES_COLOURS, **dict(zip(CLASS_NAMES, CLASS_COLOURS.tolist(), strict=True))}
    rows = []
    for index, name in enumerate(names):
        if name in _UNCOLOURED:
            rows.append((0, 0, 0))
        elif name in known:
            rows.append(tuple(known[name]))
        else:
            red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN_ANGLE % 1.0, 0.8, 0.9)
            rows.append((round(255 * red), round(255 * green), round(255 * blue)))
    return np.array(rows, dtype=np.uint8)
