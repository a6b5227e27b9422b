"""The two passes over a clean drive: one checks all images and computes the features of a sample, one scores the rest."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..core.coded_names import CodedNames
from ..core.types import Frame
from ..errors import DataError
from ..features import FrameFeatures
from ..recordings.drive_source import DriveSource
from ..workers.processes import OnTaskProgress
from .clean_reading import FaultCounts, FrameChecks, checked_frames, require_clean
from .fold_scorers import FoldScorers, ScorersFile, Scores
from .network import BatchedNetwork, NetworkSource
from .sampling import StrideSampler


@dataclass(frozen=True)
class DriveFrames:
    """The n usable frames of a drive, and the features of s of them.

    Attributes:
        stamps_ns: (n,) capture times.
        cameras: n camera names.
        usable: (images,) whether each image of the drive passed the checks, in order of reading.
        sample: (s,) indices among the n frames, ascending.
        features: float32 features with s rows each.
        counts: images read and left out.
    """

    stamps_ns: NDArray[np.int64]
    cameras: CodedNames
    usable: NDArray[np.bool_]
    sample: NDArray[np.int64]
    features: Mapping[str, NDArray[np.float32]]
    counts: FaultCounts


class _Columns:
    """Stamps and cameras of frames, 12 bytes each."""

    def __init__(self) -> None:
        self._stamps, self._codes = array("q"), array("i")
        self._names: dict[str, int] = {}

    def add(self, frame: Frame) -> None:
        self._stamps.append(frame.stamp_ns)
        self._codes.append(self._names.setdefault(frame.camera, len(self._names)))

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        return np.array(self._stamps, np.int64)

    @property
    def cameras(self) -> CodedNames:
        return CodedNames(np.array(self._codes, np.int32), tuple(self._names))


@dataclass(frozen=True)
class ReadTask:
    """Read a drive, check every image, and compute the features of its part of the sample.

    Attributes:
        drive: to read.
        network: computes the features.
        stride: as in ``StrideSampler``.
        start: likewise.
        max_faulty: largest share of images that may fail the checks.
    """

    drive: DriveSource
    network: NetworkSource
    stride: int
    start: int
    max_faulty: float

    @property
    def name(self) -> str:
        """Name of the drive."""
        return self.drive.name

    def run(self, on_progress: OnTaskProgress, threads: int = 1) -> DriveFrames:
        """Do it.

        Raises:
            CalibrationError: no image, too many faulty ones, or features that are not finite.
            DataError: the drive cannot be read.
        """
        checks, columns, sampler = FrameChecks(), _Columns(), StrideSampler(self.stride, self.start)
        usable, sample = bytearray(), array("q")
        parts: list[dict[str, NDArray[np.float32]]] = []

        def keep(_numbers: list[int], features: FrameFeatures) -> None:
            parts.append({name: rows.astype(np.float32) for name, rows in features.rows.items()})

        with BatchedNetwork(self.network.open(), threads, keep) as network:
            for number, frame in checked_frames(self.drive.read_arrivals(), checks):
                usable.extend(bytes(number - len(usable)))
                usable.append(1)
                if sampler.takes(number):
                    sample.append(len(columns))
                    network.add(len(columns), frame)
                columns.add(frame)
                on_progress(number + 1, "")
            network.finish()
        counts = checks.counts
        usable.extend(bytes(sum(counts.images.values()) - len(usable)))
        on_progress(len(usable), "")
        require_clean(self.name, counts, self.max_faulty)
        return DriveFrames(
            columns.stamps_ns,
            columns.cameras,
            np.frombuffer(bytes(usable), bool),
            np.array(sample, np.int64),
            {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {},
            counts,
        )


@dataclass(frozen=True)
class ScoreTask:
    """Read a drive again and score the frames that are not in the sample.

    Attributes:
        drive: to read.
        network: computes the features.
        frames: the drive's frames, as they were read first; their features are not needed.
        folds: what is held out -> (n,) fold of each frame.
        scorers: detectors by fold.
    """

    drive: DriveSource
    network: NetworkSource
    frames: DriveFrames
    folds: Mapping[str, NDArray[np.int64]]
    scorers: FoldScorers | ScorersFile

    @property
    def name(self) -> str:
        """Name of the drive."""
        return self.drive.name

    def run(self, on_progress: OnTaskProgress, threads: int = 1) -> Scores:
        """Do it. Scores of the sample's frames are NaN.

        Raises:
            CalibrationError: features that are not finite.
            DataError: the drive cannot be read, or it has changed.
        """
        scorers, frames = self.scorers.open(), self.frames
        scores = scorers.empty(len(frames.stamps_ns))
        in_sample = np.zeros(len(frames.stamps_ns), bool)
        in_sample[frames.sample] = True

        def score(numbers: list[int], features: FrameFeatures) -> None:
            scorers.score(np.array(numbers), features, self.folds, scores)

        index, images = 0, 0
        with BatchedNetwork(self.network.open(), threads, score) as network:
            for number, arrival in enumerate(self.drive.read_arrivals()):
                images = number + 1
                if number >= len(frames.usable):
                    break
                if not frames.usable[number]:
                    continue
                is_same = (arrival.stamp_ns, arrival.camera) == (frames.stamps_ns[index], frames.cameras[index])
                if arrival.image is None or not is_same:
                    break
                if not in_sample[index]:
                    network.add(index, Frame(arrival.image, arrival.stamp_ns, arrival.camera))
                index += 1
                on_progress(images, "")
            network.finish()
        if index != len(frames.stamps_ns) or images != len(frames.usable):
            raise DataError(f"{self.name} has changed since it was read first; leave its files alone, and start again.")
        return scores


@dataclass(frozen=True)
class CheckTask:
    """Read a further drive and score all of its usable frames.

    Attributes:
        drive: to read.
        network: computes the features.
        scorers: the fitted detectors, in one fold.
        max_faulty: largest share of images that may fail the checks.
    """

    drive: DriveSource
    network: NetworkSource
    scorers: FoldScorers
    max_faulty: float

    @property
    def name(self) -> str:
        """Name of the drive."""
        return self.drive.name

    def run(self, on_progress: OnTaskProgress, threads: int = 1) -> DriveCheck:
        """Do it. Raises as ``ReadTask.run``."""
        checks = FrameChecks()
        parts: list[dict[str, NDArray[np.float64]]] = []

        def score(numbers: list[int], features: FrameFeatures) -> None:
            parts.append(self.scorers.score_all(features))

        with BatchedNetwork(self.network.open(), threads, score) as network:
            for number, frame in checked_frames(self.drive.read_arrivals(), checks):
                network.add(number, frame)
                on_progress(number + 1, "")
            network.finish()
        require_clean(self.name, checks.counts, self.max_faulty)
        return DriveCheck({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, checks.counts)


@dataclass(frozen=True)
class DriveCheck:
    """Scores of a further drive.

    Attributes:
        scores: detector -> (n,) scores.
        counts: images read and left out.
    """

    scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    counts: FaultCounts = field(default_factory=lambda: FaultCounts({}))
