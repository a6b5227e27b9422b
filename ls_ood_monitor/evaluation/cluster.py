"""The same evaluations on the workers of a Dask cluster, which must see the same files (a shared disk).

If a worker is lost, another one goes on with the scores that the lost one has left in the recording's folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..workers.cluster import run_on_cluster
from .evaluate import SUMMARY
from .processes import EvaluationTask, OnProgress
from .request import Request, Result


def evaluate_on_cluster(requests: Sequence[Request], address: str, on_progress: OnProgress) -> Iterator[Result]:
    """Results in the order in which they are ready, from the Dask scheduler at ``address`` (tcp://10.0.0.7:8786).

    Raises:
        ConfigError: Dask is not installed, nobody answers at the address, or there is no worker.
    """
    names = [request.recording.name for request in requests]
    tasks = [EvaluationTask(request) for request in requests]

    def update(number: int, done: int, note: str) -> None:
        on_progress(names[number], done, note)

    for number, result in run_on_cluster(tasks, address, update):
        request = requests[number]
        if result.summary is not None and not (request.out / SUMMARY).is_file():
            result = request.failed(
                f"a worker wrote {request.out}, but it is not here; --out must lie on a shared disk."
            )
        yield result
