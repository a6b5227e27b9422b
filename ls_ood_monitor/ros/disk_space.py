"""Free space that nodes and commands leave on a disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..errors import DataError

#: With less free space, bytes, a disk counts as full, so that others can still write.
MIN_FREE = 64_000_000


def check_free_space(subject: str, folder: Path) -> None:
    """Raise ``DataError`` if a folder's disk is full, ``OSError`` if it is gone; ``subject`` begins the sentence."""
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE:
        raise DataError(
            f"{subject} has {free / 1e6:.0f} MB free, less than the {MIN_FREE / 1e6:.0f} MB that are left to others; "
            "make room on its disk."
        )
