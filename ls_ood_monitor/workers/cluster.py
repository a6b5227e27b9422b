"""Tasks on the workers of a Dask cluster, which must see the same files (a shared disk).

A worker that is lost is the scheduler's matter: it gives the task to another one.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import ConfigError
from .processes import OnProgress, Task

CONNECT_S = 10.0
_SHOW_EVERY_S = 0.5
#: A worker may have several threads; all of them work on one task at a time.
_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """A client of a scheduler that has workers."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError("--scheduler needs Dask; install it: pip install 'ls_ood_monitor[cluster]'.") from error
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ConfigError(
            f"no Dask scheduler answers at {address}; start one with 'dask scheduler', workers with 'dask worker {address}'."
        ) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise ConfigError(
                f"the Dask scheduler at {address} has no worker; start some with 'dask worker {address}'."
            )
        yield client


def require_cluster(address: str) -> None:
    """Try the scheduler, before anything is written for it. Raises ``ConfigError`` as ``run_on_cluster`` does."""
    with _connected(address):
        pass


def run_on_cluster(tasks: Sequence[Task], address: str, on_progress: OnProgress) -> Iterator[tuple[int, Any]]:
    """Number of the task and its result, in the order in which they are ready.

    Args:
        tasks: one a recording.
        address: of the Dask scheduler, for example ``tcp://10.0.0.7:8786``.
        on_progress: called with progress.

    Raises:
        ConfigError: Dask is not installed, nobody answers at the address, or there is no worker.
    """
    with _connected(address) as client:
        from distributed import as_completed

        topic = f"ls-ood-{uuid.uuid4().hex}"
        client.subscribe_topic(topic, lambda event: on_progress(*event[1]))
        futures = {
            client.submit(_run, task, number, topic, pure=False): (number, task) for number, task in enumerate(tasks)
        }
        for future in as_completed(futures, loop=client.loop):
            number, task = futures[future]
            try:
                result = future.result()
            except Exception as error:  # a lost worker, or one without this package: of Dask's own classes
                result = task.given_up(_sentence(error))
            yield number, result


def _run(task: Task, number: int, topic: str) -> Any:
    """What a worker does."""
    from distributed import get_worker

    worker: Any = get_worker()
    shown_s = 0.0

    def on_progress(done: int, note: str) -> None:
        nonlocal shown_s
        if time.monotonic() - shown_s >= _SHOW_EVERY_S:
            shown_s = time.monotonic()
            worker.log_event(topic, (number, done, note))

    with _ONE_AT_A_TIME:
        return task.run(on_progress, worker.state.nthreads)


def _sentence(error: Exception) -> str:
    """What Dask says about a task that it could not bring to an end."""
    kind = type(error).__name__
    if kind == "KilledWorker":
        return "its workers died again and again; perhaps they have too little memory."
    if kind == "FutureCancelledError":
        return "the connection to the scheduler was lost; start it again, then the same command with --resume."
    # Dask hands some errors of its workers over as text alone.
    if isinstance(error, ImportError) or "No module named" in str(error):
        return f"a worker lacks a package ({error}); install the same version of ls_ood_monitor on every worker."
    return f"the cluster gave it up: {kind}, {' '.join(str(error).split())[:300]}"
