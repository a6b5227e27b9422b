"""Nodes as processes: waiting for them, and ending those that ignore signals."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from ls_ood_monitor.errors import DataError
from ls_ood_monitor.ros.processes import NodeProcess, wait_until


def test_waiting_in_vain_names_what_was_awaited():
    """No bare timeout."""
    with pytest.raises(DataError, match="in vain for the moon"):
        wait_until(lambda: False, "the moon", 0.05)


class StubbornProcess(NodeProcess):
    """A child that ignores the polite signals, in place of a node that hangs."""

    def __init__(self, log: Path) -> None:
        super().__init__("supervisor_node", {}, os.environ, log)
        ignore = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; print('deaf', flush=True)"
        self.command = [sys.executable, "-c", f"{ignore}; time.sleep(60)"]
        self.patience_s = (0.2, 0.2, 5.0)


def test_a_process_that_ignores_signals_is_killed(tmp_path):
    """After SIGINT and SIGTERM comes SIGKILL: nothing is left behind."""
    with StubbornProcess(tmp_path / "log") as process:
        wait_until(lambda: "deaf" in process.output(), "the child")
    assert process.poll() == -signal.SIGKILL
