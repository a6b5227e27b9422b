"""What the nodes and commands leave of a disk to others."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..errors import DataError

#: A disk is called full while others can still write to it, bytes.
MIN_FREE = 64_000_000


def check_free_space(what: str, folder: Path) -> None:
    """Raise ``DataError``, with ``what`` as its subject, where a folder's disk is full; ``OSError`` where it is gone."""
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE:
        raise DataError(
            f"{what} has {free / 1e6:.0f} MB free, less than the {MIN_FREE / 1e6:.0f} MB that are left to others; "
            "make room on its disk."
        )
