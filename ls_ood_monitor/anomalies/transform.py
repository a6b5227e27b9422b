"""Anomalies as a transform of a data set: one disturbance a picture, drawn from a seed and the picture's number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from . import ANOMALIES, apply_anomaly

#: The reference's own three; it picks exactly one of them for every picture.
REFERENCE_KINDS: tuple[str, ...] = ("mud", "fog", "sun_flare")


class _Pictures(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]: ...


class RandomAnomaly:
    """Exactly one of several anomalies for every picture.

    Equal seed, number and picture give an equal result, in any order and in any process.

    Args:
        kinds: names out of ``ANOMALIES``, drawn with equal probability.
        severities: 1 to 5, drawn with equal probability.
        seed: >= 0.

    Raises:
        ConfigError: unknown kind, severity out of range, or nothing to draw from.
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

    def drawn(self, index: int) -> tuple[str, int, int]:
        """Kind, severity and seed for picture ``index``."""
        random = np.random.default_rng([self.seed, index])
        kind = self.kinds[int(random.integers(len(self.kinds)))]
        return kind, self.severities[int(random.integers(len(self.severities)))], int(random.integers(2**31))

    def __call__(self, image: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        """The disturbed copy of picture ``index``, BGR uint8 (H, W, 3) at camera resolution."""
        kind, severity, seed = self.drawn(index)
        return apply_anomaly(kind, image, severity, seed)


class DisturbedPictures:
    """A labelled data set with every picture disturbed before any preprocessing; labels stay as they are."""

    def __init__(self, source: _Pictures, transform: RandomAnomaly) -> None:
        self.source = source
        self.transform = transform

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        image, labels = self.source[index]
        return self.transform(image, index), labels
