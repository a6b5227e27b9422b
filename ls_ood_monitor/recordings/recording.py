"""Recordings to evaluate: bags, and pictures or videos that are read as if cameras had sent them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config import DEFAULT_DECODING, DecodingSettings
from ..datasets import PictureFolder, open_pictures, picture_stamps
from ..errors import ConfigError, DataError
from .bag_notes import bag_notes
from .bags import ImageArrival, bag_info, has_images, iter_arrivals
from .bags.files import SHARED_MEMORY
from .drive_source import ASSUMED_RATE_HZ, is_bag, open_drives, picture_arrivals, picture_camera, printable
from .video import video_length_s


@dataclass(frozen=True)
class Recording:
    """One recording to evaluate. It can be pickled for another process, which must see the same files."""

    name: str  # unique among the recordings that are evaluated together (``distinct_names``)
    path: Path  # absolute
    topics: Mapping[str, str] | None  # image topic -> camera name of a bag; None for pictures and videos
    rate_hz: float | None  # frame rate of pictures or of a video; None = their own
    cameras: tuple[str, ...]  # in alphabetical order
    begin_ns: int  # first time
    end_ns: int  # last time
    images: int  # number of image messages that it should hold; 0 = a video that does not state it
    damage: str  # what is wrong with it, as a sentence; empty if opening it showed nothing
    identity: str  # changes when its files change (``identity_of``)
    decoding: DecodingSettings = DEFAULT_DECODING  # of the image messages of a bag
    notes: tuple[str, ...] = ()  # what a person should know of a bag, each a sentence

    @property
    def assumed_rate_hz(self) -> float | None:
        """Assumed frame rate of a folder of pictures, which carry no time; None if the rate was given or is known."""
        is_folder = self.topics is None and self.path.is_dir()
        return ASSUMED_RATE_HZ if is_folder and self.rate_hz is None else None

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last time."""
        return (self.end_ns - self.begin_ns) / 1e9

    def read(self) -> Iterator[ImageArrival]:
        """Start an iteration over the images; of a damaged bag, over those that can be read.

        An unreadable picture of a folder is an arrival without an image, and reading goes on.
        """
        if self.topics is not None:
            return iter_arrivals(self.path, self.topics, recover=True, decoding=self.decoding)
        return _read_pictures(self.path, self.rate_hz) if self.path.is_dir() else _read_video(self.path, self.rate_hz)


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Name the recordings that are evaluated together. Each name is also a folder of results.

    A name is that of the file or folder. Equal names get their parent folders in front until they differ: ``d1/bag`` and
    ``d2/bag`` become ``d1_bag`` and ``d2_bag``.

    Raises:
        ConfigError: a recording is given twice, or two names stay equal with all their folders.
    """
    parts = [Path(os.path.abspath(path)).parts[1:] or ("root",) for path in paths]
    if len(set(parts)) < len(parts):
        twice = next(path for path, own in zip(paths, parts, strict=True) if parts.count(own) > 1)
        raise ConfigError(f"the recording {twice} is given twice; give it once.")
    depths = [1] * len(parts)
    while True:
        names = [printable("_".join(own[-depth:])) for own, depth in zip(parts, depths, strict=True)]
        equal = [index for index, name in enumerate(names) if names.count(name) > 1]
        if not equal:
            return names
        extendable = [index for index in equal if depths[index] < len(parts[index])]
        if not extendable:
            first, second = (paths[index] for index in equal[:2])
            raise ConfigError(f"{first} and {second} would write the same folder; rename one, or evaluate them apart.")
        depths = [depth + (index in extendable) for index, depth in enumerate(depths)]


def open_recording(
    path: Path,
    topics: Mapping[str, str] | None = None,
    rate_hz: float | None = None,
    name: str = "",
    decoding: DecodingSettings = DEFAULT_DECODING,
) -> Recording:
    """Open a bag, a video, or a folder of pictures; ``name`` is that of its file or folder unless given.

    ``topics`` (image topic -> camera name) are a bag's; None takes every camera topic. ``rate_hz`` is that of pictures or a
    video. ``decoding`` is that of a bag's image messages.

    Raises:
        DataError: there is no such recording, or it has no camera.
    """
    name = name or printable(os.path.basename(os.path.abspath(path)))
    refuse_other_folders(path)
    bag_topics: dict[str, str] | None = None
    cameras: Iterable[str]
    damage = ""
    notes: tuple[str, ...] = ()
    if path.exists() and is_bag(path):
        info = bag_info(path, recover=True)
        bag_topics = dict(topics) if topics else info.cameras
        next(iter_arrivals(path, topics, recover=True), None)  # refuses an unreadable bag before any work starts
        cameras = bag_topics.values()
        begin_ns, end_ns = info.start_ns, info.start_ns + round(info.duration_s * 1e9)
        images = sum(entry.messages for entry in info.topics if entry.topic in bag_topics and has_images(entry))
        rate_hz, damage, notes = None, info.damage, tuple(bag_notes(info, topics))
    elif path.is_dir():
        folder, stamps = _open_folder(path, rate_hz)
        cameras = [picture_camera(sample) for sample in folder.samples]
        begin_ns, end_ns, images = stamps[0], stamps[-1], len(stamps)
    else:
        first = next(_read_video(path, rate_hz), None)  # refuses an unreadable video before any work starts
        if first is None:
            raise DataError(f"{path} holds no picture.")
        images, length_s = video_length_s(path, rate_hz)
        cameras, begin_ns, end_ns = [first.camera], first.stamp_ns, first.stamp_ns + round(length_s * 1e9)
    return Recording(
        name=name,
        path=Path(os.path.abspath(path)),
        topics=bag_topics,
        rate_hz=rate_hz,
        cameras=tuple(sorted(set(cameras))),
        begin_ns=begin_ns,
        end_ns=end_ns,
        images=images,
        damage=damage,
        identity=identity_of(path),
        decoding=decoding,
        notes=notes,
    )


def files_of(path: Path) -> list[Path]:
    """The file itself, or all files of a folder and its folders."""
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def identity_of(path: Path) -> str:
    """SHA-256, hex, of the names, sizes and modification times of the recording's files.

    Their content is not hashed: that would mean reading gigabytes, and a changed file has a new modification time.
    """
    stats = [(str(file.relative_to(path)), file.stat()) for file in files_of(path)]
    # Reading a bag writes sqlite's index of a -wal file anew.
    facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats if not name.endswith(SHARED_MEMORY)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def is_result(path: Path) -> bool:
    """Whether an evaluation of one or several recordings wrote this folder."""
    return path.is_dir() and any(
        (folder / "frames.csv").is_file() and (folder / "summary.json").is_file() for folder in (path, *_folders(path))
    )


def refuse_other_folders(path: Path) -> None:
    """Refuse a folder around a bag, and a folder of results: their pictures are not from a camera."""
    if not path.is_dir() or is_bag(path):
        return
    if is_result(path):
        raise DataError(f"{path} holds the results of an evaluation, and is no recording; give the recording itself.")
    bags = [entry for entry in sorted(path.iterdir()) if entry.suffix == ".bag" and entry.is_file()]
    bags += [entry for entry in _folders(path) if is_bag(entry)]
    if bags:
        more = f", or another of its {len(bags)} bags" if len(bags) > 1 else ""
        raise DataError(f"{path} is a folder with a bag in it, and is none itself; give {bags[0]}{more}.")


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and os.access(entry, os.R_OK | os.X_OK))


def _open_folder(path: Path, rate_hz: float | None) -> tuple[PictureFolder, list[int]]:
    """Open the pictures of one drive. Returns them and their stamps in ns."""
    folder = open_pictures(path)
    sequences = list(dict.fromkeys(folder.sequences.values()))
    if len(sequences) > 1:
        names = ", ".join(sequences[:4])
        raise DataError(f"{path} holds {len(sequences)} drives ({names}, ...); give one of their folders.")
    return folder, picture_stamps(folder, ASSUMED_RATE_HZ if rate_hz is None else rate_hz)


def _read_pictures(path: Path, rate_hz: float | None) -> Iterator[ImageArrival]:
    """Yield pictures as arrivals, received when they were taken."""
    folder, _ = _open_folder(path, rate_hz)
    return picture_arrivals(folder, path.name, ASSUMED_RATE_HZ if rate_hz is None else rate_hz)


def _read_video(path: Path, rate_hz: float | None) -> Iterator[ImageArrival]:
    """Yield the frames of a video as arrivals, received when they were taken."""
    (drive,) = open_drives([path], rate_hz=rate_hz)
    for frame in drive.read():
        yield ImageArrival(frame.camera, path.name, frame.stamp_ns, frame.stamp_ns, "", frame.image)
