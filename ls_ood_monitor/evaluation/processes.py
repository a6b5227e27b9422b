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


def throttled(report: Callable[[int, str], None], every_s: float) -> Callable[[int, str], None]:
    """A function that reports progress at most once in so many seconds."""
    shown_s = 0.0

    def on_progress(done: int, note: str) -> None:
        nonlocal shown_s
        if time.monotonic() - shown_s >= every_s:
            shown_s = time.monotonic()
            report(done, note)

    return on_progress


@dataclass
class _Worker:
    process: Any
    connection: Connection
    request: Request
    attempt: int

    def death(self) -> str:
        """How its process ended."""
        self.process.join()
        code = self.process.exitcode
        return f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def evaluate_here(requests: Sequence[Request], jobs: int, on_progress: OnProgress) -> Iterator[Result]:
    """Results in the order in which they are ready, from so many worker processes; 1 = all is done in this process."""
    if jobs == 1 or len(requests) == 1:
        for request in requests:
            yield evaluate(request, partial(on_progress, request.name), cores())
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
                with suppress(OSError):  # it died while idle; its closed pipe says so once more
                    connection.send(request)
            ready = wait([worker.connection for worker in busy])
            for worker in [worker for worker in busy if worker.connection in ready]:
                request = worker.request
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    busy.remove(worker)
                    if worker.attempt < _ATTEMPTS:
                        waiting.append((request, worker.attempt + 1))
                        on_progress(request.name, 0, f"worker died ({worker.death()}), tried again")
                    else:
                        yield request.failed(
                            f"its worker process died {_ATTEMPTS} times ({worker.death()}); "
                            "with too little memory use fewer --jobs."
                        )
                    continue
                if isinstance(message, Result):
                    busy.remove(worker)
                    idle.append((worker.process, worker.connection))
                    yield message
                else:
                    on_progress(request.name, *message)
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


def _serve(connection: Connection, threads: int) -> None:
    """The worker: evaluates each request that it receives, until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def send(done: int, note: str) -> None:
        try:
            connection.send((done, note))
        except OSError:  # who asked was killed; what is done stays on disk
            raise SystemExit from None

    on_progress = throttled(send, _SHOW_EVERY_S)
    with suppress(OSError, EOFError):
        while True:
            connection.send(evaluate(connection.recv(), on_progress, threads))
