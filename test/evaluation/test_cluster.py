"""A real cluster of separate processes: equal results, a worker killed on the way, and sentences for what is missing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("torch")
pytest.importorskip("distributed")

from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.evaluation.cluster import evaluate_on_cluster
from ls_ood_monitor.evaluation.evaluate import evaluate
from ls_ood_monitor.workers import cluster as cluster_module


@pytest.fixture
def cluster(tmp_path):
    """Start a scheduler and, when asked, workers; yields (address, start a worker); all are ended."""
    place = tmp_path / "scheduler.json"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false"}
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments, "--scheduler-file", str(place), "--no-dashboard"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
        )
        started.append(process)
        return process

    def worker():
        return start("worker", "--no-nanny", "--nthreads", "1", "--local-directory", str(tmp_path))

    start("scheduler", "--host", "127.0.0.1", "--port", "0")
    deadline = time.monotonic() + 60.0
    while not place.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield json.loads(place.read_text())["address"], worker
    for process in started:
        process.kill()
        process.wait()


def wait_for_workers(address, count):
    """Until so many have joined."""
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=60)


def test_a_killed_worker_loses_nothing(cluster, request_for, drives, figures, worker_of, tmp_path):
    """The recording of the killed one is finished by the other; a recording that they cannot see is named; all else equal."""
    address, worker = cluster
    with pytest.raises(ConfigError, match="has no worker; start some with 'dask worker"):
        list(evaluate_on_cluster([request_for(drives[0], tmp_path / "none")], address, lambda *_: None))
    pids = [worker().pid for _ in range(2)]
    alone = [request_for(drive, tmp_path / "alone" / drive.name) for drive in drives]
    for request in alone:
        assert evaluate(request).summary
    wait_for_workers(address, 2)
    requests = [request_for(drive, tmp_path / "cluster" / drive.name) for drive in drives]
    moved = request_for(drives[0], tmp_path / "cluster" / "foreign", bundle_id="0" * 64)
    killed = []

    def shown(name, done, note):
        pid = worker_of(tmp_path / "cluster" / name, pids)
        if name != drives[0].name and pid is not None and not killed:
            killed.append(name)
            os.kill(pid, signal.SIGKILL)

    results = list(evaluate_on_cluster([*requests, moved], address, shown))
    assert len(killed) == 1
    assert len(results) == 4
    errors = [result.error for result in results if result.summary is None]
    assert len(errors) == 1
    assert "give every worker the same files" in errors[0]
    for request, single in zip(requests, alone, strict=True):
        assert figures(request.out) == figures(single.out)


def test_nobody_at_the_address(request_for, drives, tmp_path, monkeypatch):
    """How to start a scheduler."""
    monkeypatch.setattr(cluster_module, "CONNECT_S", 0.5)
    with pytest.raises(ConfigError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9; start one"):
        list(evaluate_on_cluster([request_for(drives[0], tmp_path / "out")], "tcp://127.0.0.1:9", lambda *_: None))
