"""Cityscapes on disk: the 19 training classes and void; each city is a sequence.

Source: Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016 (ids, names, colours).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.classes import CITYSCAPES_COLOURS
from ..errors import ConfigError, DataError
from .files import PICTURE_SUFFIXES, find_folder, list_files, require_folder
from .labelled import (
    IGNORE_LABEL,
    ClassTable,
    LabelEncoding,
    LabelledFolder,
    Sample,
    pair_up,
    sample_values,
    warn_of_labels,
)

PARTS = ("train", "val", "test")
VOID = 19

_PICTURE_END = "_leftImg8bit"
_IDS_END = "_gtFine_labelIds"
_TRAIN_IDS_END = "_gtFine_labelTrainIds"
_COLOUR_END = "_gtFine_color"
_LAST_ID = 33

#: Ids of the classes in a labelIds file, in the order of the class ids.
_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

CLASSES = ClassTable((*CITYSCAPES_COLOURS, "void"), np.array([*CITYSCAPES_COLOURS.values(), (0, 0, 0)], dtype=np.uint8))


def _encoding(values: Sequence[int], largest: int) -> LabelEncoding:
    """``values`` are the classes in their order; all others up to ``largest``, and 255 (id -1 in 8 bits), are void."""
    lookup = np.full(256, -1, np.int16)
    lookup[[*range(largest + 1), IGNORE_LABEL]] = VOID
    lookup[list(values)] = np.arange(VOID)
    return LabelEncoding(lookup, f"0 to {largest}, or {IGNORE_LABEL} for void")


_IDS = _encoding(_LABEL_IDS, _LAST_ID)
_TRAIN_IDS = _encoding(range(VOID), VOID - 1)


def open_cityscapes(root: Path | str, parts: Sequence[str] | None = None) -> LabelledFolder:
    """Open the pictures of ``leftImg8bit/<part>/<city>`` with the labels of ``gtFine/<part>/<city>``.

    Both may lie one folder deeper, and pictures may be JPEG. Label files are ``*_gtFine_labelTrainIds.png`` where they
    exist, else ``*_gtFine_labelIds.png``; a warning is logged if these look like train ids. Ids without a training class,
    and 255, become class 19, void. Parts are ``train``, ``val`` and ``test``; None takes train and val
    where they exist. The published labels of test are void throughout.

    Raises:
        ConfigError: unknown part.
        DataError: a folder is missing or empty, a picture has no label, or a label no picture.
    """
    root = require_folder(Path(root), "the data set Cityscapes")
    if root.name in ("leftImg8bit", "gtFine") and not (root / root.name).is_dir():
        raise DataError(
            f"{root} is a part of Cityscapes; give the folder that holds leftImg8bit and gtFine, {root.parent}."
        )
    pictures = _find(root, "leftImg8bit", "the pictures of Cityscapes, in train, val and test")
    labels = _find(root, "gtFine", "the fine labels of Cityscapes, in train, val and test")
    if parts is None:
        parts = [part for part in PARTS[:2] if (pictures / part).is_dir()]
        if not parts:
            raise DataError(f"{pictures} has neither train nor val; unpack leftImg8bit_trainvaltest there.")
    samples = []
    for part in parts:
        if part not in PARTS:
            raise ConfigError(f"part is {part!r}; it must be one of {', '.join(PARTS)}.")
        samples += _samples(pictures / part, labels / part, root)
    folder = LabelledFolder(root, samples, CLASSES, _encoding_of)
    _warn_of_train_ids(folder)
    return folder


def _find(root: Path, name: str, purpose: str) -> Path:
    """A folder of the data set, which may lie in another of its name, or beside it in one of any name."""
    patterns = (name, f"*/{name}") if not (root / name / name).is_dir() else (f"{name}/{name}",)
    return find_folder(root, patterns, purpose)


def _warn_of_train_ids(folder: LabelledFolder) -> None:
    """Log it if labels by id look like train ids: real streets have ids above 18, such as sky, car and vegetation."""
    by_id = [
        name for name, sample in zip(folder.names, folder.samples, strict=True) if _encoding_of(sample.label) is _IDS
    ]
    if not by_id:
        return
    label, values = sample_values(folder.only(by_id))
    values.discard(IGNORE_LABEL)
    if values and max(values) < VOID:
        warn_of_labels(
            label,
            "hold no id above 18, so they are probably train ids, and road would become void",
            f"if they are, rename them to end in {_TRAIN_IDS_END}.png",
        )


def _encoding_of(label: Path | None) -> LabelEncoding:
    """How the values of a label file become class ids; the end of its name decides."""
    return _TRAIN_IDS if label and label.stem.endswith(_TRAIN_IDS_END) else _IDS


def _samples(picture_folder: Path, folder: Path, root: Path) -> list[Sample]:
    pictures = _by_scene(picture_folder, _PICTURE_END, PICTURE_SUFFIXES, "the pictures by city")
    require_folder(folder, "the labels by city")
    has_ids, has_train_ids, has_colours = (
        any(folder.glob(f"*/*{end}.png")) for end in (_IDS_END, _TRAIN_IDS_END, _COLOUR_END)
    )
    if has_colours and not (has_ids or has_train_ids):
        raise DataError(
            f"{folder} holds only coloured labels (*{_COLOUR_END}.png), which are for people; unpack the labelIds of "
            "gtFine_trainvaltest there."
        )
    labels: dict[str, Path] = {}
    if has_ids or not has_train_ids:
        labels |= _by_scene(folder, _IDS_END, (".png",), "the labels by city")
    if has_train_ids:  # they replace the others
        labels |= _by_scene(folder, _TRAIN_IDS_END, (".png",), "the labels by city")
    paired = pair_up(pictures, labels, root)
    return [Sample(picture, label, picture.parent.name) for _, picture, label in paired]


def _by_scene(folder: Path, end: str, suffixes: Sequence[str], purpose: str) -> dict[str, Path]:
    """``<city>/<scene>`` -> file, in natural order."""
    files = list_files(folder, f"*/*{end}*", suffixes, purpose)
    return {f"{path.parent.name}/{path.stem.removesuffix(end)}": path for path in files if path.stem.endswith(end)}
