"""Drives as sources of frames, from bags, folders of pictures, videos and data sets.

A drive is the frames of one journey, in order of time for each camera. Calibration holds out whole drives, and a
comparison reports by drive. Nothing is read before ``DriveSource.read`` or ``read_arrivals`` is called, and nothing is kept.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..config import DEFAULT_DECODING, DecodingSettings
from ..core.types import Frame
from ..datasets import PictureFolder, Sample, open_dataset, open_pictures, picture_stamps
from ..datasets import iter_frames as iter_pictures
from ..datasets.files import PICTURE_SUFFIXES
from ..datasets.woodscape import CAMERA_CODES
from ..errors import ConfigError, DataError
from .bag_notes import bag_notes, lost_note
from .bags import (
    ImageArrival,
    bag_info,
    count_images,
    has_images,
    is_bag_file,
    is_bag_folder,
    iter_arrivals,
    iter_frames,
)
from .video import VIDEO_SUFFIXES, video_frames, video_length_s

FrameOrArrival = TypeVar("FrameOrArrival", Frame, ImageArrival)
#: Stamps and times of reception of a bag may differ by so much.
_CLOCK_MARGIN_S = 2.0
#: Frame rate assumed for pictures without time, Hz.
ASSUMED_RATE_HZ = 10.0


@dataclass(frozen=True)
class DriveSource:
    """A source of frames: one journey. It can be pickled for another process, which must see the same files.

    Attributes:
        name: unique name, also recorded in provenance.
        read: starts an iteration over the frames; an unusable image raises ``DataError``.
        frames: number of frames; None if it is not known before reading.
        assumed_rate_hz: frame rate that the stamps assume; None if the times are known. Pictures in folders have no time.
        arrivals: starts an iteration over all images, the unusable ones included; None = every image of ``read``.
        count: counts the images of ``arrivals``; None = by reading them.
        arrivals_between: starts an iteration over the images received between two times, seconds from its start; None =
            only the whole drive can be read.
        path: file or folder that it is read from; None = it is not on disk.
        part: what of ``path`` is read, and how; with the path's files it identifies the images.
    """

    name: str
    read: Callable[[], Iterator[Frame]]
    frames: int | None = None
    assumed_rate_hz: float | None = None
    arrivals: Callable[[], Iterator[ImageArrival]] | None = None
    count: Callable[[], int] | None = None
    arrivals_between: Callable[[float, float], Iterator[ImageArrival]] | None = None
    path: Path | None = None
    part: str = ""

    def read_arrivals(self) -> Iterator[ImageArrival]:
        """Start an iteration over all images. One that cannot be used has the reason in ``error`` and no picture."""
        if self.arrivals is not None:
            return self.arrivals()
        return _arrivals_of(self.name, self.read)

    def read_part(self, begin_s: float, end_s: float) -> Iterator[ImageArrival]:
        """Start an iteration over the images between two times, seconds from the drive's first image.

        It may yield others, too, and such as ``read`` leaves out; the caller knows the wanted ones by their stamps.
        """
        if self.arrivals_between is None:
            return self.read_arrivals()
        return self.arrivals_between(max(0.0, begin_s - _CLOCK_MARGIN_S), end_s + _CLOCK_MARGIN_S)

    def count_images(self) -> int:
        """Number of images of ``read_arrivals``. A video's own figure may be wrong by some images.

        Raises:
            DataError: the drive cannot be read.
        """
        if self.frames is not None:
            return self.frames
        count = self.count() if self.count is not None else 0
        return count or sum(1 for _ in self.read_arrivals())


def _arrivals_of(name: str, read: Callable[[], Iterator[Frame]]) -> Iterator[ImageArrival]:
    """Frames as arrivals, received when they were taken."""
    for frame in read():
        yield ImageArrival(frame.camera, name, frame.stamp_ns, frame.stamp_ns, "", frame.image)


def drive_notes(drive: DriveSource, topics: Mapping[str, str] | None, images_read: int | None = None) -> list[str]:
    """What a person should know of a drive that is a bag, as sentences; ``images_read`` of the whole bag, if it was read."""
    if drive.path is None or not is_bag(drive.path):
        return []
    info = bag_info(drive.path)
    if images_read is None:
        return [f"{drive.name}: {note}" for note in (*([info.damage] if info.damage else []), *bag_notes(info, topics))]
    chosen = info.cameras if topics is None else topics
    promised = sum(entry.messages for entry in info.topics if entry.topic in chosen and has_images(entry))
    note = lost_note(drive.name, promised, images_read)
    return [note] if note else []


def open_drives(
    paths: Iterable[Path | str],
    *,
    topics: Mapping[str, str] | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    rate_hz: float | None = None,
    decoding: DecodingSettings = DEFAULT_DECODING,
) -> list[DriveSource]:
    """Return the drives at ``paths``. A bag or a video is one drive, and so is each (sub-)folder that holds pictures.

    Args:
        paths: bags (folder, ``.mcap``, ``.db3``; ``.bag`` of ROS 1), folders of pictures, and videos.
        topics: image topic -> camera name, for bags; None takes every camera topic.
        start_s: start of the wanted part, seconds from the start of each drive.
        end_s: end of the wanted part (exclusive), seconds from the start of each drive.
        rate_hz: frame rate of pictures; None assumes ``ASSUMED_RATE_HZ`` and sets ``assumed_rate_hz``.
        decoding: of the image messages of bags.

    Raises:
        ConfigError: rate outside 0.001 to 1000 Hz, or two drives of one name.
        DataError: a path does not exist or is none of these.
    """
    drives: list[DriveSource] = []
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(f"there is no {path}; give a bag, a folder of pictures or a video.")
        if is_bag(path):
            part = (path, topics, start_s, end_s)
            drives.append(
                DriveSource(
                    _name(path),
                    partial(iter_frames, *part, decoding=decoding),
                    arrivals=partial(iter_arrivals, *part, decoding=decoding),
                    count=partial(count_images, *part),
                    arrivals_between=partial(_bag_between, path, topics, start_s or 0.0, decoding),
                    path=path,
                    part=repr((topics, start_s, end_s, decoding)),
                )
            )
        elif path.is_dir():
            parts = picture_drives(open_pictures(path), _name(path), rate_hz=rate_hz)
            drives += [_cut(drive, start_s, end_s) for drive in parts]
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            video = DriveSource(
                _name(path),
                partial(video_frames, path, rate_hz),
                count=partial(_count_video, path, rate_hz),
                path=path,
                part=repr(rate_hz),
            )
            drives.append(_cut(video, start_s, end_s))
        else:
            is_picture = path.suffix.lower() in PICTURE_SUFFIXES
            hint = f" Give the folder that it lies in, {path.parent}." if is_picture else ""
            raise DataError(f"{path} is neither a bag nor a folder of pictures nor a video.{hint}")
    return distinct(drives)


def _bag_between(
    path: Path,
    topics: Mapping[str, str] | None,
    offset_s: float,
    decoding: DecodingSettings,
    begin_s: float,
    end_s: float,
) -> Iterator[ImageArrival]:
    return iter_arrivals(path, topics, offset_s + begin_s, offset_s + end_s, decoding=decoding)


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
        own = folder.only(pictures)
        drives.append(
            DriveSource(
                name if sequence == "." else f"{name}/{sequence}",
                partial(_picture_frames, own, used),
                len(pictures),
                assumed,
                partial(picture_arrivals, own, name, used),
                path=folder.root if sequence == "." else folder.root / sequence,
                part=f"{sequence} {used}",
            )
        )
    return drives


def picture_arrivals(folder: PictureFolder, topic: str, rate_hz: float) -> Iterator[ImageArrival]:
    """Yield pictures as arrivals, received when they were taken; one that cannot be read has no image."""
    for index, stamp_ns in enumerate(picture_stamps(folder, rate_hz)):
        camera = picture_camera(folder.samples[index])
        try:
            yield ImageArrival(camera, topic, stamp_ns, stamp_ns, "", folder.image(index))
        except DataError as error:
            yield ImageArrival(camera, topic, stamp_ns, stamp_ns, "", None, str(error))


def _count_video(path: Path, rate_hz: float | None) -> int:
    return video_length_s(path, rate_hz)[0]


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
    return printable("/".join(path.resolve().parts[-2:]).lstrip("/"))


def printable(name: str) -> str:
    """A file name as text that can be written anywhere: bytes that are not UTF-8 become a replacement character."""
    return os.fsencode(name).decode("utf-8", "replace")


def is_bag(path: Path) -> bool:
    """Whether an existing path looks like a bag: a folder or a file of ROS 2, or a file of ROS 1."""
    return is_bag_file(path) if path.is_file() else is_bag_folder(path)


def _cut(drive: DriveSource, start_s: float | None, end_s: float | None) -> DriveSource:
    """The part of a drive between two times, in seconds from its first frame."""
    if start_s is None and end_s is None:
        return drive

    return replace(
        drive,
        read=partial(_within, drive.read, start_s, end_s),
        frames=None,
        arrivals=partial(_within, drive.read_arrivals, start_s, end_s),
        count=None,
        part=f"{drive.part} {start_s} {end_s}",
    )


def _within(
    read: Callable[[], Iterator[FrameOrArrival]], start_s: float | None, end_s: float | None
) -> Iterator[FrameOrArrival]:
    """What lies between two times, in seconds from the first."""
    first: int | None = None
    for item in read():
        first = item.stamp_ns if first is None else first
        elapsed_s = (item.stamp_ns - first) / 1e9
        if end_s is not None and elapsed_s >= end_s:
            return
        if start_s is None or elapsed_s >= start_s:
            yield item


def without_spans(drive: DriveSource, spans: Sequence[tuple[float, float]]) -> DriveSource:
    """The drive without the images between these times: (begin, end) in seconds from its first image, end exclusive."""
    from_start = any(begin_s <= 0.0 for begin_s, _ in spans)  # the times are from another first image then
    return replace(
        drive,
        read=partial(_outside, drive.read, spans),
        frames=None,
        arrivals=partial(_outside, drive.read_arrivals, spans),
        count=None,
        arrivals_between=None if from_start else drive.arrivals_between,
        part=f"{drive.part} without {spans}",
    )


def _outside(
    read: Callable[[], Iterator[FrameOrArrival]], spans: Sequence[tuple[float, float]]
) -> Iterator[FrameOrArrival]:
    first: int | None = None
    for item in read():
        first = item.stamp_ns if first is None else first
        elapsed_s = (item.stamp_ns - first) / 1e9
        if not any(begin_s <= elapsed_s < end_s for begin_s, end_s in spans):
            yield item


def _picture_frames(folder: PictureFolder, rate_hz: float) -> Iterator[Frame]:
    for sample, frame in zip(folder.samples, iter_pictures(folder, rate_hz=rate_hz), strict=True):
        yield Frame(frame.image, frame.stamp_ns, picture_camera(sample))


def picture_camera(sample: Sample) -> str:
    """Camera of a picture by WoodScape's file names; ``front`` for other names."""
    cameras = {code: camera for camera, code in CAMERA_CODES.items()}
    return cameras.get(sample.image.stem.rpartition("_")[2], "front")
