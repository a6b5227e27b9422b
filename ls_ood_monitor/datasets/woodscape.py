"""WoodScape on disk: fisheye pictures with ten classes, and its soiling pictures with four.

Source: Yogamani et al., WoodScape, ICCV 2019. Pictures are named ``<index>_<camera>.png`` with the cameras FV, RV, MVL
and MVR. Neither names nor labels give the drive of a picture. Its sequence is therefore its block of consecutive indices,
for instance ``00100-00199``. Pictures at the border of two blocks may still be neighbours; larger blocks have fewer of
them. Where ``split.json`` names the sequences (see ``split``), these replace the blocks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.classes import CLASS_COLOURS, CLASS_NAMES
from ..errors import ConfigError, DataError
from .files import PICTURE_SUFFIXES, find_folder, list_files, require_folder
from .labelled import ClassTable, LabelEncoding, LabelledFolder, Sample, pair_up, warn_of_one_class
from .split import SPLIT_FILE, read_sequences

IMAGES = "rgb_images"
LABELS = "semantic_annotations/gtLabels"
COLOURED_LABELS = "semantic_annotations/rgbLabels"
SOILING_IMAGES = "rgbImages"
SOILING_LABELS = "gtLabels"
SOILING_PARTS = ("train", "test")

#: Name of a camera of the vehicle -> its code in WoodScape's file names.
CAMERA_CODES = {"front": "FV", "rear": "RV", "left": "MVL", "right": "MVR"}

SEMANTIC = ClassTable(CLASS_NAMES, CLASS_COLOURS)
SOILING = ClassTable(
    ("clear", "transparent", "semi_transparent", "opaque"),
    np.array([(0, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 0)], dtype=np.uint8),
)

_SEMANTIC_IDS, _SOILING_IDS = LabelEncoding.identity(len(SEMANTIC)), LabelEncoding.identity(len(SOILING))

_NAME = re.compile(r"(\d+)_\w+", re.ASCII)
#: Where the published archives and their copies put pictures and labels.
_IMAGE_FOLDERS = (IMAGES, f"*/{IMAGES}", f"{IMAGES}_v*", f"*/{IMAGES}_v*")
_LABEL_FOLDERS = (LABELS, f"*/{LABELS}", "gtLabels", f"{LABELS}/gtLabels", "*/*/gtLabels")


# Functions, not lambdas: reading processes receive the folder as a pickle.
def _semantic_ids(_label: Path) -> LabelEncoding:
    return _SEMANTIC_IDS


def _soiling_ids(_label: Path) -> LabelEncoding:
    return _SOILING_IDS


def open_woodscape(root: Path | str, block: int = 100) -> LabelledFolder:
    """Open the semantic pictures of ``root``: ``rgb_images/*.png`` with ``semantic_annotations/gtLabels/*.png`` (ids 0 to 9).

    Both may lie one folder deeper, pictures may be JPEG, and the folder may be ``rgb_images_v1.0``. Without ``split.json``
    a sequence is ``block`` consecutive indices. Pictures without label are left out with a warning.

    Raises:
        ConfigError: block below 1.
        DataError: a folder is missing or empty, no picture has a label, a label has no picture, or a name no index.
    """
    root = require_folder(Path(root), "the data set WoodScape")
    images = _inner(find_folder(root, _IMAGE_FOLDERS, "the pictures (PNG)"))
    pairs = _pairs(root, images, _inner(find_folder(root, _LABEL_FOLDERS, "the class ids (PNG)")))
    listed = read_sequences(root / SPLIT_FILE) if (root / SPLIT_FILE).exists() else None
    samples = []
    for picture, label in pairs:
        if listed is None:
            sequence = _block_of(picture, block)
        else:
            name = picture.relative_to(root).as_posix()
            if name not in listed:
                raise DataError(
                    f"{root / SPLIT_FILE} names no sequence for picture {name}; add it there, or remove the file to "
                    "use blocks of consecutive indices."
                )
            sequence = listed[name]
        samples.append(Sample(picture, label, sequence))
    labelled = LabelledFolder(root, samples, SEMANTIC, _semantic_ids)
    warn_of_one_class(labelled)
    return labelled


def open_woodscape_soiling(root: Path | str, parts: Sequence[str] = SOILING_PARTS, block: int = 100) -> LabelledFolder:
    """Open the soiling pictures of ``root``: ``<part>/rgbImages/*.png`` with ``<part>/gtLabels/*.png`` (ids 0 to 3).

    A sequence is ``block`` consecutive indices of a part (``train`` or ``test``).

    Raises:
        ConfigError: unknown part, or block below 1.
        DataError: as for ``open_woodscape``.
    """
    root = require_folder(Path(root), "the data set WoodScape soiling")
    for part in parts:
        if part not in SOILING_PARTS:
            raise ConfigError(f"part is {part!r}; it must be one of {', '.join(SOILING_PARTS)}.")
    folders = {part: require_folder(root / part, f"the part {part!r} of WoodScape soiling") for part in parts}
    samples = [
        Sample(picture, label, f"{part}/{_block_of(picture, block)}")
        for part, folder in folders.items()
        for picture, label in _pairs(folder, folder / SOILING_IMAGES, folder / SOILING_LABELS)
    ]
    return LabelledFolder(root, samples, SOILING, _soiling_ids)


def _block_of(picture: Path, block: int) -> str:
    """First and last index of the block of ``picture``, e.g. ``00100-00199``. Errors as for ``open_woodscape``."""
    if isinstance(block, bool) or not isinstance(block, int) or block < 1:
        raise ConfigError(f"block is {block!r}; it must be a whole number of pictures, 1 or larger.")
    match = _NAME.fullmatch(picture.stem)
    if match is None:
        raise DataError(
            f"picture {picture} is not named as in WoodScape; <index>_<camera>.png is expected, such as "
            "00000_FV.png. Rename it or remove it."
        )
    first = int(match[1]) // block * block
    return f"{first:05d}-{first + block - 1:05d}"


def _inner(folder: Path) -> Path:
    """The folder, or the one of the same name in it."""
    return folder / folder.name if (folder / folder.name).is_dir() else folder


def _pairs(root: Path, images: Path, labels: Path) -> list[tuple[Path, Path]]:
    """Pictures and labels of the same file name, in natural order; pictures without label are left out."""
    pictures = {path.stem: path for path in list_files(images, "*", PICTURE_SUFFIXES, "the pictures (PNG)")}
    maps = {path.stem: path for path in list_files(labels, "*", (".png",), "the class ids (PNG)")}
    return [(picture, label) for _, picture, label in pair_up(pictures, maps, root, partly=True)]
