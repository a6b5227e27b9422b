"""Places to write: free space that nodes and commands leave on a disk, and folders that cannot be written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .errors import DataError

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


def check_output_folder(option: str, folder: Path) -> None:
    """Check before the work that results can be written into a folder, which need not exist yet.

    Raises:
        DataError: it cannot be written, or its disk is full.
    """
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not existing.is_dir():
        raise DataError(f"{option} is {folder}, but {existing} is a file; name a folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise DataError(f"{option} is {folder}, but {existing} cannot be written; name another folder.")
    check_free_space(f"{option} is {folder}, whose disk", existing)
