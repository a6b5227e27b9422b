"""Several recordings at once: the same results as one after another, and a worker that dies takes nothing with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from ls_ood_monitor.evaluation.processes import evaluate_here
from ls_ood_monitor.workers.processes import sigint_blocked


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


@pytest.fixture
def ctrl_c():
    """Ctrl-C is heard, also where the suite runs in the background of a shell, which ignores it for all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_a_worker_is_started_is_heard_after_it():
    """It is kept back from the worker, and not lost for who started it; later ones are heard at once."""
    steps = []

    def start_one():
        with sigint_blocked():
            signal.raise_signal(signal.SIGINT)
            steps.append("started")

    with pytest.raises(KeyboardInterrupt):
        start_one()
    assert steps == ["started"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def workers_of(pid: int) -> list[int]:
    """Worker processes of a command, from the moment that they are there."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            is_worker = b"spawn_main" in (entry / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue
        if parent == pid and is_worker:
            found.append(int(entry.name))
    return found


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_while_workers_start_is_one_line_and_ends_all(drives, tiny_bundle, tmp_path, number):
    """It reaches each process of the terminal; the workers have not got beyond their imports. So does the end of the command."""
    command = [sys.executable, "-m", "ls_ood_monitor.cli.main", "evaluate", *map(str, drives[:2]), "--jobs", "2"]
    command += ["--bundle", str(tiny_bundle), "--device", "cpu", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60.0
        while len(workers := workers_of(process.pid)) < 2:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.3)  # into the imports
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.kill()
        _, said = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in said
    assert ("ls-ood evaluate: interrupted" in said) == (number == signal.SIGINT)
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
