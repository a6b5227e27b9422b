"""Several recordings at once: the same results as one after another, and a worker that dies takes nothing with it."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

pytest.importorskip("torch")

from ls_ood_monitor.offline.evaluation.processes import evaluate_here


def test_workers_that_die_lose_nothing(request_for, drives, figures, worker_of, tmp_path):
    """Killed once, its recording is tried again; killed each time, it is named. Results equal those of one process."""
    alone = [request_for(drive, tmp_path / "alone" / drive.name) for drive in drives]
    assert all(result.summary for result in evaluate_here(alone, 1, lambda *_: None))
    together = [request_for(drive, tmp_path / "together" / drive.name) for drive in drives]
    victims = {drives[0].name: 1, drives[1].name: 2}
    notes = []

    def shown(name, done, note):
        notes.append((name, note))
        if victims.get(name) and done:
            children = [process.pid for process in multiprocessing.active_children()]
            pid = worker_of(tmp_path / "together" / name, children)
            if pid is not None:
                victims[name] -= 1
                os.kill(pid, signal.SIGKILL)

    results = {result.name: result for result in evaluate_here(together, 2, shown)}
    assert victims == {drives[0].name: 0, drives[1].name: 0}
    assert (drives[0].name, "worker died (by SIGKILL), tried again") in notes
    failed = results.pop(drives[1].name)
    assert failed.summary is None
    assert failed.error.startswith("its worker process died 2 times (by SIGKILL)")
    for request in (together[0], together[2]):
        name = request.recording.name
        assert results[name].error == ""
        assert figures(request.out) == figures(tmp_path / "alone" / name)
    assert not multiprocessing.active_children()
