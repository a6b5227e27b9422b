"""The folder of all clips: its disk space is bounded, and of what lies in it only clips are ever removed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ...errors import DataError
from ..disk_space import check_free_space

#: In every clip's folder; it tells a clip from what other people keep beside it.
CLIP_FILE = "clip.json"
WRITER = "ls_ood_monitor evidence"


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
    check_free_space(f"evidence_dir {str(folder)!r}", folder)


def bytes_of(folder: Path) -> int:
    """Size of the files in a folder and below; what somebody removes meanwhile has none."""
    total = 0
    for entry in folder.rglob("*"):
        with suppress(FileNotFoundError):
            found = entry.lstat()
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


class ClipStore:
    """Makes room for clips.

    Args:
        folder: that holds them.
        max_bytes: of all clips together.
        log: takes a sentence, and whether it is a warning: on every clip that made room for a newer one, or could not.
    """

    def __init__(self, folder: Path, max_bytes: int, log: Callable[[str, bool], None]) -> None:
        self.folder, self._log = folder, log
        self._max_bytes = max_bytes
        self._sizes: dict[Path, int] = {}
        self._kept: dict[Path, str] = {}

    @property
    def bytes(self) -> int:
        """Size of the clips, as last seen."""
        return sum(self._sizes.values())

    @property
    def clips(self) -> int:
        """Number of clips, as last seen."""
        return len(self._sizes)

    @property
    def problem(self) -> str:
        """Which clip could not be removed, and why; empty where each could."""
        kept = self._kept
        return next((f"clip {path} cannot be removed ({why}); remove it by hand" for path, why in kept.items()), "")

    @property
    def why_full(self) -> str:
        """Why ``make_room`` made none."""
        if self.problem:
            return f"evidence_max_mb is used up, and {self.problem}"
        return "a single clip would need more than evidence_max_mb"

    def check(self) -> None:
        """Raises ``DataError`` where no clip could be written, ``OSError``."""
        _check(self.folder)
        self._kept = {path: why for path, why in self._kept.items() if path.exists()}

    def look(self) -> None:
        """See which clips there are. Raises as ``check`` does."""
        self.check()
        self._sizes = {path: bytes_of(path) for path in sorted(self.folder.iterdir()) if _is_clip(path)}
        self._kept = {}  # whatever kept them may have been cured

    def path_for(self, name: str) -> Path:
        """A folder of this name, or one like it, that does not exist yet."""
        path, number = self.folder / name, 2
        while path.exists():
            path, number = self.folder / f"{name}_{number}", number + 1
        return path

    def make_room(self, path: Path, size: int) -> bool:
        """Whether a clip may have so many bytes; the oldest others are removed for it, and one that resists is passed over.

        Raises:
            DataError, OSError: the disk is full, or gone.
        """
        self._sizes[path] = size
        while self.bytes > self._max_bytes:
            oldest = min((one for one in self._sizes if one != path and one not in self._kept), default=None)
            if oldest is None:
                break
            self._remove(oldest)
        self.check()
        return self.bytes <= self._max_bytes

    def _remove(self, path: Path) -> None:
        try:
            remove_clip(path)
        except OSError as error:
            if path.exists():
                self._sizes[path] = bytes_of(path)
                # A new dict: the node's timer may be reading the old one.
                self._kept = {**self._kept, path: error.strerror or str(error)}
                self._log(self.problem, True)
                return
        else:
            self._log(f"clip {path} was removed: the disk space of clips is used up (evidence_max_mb)", False)
        del self._sizes[path]


def remove_clip(path: Path) -> None:
    """Remove a clip; by what goes last, the rest of one that cannot be removed is still known for a clip. Raises ``OSError``."""
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != CLIP_FILE:
            entry.unlink()
    (path / CLIP_FILE).unlink()
    path.rmdir()


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
