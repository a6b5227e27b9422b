"""Read and write picture and label files, and list folders. Each failure raises a ``DataError`` that names the file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ImageError
from ..vision.bit_depth import BitDepth
from ..vision.image_codec import decode_compressed, picture_format

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".avif")

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xae\x42\x60\x82"  # padding may follow
_PALETTE = 3  # colour type in a PNG's header, byte 25 (PNG specification, 11.2.2)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorting key by which ``shot2`` comes before ``shot10``; equal only for equal names."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


def require_folder(folder: Path, purpose: str) -> Path:
    """Return ``folder``. Raises ``DataError`` when it is missing or no folder; ``purpose`` says what it should hold."""
    if not folder.exists():
        raise DataError(f"there is no folder {folder}; it should hold {purpose}. Check the path and the layout.")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; give the folder that holds {purpose}.")
    return folder


def find_folder(root: Path, patterns: Sequence[str], purpose: str) -> Path:
    """The folder of ``root`` that matches the first fitting pattern: data sets are often unpacked one folder too deep.

    Raises ``DataError`` if none fits, or several fit one pattern; ``purpose`` says what the folder should hold.
    """
    for pattern in patterns:
        found = sorted(path for path in root.glob(pattern) if path.is_dir())
        if len(found) > 1:
            raise DataError(f"{found[0]} and {found[1]} could both hold {purpose}; give the folder around one of them.")
        if found:
            return found[0]
    return require_folder(root / patterns[0], purpose)


def list_files(folder: Path, pattern: str, suffixes: Sequence[str], purpose: str) -> list[Path]:
    """Files of ``folder`` that match ``pattern`` and have one of the suffixes, in either case; in natural order, none hidden.

    Raises ``DataError`` if there is no such folder, or nothing in it matches.
    """
    require_folder(folder, purpose)
    found = [path for path in folder.glob(pattern) if path.suffix.lower() in suffixes and path.is_file()]
    found = [path for path in found if not path.name.startswith(".")]
    if not found:
        raise DataError(
            f"{folder} holds no {pattern}{suffixes[0]}; it should hold {purpose}. Unpack the data set there."
        )
    return sorted(found, key=lambda path: natural_key(path.as_posix()))


def read_picture(path: Path, depth: BitDepth | None = None) -> NDArray[np.uint8]:
    """Read a picture (PNG, JPEG, BMP, WebP, TIFF, AVIF) as BGR uint8 (H, W, 3); ``depth`` scales pixels of 16 bits.

    Raises ``DataError`` if the file is missing, truncated or not a picture.
    """
    data = _bytes_of(path, "picture")
    if not picture_format(data):
        raise DataError(f"cannot read picture {path}: it is not a picture. Copy it again or remove it.")
    try:
        return decode_compressed(SimpleNamespace(format=path.suffix, data=data), depth)
    except ImageError as error:
        raise DataError(f"cannot read picture {path}: {error} Copy it again or remove it.") from error


def read_label_map(path: Path) -> NDArray[np.uint8]:
    """Read a single-channel PNG of ids, uint8 (H, W), as stored: grey of 8 bits, or the index of 1, 2 or 4 bits.

    Raises ``DataError`` if the file is missing, truncated, not a PNG, or holds colours or 16-bit values.
    """
    data = _bytes_of(path, "label")
    labels = _decode(data, cv2.IMREAD_UNCHANGED) if data.startswith(_PNG) and _PNG_END in data else None
    if labels is None:
        raise DataError(f"cannot read label {path}: it is not a complete PNG. Copy it again or remove it.")
    bits, colour_type = data[24], data[25]
    if colour_type == _PALETTE or labels.ndim != 2:
        kind = "a palette" if colour_type == _PALETTE else f"{labels.shape[2]} channels"
        raise DataError(
            f"label {path} has {kind}; a PNG with one channel of class ids is expected. "
            "Give the folder of ids instead of the coloured labels (rgbLabels, color)."
        )
    if labels.dtype != np.uint8:
        raise DataError(f"label {path} is {labels.dtype}; class ids of 8 bits are expected. Save it with 8 bits.")
    # OpenCV stretches grey of fewer bits to 0 to 255 (PNG specification, 13.12).
    return labels if bits == 8 else np.asarray(labels // (255 // ((1 << bits) - 1)), np.uint8)


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write BGR (H, W, 3) or single-channel (H, W) pixels. Raises ``DataError`` if the file cannot be written."""
    _, data = cv2.imencode(".png", pixels)
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}. Free some space or choose another folder.") from error


def _bytes_of(path: Path, kind: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {kind} {path}: {error.strerror}. Check the path and its rights.") from error


def _decode(data: bytes, mode: int) -> NDArray[Any] | None:
    """The decoded pixels, or None where OpenCV refuses the data."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except cv2.error:  # an empty file, or a size beyond OpenCV's limit
        return None
