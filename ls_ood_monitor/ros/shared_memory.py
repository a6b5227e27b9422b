"""Removes shared memory that killed nodes left behind."""

from __future__ import annotations

import fcntl
import re
import time
from pathlib import Path

#: Names of a Fast DDS segment or port, its lock files and its semaphore; the lock files show whether the owner lives.
_SEGMENT = re.compile(r"(?:sem\.)?((?:fastrtps|fastdds)_(?:port\d+|[0-9a-f]+))(?:_el|_sl|_mutex)?")


def remove_orphaned_segments(folder: Path = Path("/dev/shm")) -> list[str]:
    """Remove the Fast DDS shared-memory files of dead processes.

    A living owner holds a lock on ``<segment>_el`` or ``_sl``, also from another container. Files of a segment whose lock
    is held, or that a process has mapped, stay.

    Args:
        folder: where Fast DDS keeps its files.

    Returns:
        Names of the removed files.
    """
    if not folder.is_dir():
        return []
    families: dict[str, list[Path]] = {}
    for entry in folder.iterdir():
        if match := _SEGMENT.fullmatch(entry.name):
            families.setdefault(match[1], []).append(entry)
    mapped = _mapped_names()
    removed = []
    for segment, entries in families.items():
        if segment in mapped or any(_is_in_use(entry) for entry in entries):
            continue
        for entry in entries:
            try:
                entry.unlink()
            except OSError:
                continue  # another user's, or gone meanwhile
            removed.append(entry.name)
    return removed


def _is_in_use(entry: Path) -> bool:
    """Whether it is a lock that is held, or a file so new that its owner may not have locked it yet."""
    try:
        if time.time() - entry.stat().st_mtime < 1.0:
            return True
        if not entry.name.endswith(("_el", "_sl")):
            return False
        with entry.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _mapped_names() -> set[str]:
    names: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            text = maps.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # ended meanwhile, or another user's
        names |= {line.rsplit("/dev/shm/", 1)[1].split(" ")[0] for line in text.splitlines() if "/dev/shm/" in line}
    return names
