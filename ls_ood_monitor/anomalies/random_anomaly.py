"""One random anomaly for each picture of a data set, drawn from a seed and the number of the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from . import ANOMALIES, apply_anomaly

#: The reference applies exactly one of these to every picture.
REFERENCE_KINDS: tuple[str, ...] = ("mud", "fog", "sun_flare")


class RandomAnomaly:
    """Applies exactly one of several anomalies to each picture; kinds and severities are drawn with equal probability.

    Equal seed, number and picture give an equal result, in any order and in any process. Raises ``ConfigError`` for an
    unknown kind, a severity outside 1 to 5, or an empty list.
    """

    def __init__(
        self, kinds: Sequence[str] = REFERENCE_KINDS, severities: Sequence[int] = (1, 2, 3, 4, 5), seed: int = 0
    ) -> None:
        unknown = [kind for kind in kinds if kind not in ANOMALIES]
        if unknown or not kinds:
            raise ConfigError(f"kinds are {', '.join(unknown) or '(none)'}; known: {', '.join(ANOMALIES)}.")
        if not severities or any(severity not in (1, 2, 3, 4, 5) for severity in severities):
            raise ConfigError(f"severities are {tuple(severities)}; they must be whole numbers from 1 to 5.")
        self.kinds = tuple(kinds)
        self.severities = tuple(severities)
        self.seed = seed

    def draw(self, index: int) -> tuple[str, int, int]:
        """Kind, severity and seed for picture ``index``."""
        random = np.random.default_rng([self.seed, index])
        kind = self.kinds[int(random.integers(len(self.kinds)))]
        return kind, self.severities[int(random.integers(len(self.severities)))], int(random.integers(2**31))

    def __call__(self, image: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        """A disturbed copy of picture ``index``, BGR uint8 (H, W, 3) at camera resolution."""
        kind, severity, seed = self.draw(index)
        return apply_anomaly(kind, image, severity, seed)
