"""Changes of a picture that perception should bear, so that no alarm should come: the control of the anomalies."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .image_ops import Image, to_uint8

_EXPOSURE_STOPS = (0.1, 0.2)  # a stop is a factor of two in light
_JPEG_QUALITY = (85, 60)
_TILT_DEG = (0.5, 1.5)
_VIBRATION = (0.002, 0.006)  # standard deviation, picture heights


def harmless(name: str, image: Image, level: int, seed: int) -> Image:
    """Return a changed copy of ``image``.

    Args:
        name: one of ``HARMLESS``.
        image: BGR uint8 (H, W, 3).
        level: 1 (hardly visible) or 2 (visible, and still harmless).
        seed: >= 0; of the direction of a change, and with the picture of the vibration.
    """
    return _CHANGES[name](image, level - 1, seed)


def _brighter(image: Image, level: int, seed: int) -> Image:
    return to_uint8(image * np.float32(2.0 ** _EXPOSURE_STOPS[level]))


def _darker(image: Image, level: int, seed: int) -> Image:
    return to_uint8(image * np.float32(2.0 ** -_EXPOSURE_STOPS[level]))


def _jpeg(image: Image, level: int, seed: int) -> Image:
    packed = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY[level]))[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), dtype=np.uint8)


def _tilt(image: Image, level: int, seed: int) -> Image:
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), _TILT_DEG[level] * (1 if seed % 2 else -1), 1.0)
    return _moved(image, turn)


def _vibration(image: Image, level: int, seed: int) -> Image:
    """Every picture is shifted anew: its own bytes draw the shift."""
    random = np.random.default_rng([seed, int(image[::16, ::16].sum())])
    right, down = random.normal(0.0, _VIBRATION[level] * image.shape[0], 2)
    return _moved(image, np.array([[1.0, 0.0, right], [0.0, 1.0, down]]))


def _moved(image: Image, transform: np.ndarray) -> Image:
    size = (image.shape[1], image.shape[0])
    moved = cv2.warpAffine(image, transform, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.uint8)


_CHANGES: dict[str, Callable[[Image, int, int], Image]] = {
    "brighter": _brighter,
    "darker": _darker,
    "jpeg_quality": _jpeg,
    "tilt": _tilt,
    "vibration": _vibration,
}
HARMLESS: tuple[str, ...] = tuple(_CHANGES)
