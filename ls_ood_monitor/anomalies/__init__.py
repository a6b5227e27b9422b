"""Seeded synthetic anomalies of a camera picture, for evaluation: weather, light, lens, sensor, unknown objects.

All transforms take BGR uint8 (H, W, 3) at camera resolution and return a changed copy. They scale with the picture, so
a severity means the same at every resolution. They model the effect on the picture, not the physics of its cause:
detection figures obtained with them are figures about these transforms.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import ConfigError, DataError
from . import lens, light, objects, sensor, weather
from .image_ops import Image

__all__ = ["ANOMALIES", "MASKED_ANOMALIES", "anomaly_mask", "apply_anomaly"]


def apply_anomaly(name: str, image: Image, severity: int, seed: int) -> Image:
    """Return a disturbed copy of ``image``, BGR uint8 (H, W, 3).

    Args:
        name: one of ``ANOMALIES``; ``identity`` is the control and returns an equal copy.
        image: BGR uint8 (H, W, 3).
        severity: 1 (slight) to 5 (heavy).
        seed: >= 0. Dirt, drops, fog banks, defects, flares and objects depend on the seed alone, so they stay in
            place over a drive. Rain, snow, noise and broken JPEG depend on the seed and the picture, so they change
            from frame to frame.

    Raises:
        ConfigError: unknown name, severity or seed out of range.
        DataError: ``image`` is not a BGR uint8 picture.
    """
    if name not in _TRANSFORMS:
        raise ConfigError(f"There is no anomaly {name!r}; known: {', '.join(ANOMALIES)}.")
    _check(image, severity, seed)
    return _TRANSFORMS[name](image, int(severity) - 1, int(seed))


def anomaly_mask(name: str, image: Image, severity: int, seed: int) -> Image:
    """Pixels that a local anomaly hides: the object, or where dirt or an occluder is more than half opaque.

    Arguments and errors as for ``apply_anomaly``, but ``name`` is one of ``MASKED_ANOMALIES`` and ``image`` is the
    clean picture. An occlusion hides nothing outside a fisheye's image circle. Returns uint8 (H, W), 1 on hidden
    pixels.
    """
    if name not in _MASKS:
        raise ConfigError(f"Anomaly {name!r} has no mask; known: {', '.join(MASKED_ANOMALIES)}.")
    _check(image, severity, seed)
    return _MASKS[name](image, int(severity) - 1, int(seed))


def _check(image: Image, severity: int, seed: int) -> None:
    if isinstance(severity, bool) or not isinstance(severity, (int, np.integer)) or not 1 <= severity <= 5:
        raise ConfigError(f"Anomaly severity is {severity!r}; it must be a whole number from 1 to 5.")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ConfigError(f"Anomaly seed is {seed!r}; it must be a whole number, 0 or larger.")
    if not isinstance(image, np.ndarray):
        raise DataError(f"An anomaly needs a BGR uint8 picture (H, W, 3); this is a {type(image).__name__}.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise DataError(f"An anomaly needs a BGR uint8 picture (H, W, 3); this one is {image.dtype} {image.shape}.")


_TRANSFORMS: dict[str, Callable[[Image, int, int], Image]] = {
    "identity": lambda image, level, seed: np.array(image),
    "fog": weather.fog,
    "mud": lens.mud,
    "blur": lens.blur,
    "dark": light.dark,
    "noise": sensor.noise,
    "rain": weather.rain,
    "snow": weather.snow,
    "night": light.night,
    "sun_flare": light.sun_flare,
    "overexposure": light.overexposure,
    "underexposure": light.underexposure,
    "motion_blur": lens.motion_blur,
    "water_drops": lens.water_drops,
    "occlusion": lens.occlusion,
    "dead_pixels": sensor.dead_pixels,
    "colour_channel": sensor.colour_channel,
    "jpeg": sensor.jpeg,
    "unknown_object": objects.unknown_object,
}
_MASKS: dict[str, Callable[[Image, int, int], Image]] = {
    "unknown_object": objects.unknown_object_mask,
    "occlusion": lens.occlusion_mask,
    "mud": lens.mud_mask,
}
ANOMALIES: tuple[str, ...] = tuple(_TRANSFORMS)
#: Anomalies that cover a known part of the picture.
MASKED_ANOMALIES: tuple[str, ...] = tuple(_MASKS)
