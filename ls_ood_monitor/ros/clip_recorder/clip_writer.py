"""Writes clips in a thread of its own, and reports what keeps it from writing."""

from __future__ import annotations

import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from ...core.clips import Clip, ClipBuffer, Entry
from ...errors import DataError, MonitorError
from ..raw_bag import load_types
from .clip_folder import ClipFolder
from .clip_store import ClipStore
from .items import Item

#: Period of the checks of the folder while there is nothing to write, seconds.
_CHECK_PERIOD_S = 1.0
#: Longest rest after a write, seconds.
_MAX_REST_S = 0.1
#: One lock per folder, held by the thread that writes there. After a new activation the thread of the earlier recorder may
#: still wait for its last write.
_FOLDER_LOCKS: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


class ClipWriter:
    """Takes entries from the buffer, whose lock is ``ready``, and writes them; reports a write that takes over ``stuck_s``.

    Attributes:
        written: clips finished.
        failed: clips that could not be written.
    """

    def __init__(
        self,
        buffer: ClipBuffer[Item],
        ready: threading.Condition,
        store: ClipStore,
        open_clip: Callable[[Path, Clip], ClipFolder],
        stuck_s: float,
        log: Callable[[str, bool], None],
    ) -> None:
        self._buffer, self._ready, self._store = buffer, ready, store
        self._open_clip, self._stuck_s, self._log = open_clip, stuck_s, log
        self._folder_lock = _FOLDER_LOCKS[store.folder.absolute()]  # without a look at the disk, which may be stuck
        self._open: ClipFolder | None = None
        self.written = self.failed = 0
        self._folder_problem = self._failure = ""
        self._busy_since: float | None = None
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """What keeps clips from being written; empty where nothing does."""
        busy_s = self._busy_s()
        stuck = f"one write to the disk has taken {busy_s:.0f} s so far" if busy_s > self._stuck_s else ""
        return stuck or self._folder_problem or self._failure or self._store.problem

    def close(self, timeout_s: float) -> bool:
        """Finish the clips of the buffer and end the thread; False where the disk did not allow it in time."""
        with self._ready:
            self._is_closing = True
            self._ready.notify()
        self._thread.join(timeout_s)
        if self._busy_s() > self._stuck_s:
            with self._ready:
                self._buffer.forget()
        return not self._thread.is_alive()

    def _busy_s(self) -> float:
        """Seconds spent so far on the present write, or on the wait for the earlier recorder's last one."""
        busy_since = self._busy_since
        return time.monotonic() - busy_since if busy_since is not None else 0.0

    def _run(self) -> None:
        load_types()  # takes tenths of a second; an alarm must not wait for it
        began = time.monotonic()
        while not self._folder_lock.acquire(timeout=_MAX_REST_S):
            self._busy_since = began
            if self._is_closing:
                return
        try:
            self._busy_since = None
            self._serve()
        finally:
            if self._open is not None:  # the disk was too slow to finish it
                self._open.abort()
            self._folder_lock.release()

    def _serve(self) -> None:
        while True:
            with self._ready:
                task = self._buffer.take(time.monotonic_ns())
                if task is None and not self._is_closing:
                    self._ready.wait(_CHECK_PERIOD_S / 4 if self._buffer.waiting else _CHECK_PERIOD_S)
                    task = self._buffer.take(time.monotonic_ns())
                if task is None and self._is_closing:
                    return
            began = self._busy_since = time.monotonic()
            try:
                if task is not None:
                    self._write(*task)
                elif self._open is None:
                    self._check_folder()
            except Exception as error:  # the thread must go on: the next clip may succeed
                self._on_failure(task[0] if task is not None else None, error)
            self._busy_since = None
            if task is not None and not self._is_closing:  # leave half of the time to the network
                time.sleep(min(time.monotonic() - began, _MAX_REST_S))

    def _check_folder(self) -> None:
        """Report a folder that cannot take a clip before one is due."""
        problem = ""
        try:
            self._store.check()
        except (MonitorError, OSError) as error:
            problem = _sentence(error)
        if problem and problem != self._folder_problem:
            self._log(f"clips of alarms cannot be written: {problem}", True)
        self._folder_problem = problem

    def _write(self, clip: Clip, entry: Entry[Item] | None) -> None:
        if self._open is None:
            if entry is None:  # every entry of the clip was lost
                return
            self._open = self._begin(clip, entry.size)
        if entry is None:
            self._finish(
                self._open, "cut: the clock jumped, or the node was deactivated" if clip.is_cut else "complete"
            )
        elif self._store.make_room(self._open.path, self._open.bytes + entry.size):
            self._open.write(entry)
        else:
            self._finish(self._open, f"cut: {self._store.why_full}")
            with self._ready:
                self._buffer.abandon(clip)

    def _begin(self, clip: Clip, size: int) -> ClipFolder:
        self._store.refresh()
        path = self._store.path_for(f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}_{clip.camera}")
        if not self._store.make_room(path, size):
            raise DataError(f"there is no room: {self._store.why_full}.")
        return self._open_clip(path, clip)

    def _finish(self, folder: ClipFolder, ended: str) -> None:
        folder.close(ended)
        self._open = None
        self.written += 1
        self._failure = ""
        self._log(f"clip {folder.path} is written ({ended})", False)

    def _on_failure(self, clip: Clip | None, error: Exception) -> None:
        if not isinstance(error, (MonitorError, OSError)):
            self._log(traceback.format_exc(), True)
        if self._open is not None:
            self._open.abort()
            self._open = None
        if clip is not None:
            self.failed += 1
            with self._ready:
                self._buffer.abandon(clip)
        self._failure = f"the last clip could not be written: {_sentence(error)}"
        self._log(self._failure, True)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return str(error) or repr(error)
