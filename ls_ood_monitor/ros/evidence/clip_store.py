"""The folder of all clips: its disk space is bounded, and of what lies in it only clips are ever removed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ...errors import DataError

#: In every clip's folder; it tells a clip from what other people keep beside it.
CLIP_FILE = "clip.json"
WRITER = "ls_ood_monitor evidence"
#: A disk is called full while others can still write to it.
LEAST_FREE = 64_000_000


def check_evidence(folder: Path) -> None:
    """Raise ``DataError`` where no clip could be written, by trying."""
    if importlib.util.find_spec("rosbags") is None:
        raise DataError(
            "evidence_dir is set, but rosbags is not installed; pip install rosbags, or leave evidence_dir empty."
        )
    _check_exists(folder)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(f"evidence_dir {str(folder)!r} cannot be written: {error.strerror}.") from error
    _check(folder)


def _check_exists(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(
            f"evidence_dir is {str(folder)!r}, which is not a folder that exists; make it, or mount its disk."
        )


def _check(folder: Path) -> None:
    """The same as ``check_evidence``, without writing."""
    _check_exists(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"evidence_dir {str(folder)!r} cannot be written: permission denied.")
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE:
        raise DataError(
            f"evidence_dir {str(folder)!r} has {free / 1e6:.0f} MB free, less than the {LEAST_FREE / 1e6:.0f} MB that are "
            "left to others; make room on its disk."
        )


def bytes_of(folder: Path) -> int:
    """Size of the files in a folder and below."""
    return sum(entry.stat().st_size for entry in folder.rglob("*") if entry.is_file() and not entry.is_symlink())


class ClipStore:
    """Makes room for clips.

    Args:
        folder: that holds them.
        max_bytes: of all clips together.
        on_removed: told of every clip that made room for a newer one.
    """

    def __init__(self, folder: Path, max_bytes: int, on_removed: Callable[[Path], None]) -> None:
        self.folder, self._on_removed = folder, on_removed
        self._max_bytes = max_bytes
        self._sizes: dict[Path, int] = {}

    @property
    def bytes(self) -> int:
        """Size of the clips, as last seen."""
        return sum(self._sizes.values())

    @property
    def clips(self) -> int:
        """Number of clips, as last seen."""
        return len(self._sizes)

    def check(self) -> None:
        """Raises ``DataError`` where no clip could be written, ``OSError``."""
        _check(self.folder)

    def look(self) -> None:
        """See which clips there are. Raises as ``check`` does."""
        self.check()
        self._sizes = {path: bytes_of(path) for path in sorted(self.folder.iterdir()) if _is_clip(path)}

    def path_for(self, name: str) -> Path:
        """A folder of this name, or one like it, that does not exist yet."""
        path, number = self.folder / name, 2
        while path.exists():
            path, number = self.folder / f"{name}_{number}", number + 1
        return path

    def make_room(self, path: Path, size: int) -> bool:
        """Whether a clip may have so many bytes; the oldest others are removed for it.

        Raises:
            DataError, OSError: the disk is full, or gone.
        """
        self._sizes[path] = size
        while self.bytes > self._max_bytes:
            others = sorted(entry for entry in self._sizes if entry != path)
            if not others:
                return False
            shutil.rmtree(others[0], ignore_errors=True)
            del self._sizes[others[0]]
            self._on_removed(others[0])
        self.check()
        return True


def _is_clip(path: Path) -> bool:
    """Whether a folder is a clip that this recorder wrote, finished or not."""
    if path.is_symlink() or not path.is_dir():
        return False
    try:
        return bool(json.loads((path / CLIP_FILE).read_text(encoding="utf-8"))["writer"] == WRITER)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there as a whole or as it was before."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
