"""Pictures of a data set on disk, with or without class ids, in a fixed order; each is read when it is accessed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..vision.bit_depth import BitDepth
from .files import read_label_map, read_picture

_LOG = logging.getLogger(__name__)
_CHECKED_LABELS = 8

#: Pixels of this id are ignored in training and evaluation.
IGNORE_LABEL = 255


@dataclass(frozen=True)
class Sample:
    """One picture on disk."""

    image: Path
    label: Path | None  # its label map; None without labels
    sequence: str  # its drive, city or folder; a split never divides a sequence


@dataclass(frozen=True, eq=False)
class ClassTable:
    """Classes in the order of their ids."""

    names: tuple[str, ...]
    colours: NDArray[np.uint8]  # RGB (classes, 3)

    def __post_init__(self) -> None:
        if self.colours.shape != (len(self.names), 3):
            raise ValueError(f"{len(self.names)} class names, colours {self.colours.shape}")

    def __len__(self) -> int:
        return len(self.names)

    def paint(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class ids (H, W) as RGB uint8 (H, W, 3); ids without a class are black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self)] = self.colours
        return palette[labels]


@dataclass(frozen=True, eq=False)
class LabelEncoding:
    """How the values of a label file become class ids."""

    lookup: NDArray[np.int16]  # (256,) file value -> class id; -1 = value not allowed
    allowed: str  # the allowed values, as text for messages

    @classmethod
    def identity(cls, classes: int) -> LabelEncoding:
        """For files that hold class ids, and 255 for pixels to ignore."""
        lookup = np.full(256, -1, np.int16)
        lookup[:classes] = np.arange(classes)
        lookup[IGNORE_LABEL] = IGNORE_LABEL
        return cls(lookup, f"0 to {classes - 1}, or {IGNORE_LABEL} for pixels to ignore")

    def apply(self, values: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
        """Class ids uint8 (H, W) of the values of file ``path``. Raises ``DataError`` for a value not allowed."""
        ids = self.lookup[values]
        if bool((ids < 0).any()):
            raise DataError(
                f"label {path} holds the value {int(values[ids < 0].min())}; allowed are {self.allowed}. "
                "Check that it belongs to this data set."
            )
        return ids.astype(np.uint8)


class PictureFolder:
    """Pictures of a data set, with names relative to ``root``. ``len`` counts them, ``image`` reads one."""

    def __init__(self, root: Path, samples: Sequence[Sample]) -> None:
        self.root = root
        self.samples = tuple(samples)
        self._depth = BitDepth(str(root))  # one camera is assumed: its pictures share their number of bits

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def names(self) -> tuple[str, ...]:
        """File names relative to the root, with forward slashes, in the order of the samples."""
        return tuple(sample.image.relative_to(self.root).as_posix() for sample in self.samples)

    @property
    def sequences(self) -> dict[str, str]:
        """Name of each picture -> its sequence."""
        return {name: sample.sequence for name, sample in zip(self.names, self.samples, strict=True)}

    def image(self, index: int) -> NDArray[np.uint8]:
        """Picture ``index``, BGR uint8 (H, W, 3). Raises ``DataError`` when it cannot be read."""
        return read_picture(self.samples[index].image, self._depth)

    def _chosen(self, names: Collection[str]) -> list[Sample]:
        by_name = dict(zip(self.names, self.samples, strict=True))
        absent = sorted(set(names) - set(by_name))
        if absent:
            raise DataError(
                f"data set {self.root} has no picture {absent[0]}{_and_more(len(absent) - 1)}; "
                "the list was made for another copy of the data set, make it again."
            )
        wanted = set(names)
        return [sample for name, sample in by_name.items() if name in wanted]

    def only(self, names: Collection[str]) -> PictureFolder:
        """The pictures called ``names``, in this folder's order. Raises ``DataError`` for an unknown name."""
        return PictureFolder(self.root, self._chosen(names))


class LabelledFolder(PictureFolder):
    """Pictures with their class ids. A pair is read when it is accessed, and not kept.

    ``encoding`` takes the path of a label file and returns how its values become ids of ``classes``.
    """

    def __init__(
        self, root: Path, samples: Sequence[Sample], classes: ClassTable, encoding: Callable[[Path], LabelEncoding]
    ) -> None:
        super().__init__(root, samples)
        self.classes = classes
        self._encoding = encoding

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Class ids of picture ``index``, uint8 (H, W); 255 is ignored. Raises ``DataError``."""
        path = self.samples[index].label
        if path is None:
            raise DataError(f"picture {self.samples[index].image} has no label; open the folder as data set images.")
        return self._encoding(path).apply(read_label_map(path), path)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Picture, BGR uint8 (H, W, 3), and class ids, uint8 (H, W).

        Raises:
            IndexError: no such sample.
            DataError: a file cannot be read, sizes differ, or a label value is not allowed.
        """
        image, labels = self.image(index), self.labels(index)
        if image.shape[:2] != labels.shape:
            sample = self.samples[index]
            raise DataError(
                f"label {sample.label} is {labels.shape[1]}x{labels.shape[0]} but picture {sample.image} is "
                f"{image.shape[1]}x{image.shape[0]}; sizes must agree, export the pair again."
            )
        return image, labels

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        return (self[index] for index in range(len(self)))

    def only(self, names: Collection[str]) -> LabelledFolder:
        """The samples called ``names``, in this folder's order. Raises ``DataError`` for an unknown name."""
        return LabelledFolder(self.root, self._chosen(names), self.classes, self._encoding)


def pair_up(
    pictures: dict[str, Path], labels: dict[str, Path], where: Path, *, partly: bool = False
) -> list[tuple[str, Path, Path]]:
    """Match pictures and labels by key: (key, picture, label), in the order of ``pictures``.

    ``partly``: pictures without label are left out, with a warning, as long as there are others.

    Raises ``DataError`` for a picture without label or a label without picture; the first is named, the rest counted.
    """
    unlabelled = [path for key, path in pictures.items() if key not in labels]
    if partly and 0 < len(unlabelled) < len(pictures):
        _LOG.warning(
            "%s: %d of %d pictures have no label and are left out, such as %s",
            where,
            len(unlabelled),
            len(pictures),
            unlabelled[0].name,
        )
        pictures = {key: path for key, path in pictures.items() if key in labels}
    for part, other, lone in (
        ("picture", "label", [path for key, path in pictures.items() if key not in labels]),
        ("label", "picture", [path for key, path in labels.items() if key not in pictures]),
    ):
        if lone:
            raise DataError(
                f"{part} {lone[0]} has no {other}{_and_more(len(lone) - 1)} in {where}; "
                f"each picture needs one label, add the {other} or remove the {part}."
            )
    return [(key, path, labels[key]) for key, path in pictures.items()]


def sample_values(folder: LabelledFolder) -> tuple[Path | None, set[int]]:
    """The first label and all values in the files of some labels, spread over the folder; unreadable ones are left out."""
    values: set[int] = set()
    for sample in folder.samples[:: max(1, len(folder) // _CHECKED_LABELS)][:_CHECKED_LABELS]:
        try:
            values |= set(np.unique(read_label_map(sample.label)).tolist()) if sample.label else set()
        except DataError:  # raised again when the sample is read
            continue
    return folder.samples[0].label, values


def warn_of_labels(label: Path | None, fault: str, cure: str) -> None:
    """Log that the labels of a data set, such as ``label``, cannot be what they should be."""
    _LOG.warning("the labels such as %s %s; %s", label, fault, cure)


def warn_of_one_class(folder: LabelledFolder) -> None:
    """Log it if some labels, spread over the folder, all hold the same single value."""
    label, values = sample_values(folder)
    if len(values) == 1:
        warn_of_labels(label, f"all hold the value {values.pop()} alone", "check that they are the class ids")


def _and_more(count: int) -> str:
    return f" (and {count} more)" if count else ""
