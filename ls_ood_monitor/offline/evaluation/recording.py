"""Recordings to evaluate: bags, and folders of pictures or videos as if their cameras had sent them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from ..bags import ImageArrival, bag_info, iter_arrivals
from ..drives import Drive, is_bag, open_drives


@dataclass(frozen=True)
class Recording:
    """One recording; it can be sent to another process, which must see the same files.

    Attributes:
        path: of it, absolute.
        topics: image topic -> camera name of a bag; None for pictures and videos.
        rate_hz: frame rate of pictures or of a video; None = their own.
        cameras: names, in the order of the alphabet.
        begin_ns: its first moment.
        end_ns: its last one.
        images: how many image messages it should hold.
        damage: what is wrong with it, in a sentence; empty where nothing was found when it was opened.
        identity: changes when its files do (``identity_of``).
    """

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
    def name(self) -> str:
        """Of its file or folder."""
        return self.path.name

    @property
    def duration_s(self) -> float:
        """From its first moment to the last one."""
        return (self.end_ns - self.begin_ns) / 1e9

    def read(self) -> Iterator[ImageArrival]:
        """Start an iteration over its images; of a damaged bag over those that can be read."""
        if self.topics is not None:
            return iter_arrivals(self.path, self.topics, recover=True)
        return _pictures(self.path, self.rate_hz)


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
        info = bag_info(path, recover=True)
        cameras = dict(topics) if topics else info.cameras
        # Refuses what it cannot read before anything is started.
        next(iter_arrivals(path, topics, recover=True), None)
        return Recording(
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
    seen: set[str] = set()
    stamps: list[int] = []
    for frame in _drive(path, rate_hz).read():  # gone through once to learn cameras and times
        seen.add(frame.camera)
        stamps.append(frame.stamp_ns)
    if not stamps:
        raise DataError(f"{path} holds no picture.")
    return Recording(
        path=Path(os.path.abspath(path)),
        topics=None,
        rate_hz=rate_hz,
        cameras=tuple(sorted(seen)),
        begin_ns=min(stamps),
        end_ns=max(stamps),
        images=len(stamps),
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


def _drive(path: Path, rate_hz: float | None) -> Drive:
    drives = open_drives([path], rate_hz=rate_hz)
    if len(drives) > 1:
        names = ", ".join(drive.name for drive in drives[:4])
        raise DataError(f"{path} holds {len(drives)} drives ({names}, ...); give one of their folders.")
    return drives[0]


def _pictures(path: Path, rate_hz: float | None) -> Iterator[ImageArrival]:
    """Pictures are received when they were taken."""
    for frame in _drive(path, rate_hz).read():
        yield ImageArrival(frame.camera, path.name, frame.stamp_ns, frame.stamp_ns, "", frame.image)
