"""Recordings to evaluate: bags, and folders of pictures or videos as if their cameras had sent them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..datasets import PictureFolder, open_pictures, picture_stamps
from ..errors import ConfigError, DataError
from .bags import ImageArrival, bag_info, iter_arrivals
from .drive_source import ASSUMED_RATE_HZ, is_bag, open_drives, picture_camera, video_length_s


@dataclass(frozen=True)
class Recording:
    """One recording; it can be sent to another process, which must see the same files.

    Attributes:
        name: tells it from those that are evaluated with it (``distinct_names``).
        path: of it, absolute.
        topics: image topic -> camera name of a bag; None for pictures and videos.
        rate_hz: frame rate of pictures or of a video; None = their own.
        cameras: names, in the order of the alphabet.
        begin_ns: its first moment.
        end_ns: its last one.
        images: how many image messages it should hold; of a video what it says of itself, 0 = nothing.
        damage: what is wrong with it, in a sentence; empty where nothing was found when it was opened.
        identity: changes when its files do (``identity_of``).
    """

    name: str
    path: Path
    topics: Mapping[str, str] | None
    rate_hz: float | None
    cameras: tuple[str, ...]
    begin_ns: int
    end_ns: int
    images: int
    damage: str
    identity: str

    @property
    def assumed_rate_hz(self) -> float | None:
        """Frame rate of a folder of pictures for which nobody gave one: they carry no time."""
        is_folder = self.topics is None and self.path.is_dir()
        return ASSUMED_RATE_HZ if is_folder and self.rate_hz is None else None

    @property
    def duration_s(self) -> float:
        """From its first moment to the last one."""
        return (self.end_ns - self.begin_ns) / 1e9

    def read(self) -> Iterator[ImageArrival]:
        """Start an iteration over its images; of a damaged bag over those that can be read.

        A picture that cannot be read is a message that cannot: the others are judged.
        """
        if self.topics is not None:
            return iter_arrivals(self.path, self.topics, recover=True)
        return _pictures(self.path, self.rate_hz) if self.path.is_dir() else _video(self.path, self.rate_hz)


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Names of recordings that are evaluated together, each its folder of results.

    It is that of the file or folder; those that would have the same one get the folder above in front, and the one above
    that, until they differ: ``d1/bag`` and ``d2/bag`` are ``d1_bag`` and ``d2_bag``.

    Raises:
        ConfigError: one recording is given twice, or folders alone do not tell two apart.
    """
    parts = [Path(os.path.abspath(path)).parts[1:] or ("root",) for path in paths]
    if len(set(parts)) < len(parts):
        twice = next(path for path, own in zip(paths, parts, strict=True) if parts.count(own) > 1)
        raise ConfigError(f"the recording {twice} is given twice; give it once.")
    depths = [1] * len(parts)
    while True:
        names = ["_".join(own[-depth:]) for own, depth in zip(parts, depths, strict=True)]
        alike = [place for place, name in enumerate(names) if names.count(name) > 1]
        if not alike:
            return names
        longer = [place for place in alike if depths[place] < len(parts[place])]
        if not longer:
            one, other = (paths[place] for place in alike[:2])
            raise ConfigError(f"{one} and {other} would write the same folder; rename one, or evaluate them apart.")
        for place in longer:
            depths[place] += 1


def open_recording(
    path: Path, topics: Mapping[str, str] | None = None, rate_hz: float | None = None, name: str = ""
) -> Recording:
    """Open a bag, a video, or a folder of pictures.

    Args:
        path: of it.
        topics: image topic -> camera name, for a bag; None takes all.
        rate_hz: frame rate of pictures or a video.
        name: of it; empty = of its file or folder.

    Raises:
        DataError: there is no such recording, or none with a camera in it.
    """
    name = name or os.path.basename(os.path.abspath(path))
    _refuse_folder_of_others(path)
    if path.exists() and is_bag(path):
        info = bag_info(path, recover=True)
        cameras = dict(topics) if topics else info.cameras
        # Refuses what it cannot read before anything is started.
        next(iter_arrivals(path, topics, recover=True), None)
        return Recording(
            name=name,
            path=Path(os.path.abspath(path)),
            topics=cameras,
            rate_hz=None,
            cameras=tuple(sorted(set(cameras.values()))),
            begin_ns=info.start_ns,
            end_ns=info.start_ns + round(info.duration_s * 1e9),
            images=sum(entry.messages for entry in info.topics if entry.topic in cameras),
            damage=info.damage,
            identity=identity_of(path),
        )
    if path.is_dir():
        folder, stamps = _folder(path, rate_hz)
        cameras = tuple(sorted({picture_camera(sample) for sample in folder.samples}))
        begin_ns, end_ns, images = stamps[0], stamps[-1], len(stamps)
    else:
        first = next(_video(path, rate_hz), None)  # refuses what it cannot read before anything is started
        if first is None:
            raise DataError(f"{path} holds no picture.")
        images, length_s = video_length_s(path, rate_hz)
        cameras, begin_ns, end_ns = (first.camera,), first.stamp_ns, first.stamp_ns + round(length_s * 1e9)
    return Recording(
        name=name,
        path=Path(os.path.abspath(path)),
        topics=None,
        rate_hz=rate_hz,
        cameras=cameras,
        begin_ns=begin_ns,
        end_ns=end_ns,
        images=images,
        damage="",
        identity=identity_of(path),
    )


def identity_of(path: Path) -> str:
    """SHA-256, hex, of the names, sizes and times of change of the recording's files.

    To hash their content would take as long as to read gigabytes, and who changes a file changes its time.
    """
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    facts = [
        (str(file.relative_to(path)), found.st_size, found.st_mtime_ns) for file in files for found in [file.stat()]
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def is_result(path: Path) -> bool:
    """Whether a folder is what an evaluation of one or of several recordings wrote."""
    return path.is_dir() and any(
        (folder / "frames.csv").is_file() and (folder / "summary.json").is_file() for folder in (path, *_folders(path))
    )


def _refuse_folder_of_others(path: Path) -> None:
    """A folder around a bag, or of results, may hold pictures, but is no camera's."""
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


def _folder(path: Path, rate_hz: float | None) -> tuple[PictureFolder, list[int]]:
    """Pictures of one drive, and their stamps in ns."""
    folder = open_pictures(path)
    sequences = list(dict.fromkeys(folder.sequences.values()))
    if len(sequences) > 1:
        names = ", ".join(sequences[:4])
        raise DataError(f"{path} holds {len(sequences)} drives ({names}, ...); give one of their folders.")
    return folder, picture_stamps(folder, ASSUMED_RATE_HZ if rate_hz is None else rate_hz)


def _pictures(path: Path, rate_hz: float | None) -> Iterator[ImageArrival]:
    """Pictures are received when they were taken."""
    folder, stamps = _folder(path, rate_hz)
    for index, stamp_ns in enumerate(stamps):
        camera = picture_camera(folder.samples[index])
        try:
            image, error = folder.image(index), ""
        except DataError as reason:
            image, error = None, str(reason)
        yield ImageArrival(camera, path.name, stamp_ns, stamp_ns, "", image, error)


def _video(path: Path, rate_hz: float | None) -> Iterator[ImageArrival]:
    """Likewise."""
    (drive,) = open_drives([path], rate_hz=rate_hz)
    for frame in drive.read():
        yield ImageArrival(frame.camera, path.name, frame.stamp_ns, frame.stamp_ns, "", frame.image)
