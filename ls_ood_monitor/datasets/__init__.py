"""Data sets on disk: WoodScape, its soiling part, Cityscapes, any folder of pictures; and splits by sequence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigError
from .cityscapes import open_cityscapes
from .labelled import IGNORE_LABEL, ClassTable, LabelledFolder, PictureFolder, Sample
from .pictures import iter_frames, open_pictures, picture_stamps
from .split import Split, read_split, split_by_sequence, split_of, write_split
from .woodscape import open_woodscape, open_woodscape_soiling

#: Name of a data set -> function that opens its root folder. All but ``images`` have labels.
DATASETS: dict[str, Callable[[Path | str], PictureFolder]] = {
    "woodscape": open_woodscape,
    "woodscape-soiling": open_woodscape_soiling,
    "cityscapes": open_cityscapes,
    "images": open_pictures,
}


def open_dataset(name: str, path: Path | str) -> PictureFolder:
    """Open the data set ``name`` at ``path``; a ``LabelledFolder`` for all names but ``images``.

    Raises ``ConfigError`` for an unknown name, ``DataError`` if the folder is not laid out as this data set.
    """
    if name not in DATASETS:
        raise ConfigError(f"data set is {name!r}; it must be one of {', '.join(DATASETS)}.")
    return DATASETS[name](path)


__all__ = [
    "DATASETS",
    "IGNORE_LABEL",
    "ClassTable",
    "LabelledFolder",
    "PictureFolder",
    "Sample",
    "Split",
    "iter_frames",
    "open_cityscapes",
    "open_dataset",
    "open_pictures",
    "open_woodscape",
    "open_woodscape_soiling",
    "picture_stamps",
    "read_split",
    "split_by_sequence",
    "split_of",
    "write_split",
]
