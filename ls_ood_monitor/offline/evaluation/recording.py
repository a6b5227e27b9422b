"""Recordings to evaluate: ROS 2 bags, and folders of pictures or videos as if their cameras had sent them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import DataError
from ..bags import ImageArrival, bag_info, iter_arrivals
from ..drives import Drive, is_bag, open_drives


@dataclass(frozen=True)
class Recording:
    """One recording.

    Attributes:
        name: of its file or folder.
        path: of it.
        cameras: names, in the order of the alphabet.
        begin_ns: its first moment.
        end_ns: its last one.
        images: how many image messages it holds.
        read: starts an iteration over them.
    """

    name: str
    path: Path
    cameras: tuple[str, ...]
    begin_ns: int
    end_ns: int
    images: int
    read: Callable[[], Iterator[ImageArrival]]

    @property
    def duration_s(self) -> float:
        """From its first moment to the last one."""
        return (self.end_ns - self.begin_ns) / 1e9


def open_recording(path: Path, topics: Mapping[str, str] | None = None, rate_hz: float | None = None) -> Recording:
    """Open a bag, a video, or a folder of pictures.

    Args:
        path: of it.
        topics: image topic -> camera name, for a bag; None takes all.
        rate_hz: frame rate of pictures or a video.

    Raises:
        DataError: there is no such recording, or none with a camera in it.
    """
    if path.exists() and is_bag(path):
        info = bag_info(path)
        cameras = dict(topics) if topics else info.cameras
        counts = {entry.topic: entry.messages for entry in info.topics}
        next(iter_arrivals(path, topics), None)  # refuses what it cannot read before anything is started
        end_ns = info.start_ns + round(info.duration_s * 1e9)
        images = sum(counts.get(topic, 0) for topic in cameras)
        names = tuple(sorted(set(cameras.values())))
        return Recording(path.name, path, names, info.start_ns, end_ns, images, partial(iter_arrivals, path, topics))
    drives = open_drives([path], rate_hz=rate_hz)
    if len(drives) > 1:
        names = ", ".join(drive.name for drive in drives[:4])
        raise DataError(f"{path} holds {len(drives)} drives ({names}, ...); give one of their folders.")
    return _of_pictures(path, drives[0])


def _of_pictures(path: Path, drive: Drive) -> Recording:
    """Pictures are received when they were taken. They are gone through once to learn cameras and times."""
    cameras: set[str] = set()
    stamps: list[int] = []
    for frame in drive.read():
        cameras.add(frame.camera)
        stamps.append(frame.stamp_ns)
    if not stamps:
        raise DataError(f"{path} holds no picture.")

    def read() -> Iterator[ImageArrival]:
        for frame in drive.read():
            yield ImageArrival(frame.camera, str(path), frame.stamp_ns, frame.stamp_ns, "", frame.image)

    return Recording(path.name, path, tuple(sorted(cameras)), min(stamps), max(stamps), len(stamps), read)
