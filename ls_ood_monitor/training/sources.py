"""Sources of training pictures: a data set on disk or the procedural street, split by whole drives.

The pictures have four disjoint uses: training, validation (choice of the checkpoint), calibration (thresholds) and
check (false alarms, segmentation). A data set on disk is split in three; its validation pictures also calibrate.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..calibration.calibrated_bundle import ProgressFactory
from ..datasets import ClassTable, LabelledFolder, Split, open_dataset, split_of
from ..datasets.cityscapes import CLASSES as CITYSCAPES
from ..datasets.woodscape import SEMANTIC, SOILING
from ..errors import ConfigError
from ..recordings.drive_source import DriveSource, picture_drives
from ..street import CAMERAS
from ..street.drive_sources import street_drives
from ..street.shots import (
    CALIBRATION_DRIVES,
    CAMERA_SIZE,
    TEST_DRIVES,
    TRAINING_DRIVES,
    VALIDATION_DRIVES,
    render_shots,
    spread_shots,
)
from ..vision.preprocess import PreprocessSpec, resize_image, resize_labels
from .data import LabelledPictures, LabelledSet

STREET = "street"
#: Names for ``ls-ood train -d`` with their classes.
SOURCES: dict[str, ClassTable] = {
    "woodscape": SEMANTIC,
    "woodscape-soiling": SOILING,
    "cityscapes": CITYSCAPES,
    STREET: SEMANTIC,
}

_READERS = 4


@dataclass(frozen=True)
class TrainingSource:
    """The pictures of a training run."""

    train: LabelledPictures
    validation: LabelledPictures  # for the choice of the checkpoint
    calibration: Sequence[DriveSource]  # clean drives for detectors and thresholds
    check: Sequence[DriveSource]  # clean drives that none of the above contains
    check_labelled: LabelledPictures  # the pictures of ``check`` with labels
    classes: ClassTable
    split: Split | None  # of a data set on disk; None for the street, whose drives are named in ``facts``
    facts: dict[str, Any]  # description of the data, for provenance


def from_folder(name: str, path: Path, *, seed: int, split: Split | None = None) -> TrainingSource:
    """Pictures of data set ``name`` in folder ``path``, by ``split``, else that of the folder, else one by ``seed``.

    Raises:
        ConfigError: unknown name, or a data set without labels.
        DataError: the folder is not laid out as this data set, or has too few sequences.
    """
    folder = open_dataset(name, path)
    if not isinstance(folder, LabelledFolder):
        raise ConfigError(f"data set {name!r} has no labels to train on; use one of {', '.join(SOURCES)}.")
    split = split or split_of(folder.root, folder.sequences, seed=seed)
    train, valid, test = (folder.only(split.parts[part]) for part in ("train", "valid", "test"))
    facts = {
        "data": name,
        "split": {part: len(names) for part, names in split.parts.items()},
        "split_seed": split.seed,
        "held_out": "one sequence at a time",
    }
    calibration, check = picture_drives(valid, name), picture_drives(test, name)
    return TrainingSource(train, valid, calibration, check, test, folder.classes, split, facts)


def require_labels(source: TrainingSource, progress: ProgressFactory) -> None:
    """Read every label on disk once, so that a wrong label is reported before the training.

    Raises ``DataError`` if a label cannot be read or has a value that is not a class of the data set.
    """
    labelled = (source.train, source.validation, source.check_labelled)
    parts = [part for part in labelled if isinstance(part, LabelledFolder)]
    if not parts:
        return
    done = 0
    # Threads suffice: decoding releases the interpreter lock.
    with progress("Checking the labels", sum(map(len, parts))) as update, ThreadPoolExecutor(_READERS) as pool:
        for part in parts:
            for _ in pool.map(lambda index, part=part: part.labels(index).size, range(len(part))):
                done += 1
                update(done)


def from_street(
    spec: PreprocessSpec,
    *,
    drives: int,
    calibration_drives: int,
    check_drives: int = 30,
    validation_drives: int = 16,
    progress: ProgressFactory | None = None,
    only_check: bool = False,
) -> TrainingSource:
    """The procedural street: 2 moments of 4 cameras a drive, rendered at once and kept at the network's size.

    Each number of drives is at most 1000; without validation drives the last state of the network counts.
    ``only_check`` renders the check drives alone and keeps them at camera size, so that anomalies can be applied before
    the preprocessing. Raises ``ConfigError`` for a number of drives out of range.
    """
    for label, value, low in (
        ("drives", drives, 1),
        ("validation drives", validation_drives, 0),
        ("calibration drives", calibration_drives, 1),
        ("check drives", check_drives, 1),
    ):
        if not low <= value <= 1000:
            raise ConfigError(f"number of {label} is {value}; it must lie within [{low}, 1000].")

    def render(title: str, seeds: Sequence[int]) -> LabelledSet:
        shots = spread_shots(seeds, 2, CAMERAS)
        width, height = CAMERA_SIZE if only_check else (spec.width, spec.height)
        images = np.empty((len(shots), height, width, 3), np.uint8)
        labels = np.empty((len(shots), height, width), np.uint8)

        with progress(title, len(shots)) if progress and shots else nullcontext() as update:
            for index, picture in enumerate(render_shots(shots, progress=update)):
                images[index] = picture.image if only_check else resize_image(picture.image, spec)
                labels[index] = picture.labels if only_check else resize_labels(picture.labels, width, height)
        return LabelledSet(images, labels)

    train = TRAINING_DRIVES[:drives]
    validation = VALIDATION_DRIVES[:validation_drives]
    check = TEST_DRIVES[:check_drives]
    facts = {
        "data": "procedural fisheye street (synthetic)",
        "training_drives": [train.start, train.stop],
        "held_out": "one drive at a time",
    }
    return TrainingSource(
        render("Rendering training drives", () if only_check else train),
        render("Rendering validation drives", () if only_check else validation),
        street_drives(CALIBRATION_DRIVES[:calibration_drives]),
        street_drives(check),
        render("Rendering unseen drives", check),
        SOURCES[STREET],
        None,
        facts,
    )
