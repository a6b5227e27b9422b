"""Drives -> frames: one view of recordings, folders of pictures, videos, and data sets.

A drive is what calibration holds out and what a benchmark reports by: frames of one journey, in order of time for
each camera. Nothing is read before ``DriveSource.read`` is called, and nothing is kept.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ..core.types import Frame
from ..datasets import PictureFolder, Sample, open_dataset, open_pictures
from ..datasets import iter_frames as iter_pictures
from ..datasets.files import PICTURE_SUFFIXES
from ..datasets.woodscape import CAMERA_CODES
from ..errors import ConfigError, DataError
from .bags import SUFFIXES, iter_frames
from .recovery.video import promised_bytes

# Lines of its ffmpeg, too; it looks at this once, when the first video is opened.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

#: Frame rate assumed for pictures without time, Hz.
ASSUMED_RATE_HZ = 10.0

_VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg")
_START_NS = 3_600_000_000_000  # one hour: a stamp of 0 would mean that there is none


@dataclass(frozen=True)
class DriveSource:
    """One journey.

    Attributes:
        name: tells it from the others, and stands in provenance.
        read: starts an iteration over its frames.
        frames: how many there are, where that is known before reading.
        assumed_rate_hz: the pictures carry no time and nobody said how fast they were taken: stamps count up at this rate.
    """

    name: str
    read: Callable[[], Iterator[Frame]]
    frames: int | None = None
    assumed_rate_hz: float | None = None


def open_drives(
    paths: Iterable[Path | str],
    *,
    topics: Mapping[str, str] | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    rate_hz: float | None = None,
) -> list[DriveSource]:
    """Drives at ``paths``: a bag or a video is one; of a folder of pictures each folder that holds some is one.

    Args:
        paths: bags (folder, ``.mcap``, ``.db3``; ``.bag`` of ROS 1), folders of PNG, JPEG or BMP, and videos.
        topics: image topic -> camera name, for bags; None takes all.
        start_s: first moment wanted, seconds from the start of each drive.
        end_s: end of the part wanted (exclusive), seconds from the start of each drive.
        rate_hz: frame rate of pictures; None assumes ``ASSUMED_RATE_HZ`` and notes it.

    Raises:
        ConfigError: rate outside 0.001 to 1000 Hz, or two drives of one name.
        DataError: a path is missing or none of these.
    """
    drives: list[DriveSource] = []
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(f"there is no {path}; give a bag, a folder of pictures or a video.")
        if is_bag(path):
            read = partial(iter_frames, path, topics, start_s, end_s)
            drives.append(DriveSource(_name(path), read))
        elif path.is_dir():
            parts = picture_drives(open_pictures(path), _name(path), rate_hz=rate_hz)
            drives += [_cut(drive, start_s, end_s) for drive in parts]
        elif path.suffix.lower() in _VIDEO_SUFFIXES:
            drives.append(_cut(DriveSource(_name(path), partial(_video_frames, path, rate_hz)), start_s, end_s))
        else:
            hint = (
                f" Give the folder that it lies in, {path.parent}." if path.suffix.lower() in PICTURE_SUFFIXES else ""
            )
            raise DataError(f"{path} is neither a bag nor a folder of pictures nor a video.{hint}")
    return distinct(drives)


def picture_drives(folder: PictureFolder, name: str, *, rate_hz: float | None = None) -> list[DriveSource]:
    """One drive a sequence of ``folder``; cameras are those of WoodScape's file names, else ``front``.

    Raises:
        ConfigError: rate outside 0.001 to 1000 Hz.
    """
    used = ASSUMED_RATE_HZ if rate_hz is None else rate_hz
    iter_pictures(folder, rate_hz=used)  # only checks the rate; nothing is read yet
    sequences: dict[str, list[str]] = {}
    for picture, sequence in folder.sequences.items():
        sequences.setdefault(sequence, []).append(picture)
    assumed = used if rate_hz is None else None
    return [
        DriveSource(
            name if sequence == "." else f"{name}/{sequence}",
            partial(_picture_frames, folder.only(pictures), used),
            len(pictures),
            assumed,
        )
        for sequence, pictures in sequences.items()
    ]


def dataset_drives(name: str, root: Path | str, *, rate_hz: float | None = None) -> list[DriveSource]:
    """Sequences of a data set on disk (``datasets.DATASETS``).

    Raises:
        ConfigError: unknown name, or a rate outside 0.001 to 1000 Hz.
        DataError: the folder is not laid out as this data set.
    """
    return picture_drives(open_dataset(name, root), name, rate_hz=rate_hz)


def distinct(drives: Sequence[DriveSource]) -> list[DriveSource]:
    """The drives as a list. Raises ``ConfigError`` when two have one name."""
    twice = [name for name, count in Counter(drive.name for drive in drives).items() if count > 1]
    if twice:
        raise ConfigError(
            f"two drives are named {twice[0]}; a drive counts once. Leave one out, or rename its folder if it is another."
        )
    return list(drives)


def _name(path: Path) -> str:
    """The last two parts: ``monday/bag`` tells more than ``bag``, and a whole path tells of the machine."""
    return "/".join(path.resolve().parts[-2:]).lstrip("/")


def is_bag(path: Path) -> bool:
    """Whether an existing path looks like a bag: of ROS 2 a folder or a file, of ROS 1 a file."""
    if path.is_file():
        return path.suffix in SUFFIXES
    return (path / "metadata.yaml").exists() or any(entry.suffix in (".mcap", ".db3") for entry in path.iterdir())


def _cut(drive: DriveSource, start_s: float | None, end_s: float | None) -> DriveSource:
    """The part between two moments, seconds from the first frame."""
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
    """Camera of a picture, by WoodScape's file names; ``front`` for others."""
    cameras = {code: camera for camera, code in CAMERA_CODES.items()}
    return cameras.get(sample.image.stem.rpartition("_")[2], "front")


def video_length_s(path: Path, rate_hz: float | None = None) -> tuple[int, float]:
    """Frames, and seconds to the last one, by what the file says of itself: 0 and 0.0 where it does not.

    It may be wrong by some frames; only reading tells.

    Raises:
        DataError: no video that OpenCV can read, or one without a frame rate.
    """
    with _opened_video(path, rate_hz) as (video, rate):
        count = video.get(cv2.CAP_PROP_FRAME_COUNT)
    if not (np.isfinite(count) and 1.0 <= count < 1e9):
        return 0, 0.0
    return int(count), (int(count) - 1) / rate


def _video_frames(path: Path, rate_hz: float | None) -> Iterator[Frame]:
    with _opened_video(path, rate_hz) as (video, rate):
        index = 0
        while True:
            whole, image = video.read()
            if not whole:
                break
            yield Frame(np.asarray(image, dtype=np.uint8), _START_NS + round(index * 1e9 / rate), "front")
            index += 1
    _require_whole_video(path, index)


def _require_whole_video(path: Path, read: int) -> None:
    """Raise ``DataError`` where a video of which ``read`` pictures could be read was cut off.

    Both must tell: the number of pictures may be an estimate, and a cut may have taken nothing but an index.
    """
    count, _ = video_length_s(path, 1.0)
    missing = _missing(path)
    if missing and not 0 < count <= read + max(2, read // 50):
        raise DataError(f"{missing}, and {read}{f' of {count}' if count else ''} images can be read. Copy it again.")


def _missing(path: Path) -> str:
    """How much of a video file is missing, as the beginning of a sentence; empty where nothing is known to be."""
    size, promised = path.stat().st_size, promised_bytes(path)
    if promised <= size:
        return ""
    return f"The video {path} is cut off: its file has {size / 1e6:.1f} of {promised / 1e6:.1f} MB"


@contextmanager
def _opened_video(path: Path, rate_hz: float | None) -> Iterator[tuple[cv2.VideoCapture, float]]:
    """The video, and its frame rate in Hz."""
    # What is wrong is told in a sentence; OpenCV's own lines only tear the progress bar.
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    video = cv2.VideoCapture(str(path))
    try:
        if not video.isOpened():
            if missing := _missing(path):
                raise DataError(f"{missing}, and none of its images can be read. Copy it again.")
            raise DataError(f"OpenCV cannot read the video {path}; convert it, or extract its pictures into a folder.")
        rate = video.get(cv2.CAP_PROP_FPS) if rate_hz is None else rate_hz
        if not (np.isfinite(rate) and rate > 0.0):
            raise DataError(f"the video {path} does not say its frame rate; give it with --rate.")
        yield video, rate
    finally:
        video.release()
