"""Drives as sources of frames, from bags, folders of pictures, videos and data sets.

A drive is the frames of one journey, in order of time for each camera. Calibration holds out whole drives, and a
comparison reports by drive. Nothing is read before ``DriveSource.read`` is called, and nothing is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..core.types import Frame
from ..datasets import PictureFolder, Sample, open_dataset, open_pictures
from ..datasets import iter_frames as iter_pictures
from ..datasets.files import PICTURE_SUFFIXES
from ..datasets.woodscape import CAMERA_CODES
from ..errors import ConfigError, DataError
from .bags import SUFFIXES, iter_frames
from .bags.files import METADATA, STORAGE_SUFFIXES
from .video import VIDEO_SUFFIXES, video_frames

#: Frame rate assumed for pictures without time, Hz.
ASSUMED_RATE_HZ = 10.0


@dataclass(frozen=True)
class DriveSource:
    """A source of frames: one journey."""

    name: str  # unique, also recorded in provenance
    read: Callable[[], Iterator[Frame]]  # starts an iteration over the frames
    frames: int | None = None  # None if their number is not known before reading
    assumed_rate_hz: float | None = (
        None  # that the stamps assume, as pictures have no time; None if the times are known
    )


def open_drives(
    paths: Iterable[Path | str],
    *,
    topics: Mapping[str, str] | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    rate_hz: float | None = None,
) -> list[DriveSource]:
    """Return the drives at ``paths``. A bag or a video is one drive, and so is each (sub-)folder that holds pictures.

    Args:
        paths: bags (folder, ``.mcap``, ``.db3``; ``.bag`` of ROS 1), folders of PNG, JPEG or BMP, and videos.
        topics: image topic -> camera name, for bags; None takes every camera topic.
        start_s: start of the wanted part, seconds from the start of each drive.
        end_s: end of the wanted part (exclusive), seconds from the start of each drive.
        rate_hz: frame rate of pictures; None assumes ``ASSUMED_RATE_HZ`` and sets ``assumed_rate_hz``.

    Raises:
        ConfigError: rate outside 0.001 to 1000 Hz, or two drives of one name.
        DataError: a path does not exist or is none of these.
    """
    drives: list[DriveSource] = []
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(f"there is no {path}; give a bag, a folder of pictures or a video.")
        if is_bag(path):
            drives.append(DriveSource(_name(path), partial(iter_frames, path, topics, start_s, end_s)))
        elif path.is_dir():
            parts = picture_drives(open_pictures(path), _name(path), rate_hz=rate_hz)
            drives += [_cut(drive, start_s, end_s) for drive in parts]
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            drives.append(_cut(DriveSource(_name(path), partial(video_frames, path, rate_hz)), start_s, end_s))
        else:
            is_picture = path.suffix.lower() in PICTURE_SUFFIXES
            hint = f" Give the folder that it lies in, {path.parent}." if is_picture else ""
            raise DataError(f"{path} is neither a bag nor a folder of pictures nor a video.{hint}")
    return distinct(drives)


def picture_drives(folder: PictureFolder, name: str, *, rate_hz: float | None = None) -> list[DriveSource]:
    """Return one drive for each sequence of ``folder``. Cameras come from WoodScape's file names; else it is ``front``.

    Raises:
        ConfigError: rate outside 0.001 to 1000 Hz.
    """
    used = ASSUMED_RATE_HZ if rate_hz is None else rate_hz
    iter_pictures(folder, rate_hz=used)  # only checks the rate; nothing is read yet
    sequences: dict[str, list[str]] = {}
    for picture, sequence in folder.sequences.items():
        sequences.setdefault(sequence, []).append(picture)
    assumed = used if rate_hz is None else None
    drives = []
    for sequence, pictures in sequences.items():
        read = partial(_picture_frames, folder.only(pictures), used)
        drives.append(DriveSource(name if sequence == "." else f"{name}/{sequence}", read, len(pictures), assumed))
    return drives


def dataset_drives(name: str, root: Path | str, *, rate_hz: float | None = None) -> list[DriveSource]:
    """Return one drive for each sequence of a data set on disk (``datasets.DATASETS``).

    Raises:
        ConfigError: unknown name, or a rate outside 0.001 to 1000 Hz.
        DataError: the folder is not laid out as this data set.
    """
    return picture_drives(open_dataset(name, root), name, rate_hz=rate_hz)


def distinct(drives: Sequence[DriveSource]) -> list[DriveSource]:
    """Return the drives as a list. Raises ``ConfigError`` if two have the same name."""
    twice = [name for name, count in Counter(drive.name for drive in drives).items() if count > 1]
    if twice:
        raise ConfigError(
            f"two drives are named {twice[0]}; a drive counts once. Leave one out, or rename its folder if it is another."
        )
    return list(drives)


def _name(path: Path) -> str:
    """The last two parts of a path: ``monday/bag`` says more than ``bag``, and a full path would reveal the machine."""
    return "/".join(path.resolve().parts[-2:]).lstrip("/")


def is_bag(path: Path) -> bool:
    """Whether an existing path looks like a bag: a folder or a file of ROS 2, or a file of ROS 1."""
    if path.is_file():
        return path.suffix in SUFFIXES
    return (path / METADATA).exists() or any(entry.suffix in STORAGE_SUFFIXES for entry in path.iterdir())


def _cut(drive: DriveSource, start_s: float | None, end_s: float | None) -> DriveSource:
    """The part of a drive between two times, in seconds from its first frame."""
    if start_s is None and end_s is None:
        return drive

    def read() -> Iterator[Frame]:
        first: int | None = None
        for frame in drive.read():
            first = frame.stamp_ns if first is None else first
            elapsed_s = (frame.stamp_ns - first) / 1e9
            if end_s is not None and elapsed_s >= end_s:
                return
            if start_s is None or elapsed_s >= start_s:
                yield frame

    return DriveSource(drive.name, read, None, drive.assumed_rate_hz)


def _picture_frames(folder: PictureFolder, rate_hz: float) -> Iterator[Frame]:
    for sample, frame in zip(folder.samples, iter_pictures(folder, rate_hz=rate_hz), strict=True):
        yield Frame(frame.image, frame.stamp_ns, picture_camera(sample))


def picture_camera(sample: Sample) -> str:
    """Camera of a picture by WoodScape's file names; ``front`` for other names."""
    cameras = {code: camera for camera, code in CAMERA_CODES.items()}
    return cameras.get(sample.image.stem.rpartition("_")[2], "front")
