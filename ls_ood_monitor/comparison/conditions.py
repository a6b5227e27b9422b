"""The conditions of a test picture: clean, changed harmlessly (must not alarm), or with an anomaly at a severity."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..anomalies import ANOMALIES, MASKED_ANOMALIES, anomaly_mask, apply_anomaly
from ..errors import ConfigError

Image = NDArray[np.uint8]

CLEAN, HARMLESS, OOD = "clean", "harmless", "ood"

_TILT_DEG, _EXPOSURE, _QUALITY = 1.0, 0.10, 90


@dataclass(frozen=True)
class Condition:
    """A condition in which every test picture is scored."""

    shift: str  # kind of anomaly, name of a harmless change, or name of a recorded OoD set
    severity: int  # 1 to 5; 0 if the shift has none
    role: str  # clean, harmless (must not alarm) or ood (must alarm)

    @property
    def label(self) -> str:
        """Name for people and for arrays, such as ``fog_3``."""
        return f"{self.shift}_{self.severity}" if self.severity else self.shift


CLEAN_CONDITION = Condition("clean", 0, CLEAN)


def _change_exposure(image: Image, gain: float) -> Image:
    return np.asarray(np.clip(image.astype(np.float32) * np.float32(gain) + 0.5, 0.0, 255.0), np.uint8)


def _recompress(image: Image) -> Image:
    data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _tilt(image: Image) -> Image:
    height, width = image.shape[:2]
    rotation = cv2.getRotationMatrix2D(((width - 1) / 2.0, (height - 1) / 2.0), _TILT_DEG, 1.0)
    return np.asarray(cv2.warpAffine(image, rotation, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


_HARMLESS: dict[str, Callable[[Image], Image]] = {
    "identity": lambda image: apply_anomaly("identity", image, 1, 0),  # control: takes the same code path as an anomaly
    "exposure_up_10": lambda image: _change_exposure(image, 1.0 + _EXPOSURE),
    "exposure_down_10": lambda image: _change_exposure(image, 1.0 - _EXPOSURE),
    "jpeg_90": _recompress,
    "tilt_1_deg": _tilt,
}
HARMLESS_CHANGES: tuple[str, ...] = tuple(_HARMLESS)


def make_conditions(kinds: Sequence[str], severities: Sequence[int]) -> tuple[Condition, ...]:
    """Return the clean condition, the harmless changes, and every kind at every severity, in this order.

    Raises ``ConfigError`` for an unknown kind or severity, or none of either.
    """
    unknown = [kind for kind in kinds if kind not in ANOMALIES or kind == "identity"]
    if unknown or not kinds:
        known = ", ".join(kind for kind in ANOMALIES if kind != "identity")
        raise ConfigError(f"there is no kind of anomaly {', '.join(unknown) or 'given'}; known: {known}.")
    if not severities or not set(severities) <= {1, 2, 3, 4, 5}:
        raise ConfigError(f"severities are {', '.join(map(str, severities)) or 'none'}; known: 1, 2, 3, 4, 5.")
    harmless = (Condition(name, 0, HARMLESS) for name in HARMLESS_CHANGES)
    return (CLEAN_CONDITION, *harmless, *(Condition(kind, severity, OOD) for kind in kinds for severity in severities))


def anomaly_seed(drive: str, seed: int) -> int:
    """Seed of a drive's anomalies. Dirt stays in its place within a drive and differs between drives."""
    return zlib.crc32(f"{seed}/{drive}".encode()) & 0x7FFFFFFF


def disturb(image: Image, condition: Condition, seed: int) -> Image:
    """Return the picture in this condition. ``seed`` comes from ``anomaly_seed``."""
    if condition.role == CLEAN:
        return image
    if condition.role == HARMLESS:
        return _HARMLESS[condition.shift](image)
    return apply_anomaly(condition.shift, image, condition.severity, seed)


def disturbed_pixels(image: Image, condition: Condition, seed: int) -> Image | None:
    """Return a mask (H, W) of the disturbed pixels, 1 or 0; None if the condition does not disturb certain pixels only."""
    if condition.role != OOD or condition.shift not in MASKED_ANOMALIES:
        return None
    return anomaly_mask(condition.shift, image, condition.severity, seed)
