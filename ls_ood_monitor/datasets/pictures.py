"""Any folder of pictures without labels, and pictures as camera frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..core.types import Frame
from ..errors import ConfigError, DataError
from .files import PICTURE_SUFFIXES, natural_key, require_folder
from .labelled import PictureFolder, Sample

_HOUR_NS = 3_600_000_000_000


def open_pictures(root: Path | str) -> PictureFolder:
    """Every picture below ``root`` (``PICTURE_SUFFIXES``), in natural order (``2.png`` before ``10.png``); no hidden files.

    The sequence of a picture is its sub-folder, with forward slashes; ``.`` for the root itself. Raises ``DataError``
    if the folder is missing or holds no picture.
    """
    root = require_folder(Path(root), "the pictures")
    pictures = []
    for path in root.rglob("*"):
        relative = path.relative_to(root)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file() and not hidden:
            pictures.append(relative)
    if not pictures:
        raise DataError(f"{root} holds no picture; {', '.join(PICTURE_SUFFIXES)} files are expected in it or below.")
    # By folder first: frames of one sequence follow each other.
    pictures.sort(key=lambda path: (natural_key(path.parent.as_posix()), natural_key(path.name)))
    return PictureFolder(root, [Sample(root / path, None, path.parent.as_posix()) for path in pictures])


def iter_frames(folder: PictureFolder, camera: str = "front", rate_hz: float = 10.0) -> Iterator[Frame]:
    """Pictures of ``folder`` as frames of ``camera``, read one at a time, with the stamps of ``picture_stamps``.

    Raises ``ConfigError`` for a rate out of range at once, and ``DataError`` for a picture that cannot be read.
    """
    stamps = picture_stamps(folder, rate_hz)
    return (Frame(folder.image(index), stamp_ns, camera) for index, stamp_ns in enumerate(stamps))


def picture_stamps(folder: PictureFolder, rate_hz: float = 10.0) -> list[int]:
    """Stamps of the frames of ``iter_frames``, nanoseconds; reads no picture.

    Pictures have no time, so stamps count up at ``rate_hz``. The first stamp is one hour, because 0 would mean that a
    stamp is missing. Each further sequence begins one hour after the last frame of the previous one. Raises
    ``ConfigError`` for a rate outside 0.001 to 1000 Hz.
    """
    if not 0.001 <= rate_hz <= 1000.0:
        raise ConfigError(f"rate is {rate_hz} Hz; it must lie within [0.001, 1000].")
    period_ns = round(1e9 / rate_hz)
    stamps: list[int] = []
    before = None
    for sample in folder.samples:
        stamps.append((stamps[-1] if stamps else 0) + (period_ns if sample.sequence == before else _HOUR_NS))
        before = sample.sequence
    return stamps
