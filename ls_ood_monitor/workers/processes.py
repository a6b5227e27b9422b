"""Several tasks at once, each in a worker process; one that dies takes nothing with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

#: Called with the images done, and a note.
OnTaskProgress = Callable[[int, str], None]
#: Called with the number of the task, images done, and a note.
OnProgress = Callable[[int, int, str], None]
_ATTEMPTS = 2
_SHOW_EVERY_S = 0.2


class Task(Protocol):
    """Work on one recording. It can be pickled for another process."""

    def run(self, on_progress: OnTaskProgress, threads: int) -> Any:
        """Do it, and return the result; whatever goes wrong is part of the result."""
        ...

    def given_up(self, sentence: str) -> Any:
        """The result if its worker was lost for good."""
        ...


@dataclass
class _Worker:
    process: Any
    connection: Connection
    number: int
    attempt: int


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def run_in_processes(tasks: Sequence[Task], jobs: int, on_progress: OnProgress) -> Iterator[tuple[int, Any]]:
    """Number of the task and its result, in the order in which they are ready.

    Args:
        tasks: one a recording.
        jobs: worker processes; 1 = none, all is done in this process.
        on_progress: called with progress.
    """
    if jobs == 1 or len(tasks) == 1:
        for number, task in enumerate(tasks):
            yield number, task.run(partial(on_progress, number), cores())
        return
    waiting = deque((number, 1) for number in range(len(tasks)))
    idle: list[tuple[Any, Connection]] = []
    busy: list[_Worker] = []
    jobs = min(jobs, len(tasks))
    try:
        while waiting or busy:
            while waiting and len(busy) < jobs:
                number, attempt = waiting.popleft()
                process, connection = idle.pop() if idle else _start(max(1, cores() // jobs))
                busy.append(_Worker(process, connection, number, attempt))
                _send(connection, tasks[number])
            ready = wait([worker.connection for worker in busy])
            for worker in [worker for worker in busy if worker.connection in ready]:
                try:
                    is_result, content = worker.connection.recv()
                except (EOFError, OSError):
                    busy.remove(worker)
                    death = _death(worker.process)
                    if worker.attempt < _ATTEMPTS:
                        waiting.append((worker.number, worker.attempt + 1))
                        on_progress(worker.number, 0, f"worker died ({death}), tried again")
                    else:
                        text = f"its worker process died {_ATTEMPTS} times ({death}); with too little memory use fewer --jobs."
                        yield worker.number, tasks[worker.number].given_up(text)
                    continue
                if is_result:
                    busy.remove(worker)
                    idle.append((worker.process, worker.connection))
                    yield worker.number, content
                else:
                    on_progress(worker.number, *content)
    finally:
        for process, connection in [*idle, *((worker.process, worker.connection) for worker in busy)]:
            connection.close()
            process.terminate()
            process.join()


def _start(threads: int) -> tuple[Any, Connection]:
    """A fresh interpreter: torch's threads do not survive a fork."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, threads), daemon=True)
    with sigint_blocked():
        process.start()
    theirs.close()  # or its death would not close the pipe
    return process, ours


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """What is started within it ignores Ctrl-C from its first moment on, seconds before its own code runs.

    Ctrl-C reaches every process of a terminal; a worker is ended by the one that asks, or by its death.
    """
    resource_tracker.ensure_running()  # started within, it would open what is closed here
    # Blocked, not ignored: one that comes meanwhile is delivered afterwards.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(connection: Connection, task: Task) -> None:
    with suppress(OSError):  # it died while idle; its closed pipe says so once more
        connection.send(task)


def _serve(connection: Connection, threads: int) -> None:
    """The worker: does each task that it receives, until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    shown_s = 0.0

    def on_progress(done: int, note: str) -> None:
        nonlocal shown_s
        if time.monotonic() - shown_s < _SHOW_EVERY_S:
            return
        shown_s = time.monotonic()
        try:
            connection.send((False, (done, note)))
        except OSError:  # who asked was killed; what is done stays on disk
            raise SystemExit from None

    with suppress(OSError, EOFError):
        while True:
            connection.send((True, connection.recv().run(on_progress, threads)))


def _death(process: Any) -> str:
    process.join()
    code = process.exitcode
    return f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
