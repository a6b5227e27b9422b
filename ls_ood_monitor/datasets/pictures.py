"""Any folder of pictures, without labels, and its pictures as camera frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..core.types import Frame
from ..errors import ConfigError, DataError
from .labelled import PictureFolder, Sample, require_root
from .reading import PICTURE_SUFFIXES, natural_key

_HOUR_NS = 3_600_000_000_000


def open_pictures(root: Path | str) -> PictureFolder:
    """Every PNG, JPEG and BMP below ``root`` in natural order (``2.png`` before ``10.png``), hidden ones left out.

    The sequence of a picture is its sub-folder, with forward slashes; ``.`` for the root itself.

    Raises:
        DataError: no such folder, or no picture in it.
    """
    root = require_root(root, "the pictures")
    found = []
    for path in root.rglob("*"):
        relative = path.relative_to(root)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file() and not hidden:
            found.append(relative)
    if not found:
        raise DataError(f"{root} holds no picture; {', '.join(PICTURE_SUFFIXES)} files are expected in it or below.")
    # By folder first: frames of one sequence follow each other.
    found.sort(key=lambda path: (natural_key(path.parent.as_posix()), natural_key(path.name)))
    return PictureFolder(root, [Sample(root / path, None, path.parent.as_posix()) for path in found])


def iter_frames(folder: PictureFolder, camera: str = "front", rate_hz: float = 10.0) -> Iterator[Frame]:
    """Pictures of ``folder`` as frames of ``camera``, read one at a time.

    Pictures carry no time: stamps count up at ``rate_hz``. The first one is one hour, for 0 would mean that there is none,
    and each new sequence begins one hour after the last frame of the one before, so that stamps tell sequences apart.

    Raises:
        ConfigError: rate outside 0.001 to 1000 Hz.
        DataError: a picture cannot be read.
    """
    return _frames(folder, camera, picture_stamps(folder, rate_hz))


def picture_stamps(folder: PictureFolder, rate_hz: float = 10.0) -> list[int]:
    """Stamp in ns of each picture, as ``iter_frames`` gives them. Raises ``ConfigError`` as it does; reads no picture."""
    if not 0.001 <= rate_hz <= 1000.0:
        raise ConfigError(f"rate is {rate_hz} Hz; it must lie within [0.001, 1000].")
    period_ns = round(1e9 / rate_hz)
    stamps: list[int] = []
    before = None
    for sample in folder.samples:
        stamps.append((stamps[-1] if stamps else 0) + (period_ns if sample.sequence == before else _HOUR_NS))
        before = sample.sequence
    return stamps


def _frames(folder: PictureFolder, camera: str, stamps: list[int]) -> Iterator[Frame]:
    for index, stamp_ns in enumerate(stamps):
        yield Frame(folder.image(index), stamp_ns, camera)
