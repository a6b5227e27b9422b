"""The folder of all clips: it limits their disk space, and removes nothing but clips."""

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

from ...disk_space import check_free_space
from ...errors import DataError

#: File in every clip's folder; only a folder that has it counts as a clip.
CLIP_FILE = "clip.json"
WRITER = "ls_ood_monitor evidence"


def check_evidence(folder: Path) -> None:
    """Raise ``DataError`` where no clip could be written; tries to write a file."""
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
    """Check as ``check_evidence`` does, without writing."""
    _check_exists(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"evidence_dir {str(folder)!r} cannot be written: permission denied.")
    check_free_space(f"evidence_dir {str(folder)!r}", folder)


def bytes_of(folder: Path) -> int:
    """Size of the files in a folder and below; a file that is removed meanwhile counts as 0."""
    total = 0
    for entry in folder.rglob("*"):
        with suppress(FileNotFoundError):
            state = entry.lstat()
            total += state.st_size if stat.S_ISREG(state.st_mode) else 0
    return total


class ClipStore:
    """Removes the oldest clips to make room for new ones.

    Args:
        folder: holds the clips.
        max_bytes: limit of all clips together.
        log: takes a sentence, and whether it is a warning: for every clip that was removed, or could not be.
    """

    def __init__(self, folder: Path, max_bytes: int, log: Callable[[str, bool], None]) -> None:
        self.folder, self._log = folder, log
        self._max_bytes = max_bytes
        self._sizes: dict[Path, int] = {}
        self._not_removable: dict[Path, str] = {}

    @property
    def bytes(self) -> int:
        """Size of the clips at the last look."""
        return sum(self._sizes.values())

    @property
    def clips(self) -> int:
        """Number of clips at the last look."""
        return len(self._sizes)

    @property
    def problem(self) -> str:
        """Names a clip that could not be removed, and why; empty where every removal succeeded."""
        path, error = next(iter(self._not_removable.items()), (None, ""))
        return "" if path is None else f"clip {path} cannot be removed ({error}); remove it by hand"

    @property
    def why_full(self) -> str:
        """Why ``make_room`` returned False."""
        if self.problem:
            return f"evidence_max_mb is used up, and {self.problem}"
        return "a single clip would need more than evidence_max_mb"

    def check(self) -> None:
        """Check that a clip could be written. Raises ``DataError`` where none could, and ``OSError``."""
        _check(self.folder)
        self._not_removable = {path: error for path, error in self._not_removable.items() if path.exists()}

    def refresh(self) -> None:
        """Find the clips of the folder. Raises as ``check`` does."""
        self.check()
        self._sizes = {path: bytes_of(path) for path in sorted(self.folder.iterdir()) if _is_clip(path)}
        self._not_removable = {}  # the cause may be gone

    def path_for(self, name: str) -> Path:
        """Path of a new folder: this name, with a number where it exists already."""
        path, number = self.folder / name, 2
        while path.exists():
            path, number = self.folder / f"{name}_{number}", number + 1
        return path

    def make_room(self, path: Path, size: int) -> bool:
        """Remove the oldest other clips until ``size`` bytes fit; returns whether they do.

        A clip that cannot be removed is skipped.

        Raises:
            DataError, OSError: the disk is full, or gone.
        """
        self._sizes[path] = size
        while self.bytes > self._max_bytes:
            oldest = min(
                (clip for clip in self._sizes if clip != path and clip not in self._not_removable), default=None
            )
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
                self._not_removable = {**self._not_removable, path: error.strerror or str(error)}
                self._log(self.problem, True)
                return
        else:
            self._log(f"clip {path} was removed: the disk space of clips is used up (evidence_max_mb)", False)
        del self._sizes[path]


def remove_clip(path: Path) -> None:
    """Remove a clip, ``clip.json`` last, so that the rest still counts as a clip where a file resists. Raises ``OSError``."""
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != CLIP_FILE:
            entry.unlink()
    (path / CLIP_FILE).unlink()
    path.rmdir()


def _is_clip(path: Path) -> bool:
    """Whether this recorder wrote the folder, finished or not."""
    if path.is_symlink() or not path.is_dir():
        return False
    try:
        return bool(json.loads((path / CLIP_FILE).read_text(encoding="utf-8"))["writer"] == WRITER)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_whole(path: Path, text: str) -> None:
    """Replace a file at once: a reader sees the old content or the new, never a part."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
