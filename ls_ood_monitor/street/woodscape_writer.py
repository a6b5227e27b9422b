"""Write rendered pictures as a data set in WoodScape's folder layout."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..datasets.files import write_png
from ..datasets.split import PARTS, SPLIT_FILE, split_by_sequence, write_sequences, write_split
from ..datasets.woodscape import CAMERA_CODES, COLOURED_LABELS, IMAGES, LABELS, SEMANTIC
from ..errors import DataError
from .shots import RenderedShot


def write_woodscape(root: Path | str, pictures: Iterable[RenderedShot]) -> dict[str, str]:
    """Write pictures and labels below ``root``, numbered from ``00000``.

    A picture of camera front becomes ``rgb_images/<index>_FV.png``; rear is RV, left MVL, right MVR. Class ids go to
    ``semantic_annotations/gtLabels``, the same ids as colours to ``rgbLabels``. ``split.json`` names the drive of each
    picture as its sequence, even if writing is interrupted. With three drives or more it also holds a split by drive:
    72 % of the pictures for training, 18 % for validation, 10 % for test.

    Returns the name of each picture (relative to ``root``) -> its sequence, such as ``drive-1000``. Raises
    ``DataError`` if ``root`` exists and is not an empty folder, cannot be written, or a camera has no code.
    """
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"{root} exists already and is not an empty folder; remove it or choose another path.")
    try:
        for folder in (IMAGES, LABELS, COLOURED_LABELS):
            (root / folder).mkdir(parents=True)
    except OSError as error:
        raise DataError(f"cannot write the data set {root}: {error.strerror}. Choose another folder.") from error
    sequences: dict[str, str] = {}
    try:
        for index, picture in enumerate(pictures):
            shot = picture.shot
            if shot.camera not in CAMERA_CODES:
                raise DataError(
                    f"camera {shot.camera!r} has no code in WoodScape; use one of {', '.join(CAMERA_CODES)}."
                )
            name = f"{index:05d}_{CAMERA_CODES[shot.camera]}.png"
            sequences[f"{IMAGES}/{name}"] = f"drive-{shot.drive}"
            write_png(root / IMAGES / name, picture.image)
            write_png(root / LABELS / name, picture.labels)
            write_png(root / COLOURED_LABELS / name, SEMANTIC.paint(picture.labels)[..., ::-1])
    finally:
        # Without this file the sequences of an interrupted data set would be blocks of indices, which cut drives in two.
        write_sequences(root / SPLIT_FILE, sequences)
    if len(set(sequences.values())) >= len(PARTS):
        write_split(root / SPLIT_FILE, split_by_sequence(sequences))
    return sequences
