"""Runs a pass over several drives, in this process, in several or on a cluster, and keeps each finished drive."""

from __future__ import annotations

import platform
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from .. import __version__
from ..errors import CalibrationError, DataError, MonitorError
from ..recordings.drive_source import DriveSource
from ..recordings.recording import identity_of
from ..workers.processes import OnTaskProgress, run_in_processes
from .work_folder import WorkFolder

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
#: Called with the number of images done, of all drives, and a note on speed.
OnProgress = Callable[[int, str], None]


class DrivePass(Protocol[R_co]):
    """One pass over one drive. It can be pickled for another process, unless it holds a network."""

    @property
    def drive(self) -> DriveSource:
        """The drive."""
        ...

    def run(self, on_progress: OnTaskProgress, threads: int = 1) -> R_co:
        """Do it; ``threads``: batches at a time on a CPU. Raises ``MonitorError``."""
        ...


@dataclass(frozen=True)
class _Outcome:
    """What a pass came to: its value, or why there is none."""

    value: Any
    error: MonitorError | None = None
    trace: str = ""


@dataclass(frozen=True)
class _Task:
    """A pass whose errors are part of its result.

    Attributes:
        drive_pass: the pass.
        identity: of the drive's files, which a worker must see, too; empty = not checked.
        version: of the package that asks.
    """

    drive_pass: DrivePass[Any]
    identity: str = ""
    version: str = __version__

    def run(self, on_progress: OnTaskProgress, threads: int) -> _Outcome:
        try:
            self._require_same_files()
            return _Outcome(self.drive_pass.run(on_progress, threads))
        except MonitorError as error:
            return _Outcome(None, error)
        except OSError as error:
            text = f"{error.filename or self.drive_pass.drive.name} cannot be used: {error.strerror or error}."
            return _Outcome(None, DataError(text))
        except Exception:
            return _Outcome(None, None, traceback.format_exc())

    def _require_same_files(self) -> None:
        where, path = f"on {platform.node()}", self.drive_pass.drive.path
        if self.version != __version__:
            raise DataError(
                f"ls_ood_monitor {where} is {__version__}, but {self.version} asks; install the same version."
            )
        shared = "every worker must see recordings and bundle under the same paths (a shared disk)."
        if self.identity and path is not None and not path.exists():
            raise DataError(f"there is no {path} {where}; {shared}")
        if self.identity and path is not None and identity_of(path) != self.identity:
            raise DataError(f"{path} {where} is not the recording that was asked for; {shared}")

    def given_up(self, sentence: str) -> _Outcome:
        return _Outcome(None, CalibrationError(f"{self.drive_pass.drive.name} could not be read: {sentence}"))


class DriveRunner:
    """Runs passes over drives.

    Args:
        jobs: worker processes; 1 = none.
        scheduler: address of a Dask scheduler whose workers do the work; empty = none.
        work: keeps finished drives; None = nothing is kept.
    """

    def __init__(self, jobs: int = 1, scheduler: str = "", work: WorkFolder | None = None) -> None:
        self._jobs, self._scheduler, self.work = jobs, scheduler, work

    @property
    def is_remote(self) -> bool:
        """Whether other processes do the work."""
        return self._jobs > 1 or bool(self._scheduler)

    def run(
        self, passes: Sequence[DrivePass[R]], keys: Sequence[str], images: Sequence[int], on_progress: OnProgress
    ) -> list[R]:
        """Results in the order of the passes.

        Args:
            passes: one a drive.
            keys: key of each result in the work folder; empty = it is not kept.
            images: number of images of each drive.
            on_progress: called with progress.

        Raises:
            MonitorError: as the first pass that fails.
        """
        results: dict[int, Any] = {}
        for index, key in enumerate(keys):
            known = self.work.get(key) if self.work is not None and key else None
            if known is not None:
                results[index] = known
        left = [index for index in range(len(passes)) if index not in results]
        kept = sum(images[index] for index in results)
        for position, outcome in self._outcomes([passes[index] for index in left], _Meter(on_progress, kept)):
            index = left[position]
            if outcome.error is not None:
                raise outcome.error
            if outcome.trace:
                raise RuntimeError(outcome.trace)
            if self.work is not None and keys[index]:
                self.work.put(keys[index], outcome.value)
            results[index] = outcome.value
        return [results[index] for index in range(len(passes))]

    def _outcomes(self, passes: Sequence[DrivePass[Any]], meter: _Meter) -> Iterator[tuple[int, _Outcome]]:
        if not passes:
            return iter(())
        if not self._scheduler:
            return run_in_processes([_Task(drive_pass) for drive_pass in passes], self._jobs, meter.update)
        from ..workers.cluster import run_on_cluster

        paths = [drive_pass.drive.path for drive_pass in passes]
        identities = ["" if path is None else identity_of(path) for path in paths]
        tasks = [_Task(drive_pass, identity) for drive_pass, identity in zip(passes, identities, strict=True)]
        return run_on_cluster(tasks, self._scheduler, meter.update)


class _Meter:
    """Adds up the images of several drives; ``kept`` were read before an interruption."""

    def __init__(self, on_progress: OnProgress, kept: int) -> None:
        self._on_progress, self._kept = on_progress, kept
        self._done: dict[int, int] = {}
        self._began_s = time.monotonic()

    def update(self, number: int, done: int, note: str) -> None:
        """Take the number of images done of one drive."""
        self._done[number] = done
        total = sum(self._done.values())
        rate = total / max(1e-9, time.monotonic() - self._began_s)
        self._on_progress(self._kept + total, note or f"{rate:.1f} frames/s")
