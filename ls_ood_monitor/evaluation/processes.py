"""Several recordings at once, each in a worker process; one that dies takes nothing with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..workers.processes import OnTaskProgress, run_in_processes
from .evaluate import evaluate
from .request import Request, Result

#: Called with the recording's name, images done, and a note on speed.
OnProgress = Callable[[str, int, str], None]


@dataclass(frozen=True)
class EvaluationTask:
    """The evaluation of one recording, for another process."""

    request: Request

    def run(self, on_progress: OnTaskProgress, threads: int) -> Result:
        """Evaluate."""
        return evaluate(self.request, on_progress, threads)

    def given_up(self, sentence: str) -> Result:
        """The result if its worker was lost."""
        return self.request.failed(sentence)


def evaluate_here(requests: Sequence[Request], jobs: int, on_progress: OnProgress) -> Iterator[Result]:
    """Results in the order in which they are ready, from so many worker processes; 1 = all is done in this process."""
    names = [request.name for request in requests]
    tasks = [EvaluationTask(request) for request in requests]
    for _, result in run_in_processes(tasks, jobs, lambda number, done, note: on_progress(names[number], done, note)):
        yield result
