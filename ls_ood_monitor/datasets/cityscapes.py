"""Cityscapes on disk: the 19 training classes and void; each city is a sequence.

Source: Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016 (ids, names, colours).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.classes import CITYSCAPES_COLOURS
from ..errors import ConfigError, DataError
from .files import list_files, require_folder
from .labelled import IGNORE_LABEL, ClassTable, LabelEncoding, LabelledFolder, Sample, pair_up

PARTS = ("train", "val", "test")
VOID = 19

_PICTURE_END = "_leftImg8bit.png"
_IDS_END = "_gtFine_labelIds.png"
_TRAIN_IDS_END = "_gtFine_labelTrainIds.png"
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

    Label files are ``*_gtFine_labelTrainIds.png`` where they exist, else ``*_gtFine_labelIds.png``. Ids without a
    training class, and 255, become class 19, void. Parts are ``train``, ``val`` and ``test``; None takes train and val
    where they exist. The published labels of test are void throughout.

    Raises:
        ConfigError: unknown part.
        DataError: a folder is missing or empty, a picture has no label, or a label no picture.
    """
    root = require_folder(Path(root), "the data set Cityscapes")
    pictures = require_folder(root / "leftImg8bit", "the pictures of Cityscapes, in train, val and test")
    require_folder(root / "gtFine", "the fine labels of Cityscapes, in train, val and test")
    if parts is None:
        parts = [part for part in PARTS[:2] if (pictures / part).is_dir()]
        if not parts:
            raise DataError(f"{pictures} has neither train nor val; unpack leftImg8bit_trainvaltest there.")
    samples = []
    for part in parts:
        if part not in PARTS:
            raise ConfigError(f"part is {part!r}; it must be one of {', '.join(PARTS)}.")
        samples += _samples(root, part)
    return LabelledFolder(root, samples, CLASSES, _encoding_of)


def _encoding_of(label: Path) -> LabelEncoding:
    """How the values of a label file become class ids; the end of its name decides."""
    return _TRAIN_IDS if label.name.endswith(_TRAIN_IDS_END) else _IDS


def _samples(root: Path, part: str) -> list[Sample]:
    pictures = _by_scene(root / "leftImg8bit" / part, _PICTURE_END, "the pictures by city")
    folder = require_folder(root / "gtFine" / part, "the labels by city")
    has_train_ids = any(folder.glob(f"*/*{_TRAIN_IDS_END}"))
    labels: dict[str, Path] = {}
    if not has_train_ids or any(folder.glob(f"*/*{_IDS_END}")):
        labels |= _by_scene(folder, _IDS_END, "the labels by city")
    if has_train_ids:  # they replace the others
        labels |= _by_scene(folder, _TRAIN_IDS_END, "the labels by city")
    paired = pair_up(pictures, labels, root)
    return [Sample(picture, label, picture.parent.name) for _, picture, label in paired]


def _by_scene(folder: Path, end: str, purpose: str) -> dict[str, Path]:
    """``<city>/<scene>`` -> file, in natural order."""
    files = list_files(folder, f"*/*{end}", purpose)
    return {f"{path.parent.name}/{path.name.removesuffix(end)}": path for path in files}
