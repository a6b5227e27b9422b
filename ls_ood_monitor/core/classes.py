"""The ten semantic classes of WoodScape and the colours they are drawn in.

Source: Yogamani et al., WoodScape, ICCV 2019 (class order of the semantic annotations).
"""

from __future__ import annotations

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
