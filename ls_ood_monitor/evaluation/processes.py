"""Several recordings at once, each in a worker process; one that dies takes nothing with it."""

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
from typing import Any

from .evaluate import evaluate
from .request import Request, Result

#: Called with the recording's name, images done, and a note on speed.
OnProgress = Callable[[str, int, str], None]
_ATTEMPTS = 2
_SHOW_EVERY_S = 0.2


@dataclass
class _Worker:
    process: Any
    connection: Connection
    request: Request
    attempt: int


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def evaluate_here(requests: Sequence[Request], jobs: int, on_progress: OnProgress) -> Iterator[Result]:
    """Results in the order in which they are ready.

    Args:
        requests: one a recording.
        jobs: worker processes; 1 = none, all is done in this process.
        on_progress: called with progress.
    """
    if jobs == 1 or len(requests) == 1:
        for request in requests:
            name = request.recording.name
            yield evaluate(request, partial(on_progress, name), cores())
        return
    waiting = deque((request, 1) for request in requests)
    idle: list[tuple[Any, Connection]] = []
    busy: list[_Worker] = []
    jobs = min(jobs, len(requests))
    try:
        while waiting or busy:
            while waiting and len(busy) < jobs:
                request, attempt = waiting.popleft()
                process, connection = idle.pop() if idle else _start(max(1, cores() // jobs))
                busy.append(_Worker(process, connection, request, attempt))
                _send(connection, request)
            ready = wait([worker.connection for worker in busy])
            for worker in [worker for worker in busy if worker.connection in ready]:
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    busy.remove(worker)
                    if worker.attempt < _ATTEMPTS:
                        waiting.append((worker.request, worker.attempt + 1))
                        on_progress(
                            worker.request.recording.name, 0, f"worker died ({_death(worker.process)}), tried again"
                        )
                    else:
                        yield _given_up(worker)
                    continue
                if isinstance(message, Result):
                    busy.remove(worker)
                    idle.append((worker.process, worker.connection))
                    yield message
                else:
                    on_progress(worker.request.recording.name, *message)
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


def _send(connection: Connection, request: Request) -> None:
    with suppress(OSError):  # it died while idle; its closed pipe says so once more
        connection.send(request)


def _serve(connection: Connection, threads: int) -> None:
    """The worker: evaluates each request that it receives, until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    shown_s = 0.0

    def on_progress(done: int, note: str) -> None:
        nonlocal shown_s
        if time.monotonic() - shown_s < _SHOW_EVERY_S:
            return
        shown_s = time.monotonic()
        try:
            connection.send((done, note))
        except OSError:  # who asked was killed; what is done stays on disk
            raise SystemExit from None

    with suppress(OSError, EOFError):
        while True:
            connection.send(evaluate(connection.recv(), on_progress, threads))


def _given_up(worker: _Worker) -> Result:
    return Result(
        worker.request.recording.name,
        None,
        error=f"its worker process died {_ATTEMPTS} times ({_death(worker.process)}); with too little memory use fewer --jobs.",
    )


def _death(process: Any) -> str:
    process.join()
    code = process.exitcode
    return f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
