"""Starts the nodes as processes of their own and ends them by process id."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from ..errors import DataError


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    """Wait until a condition holds. Raises ``DataError``, which names ``what``, after the timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise DataError(f"waited {timeout_s:g} s in vain for {what}.")
        time.sleep(0.02)


class NodeProcess:
    """One node as a child process; leaving the context ends it.

    Args:
        executable: ``perception_node`` or ``supervisor_node``.
        parameters: ROS parameters to set.
        environment: from ``ros_environment``.
        log: file that takes its output.
        remaps: remapping rules, ``from:=to``.

    Attributes:
        command: command line; it may be changed before the start.
        patience_s: seconds to wait for the end after SIGINT, SIGTERM and SIGKILL.
    """

    def __init__(
        self,
        executable: str,
        parameters: Mapping[str, object],
        environment: Mapping[str, str],
        log: Path,
        remaps: Sequence[str] = (),
    ) -> None:
        self.executable = executable
        self.log = log
        self.patience_s = (10.0, 5.0, 5.0)
        command = [sys.executable, "-m", f"ls_ood_monitor.ros.{executable}", "--ros-args"]
        for rule in remaps:
            command += ["-r", rule]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={_yaml(value)}"]
        self.command = command
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> NodeProcess:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self.command, env=self._environment, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._running().pid

    def poll(self) -> int | None:
        """Exit code, or None while it runs."""
        return self._running().poll()

    def wait(self, timeout_s: float) -> int:
        """Wait for its end; returns the exit code. Raises ``subprocess.TimeoutExpired``."""
        return self._running().wait(timeout_s)

    def signal(self, number: int) -> None:
        """Send a signal to this process."""
        self._running().send_signal(number)

    def stop(self) -> int:
        """End it: SIGINT, then SIGTERM, then SIGKILL; returns the exit code."""
        process = self._running()
        for number, patience_s in zip((signal.SIGINT, signal.SIGTERM, signal.SIGKILL), self.patience_s, strict=True):
            if process.poll() is not None:
                break
            process.send_signal(number)
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        return process.wait()

    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def last_line(self) -> str:
        """Last line of its output."""
        return (self.output().strip().splitlines() or ["no output"])[-1]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.executable} was not started; use it in a with statement.")
        return self._process


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    return f"'{value}'" if isinstance(value, str) else str(value)


@contextmanager
def monitor_nodes(
    environment: Mapping[str, str], logs: Path, perception: Mapping[str, object], supervisor: Mapping[str, object]
) -> Iterator[tuple[NodeProcess, NodeProcess]]:
    """Run perception_node and supervisor_node, which receives the alarms of the first; yields both in this order.

    Args:
        environment: from ``ros_environment``.
        logs: folder of their log files.
        perception: parameters of perception_node.
        supervisor: parameters of supervisor_node.
    """
    remaps = ("ood_alarm:=/perception_node/ood_alarm",)
    with (
        NodeProcess(
            "supervisor_node", supervisor, environment, logs / "supervisor_node.log", remaps
        ) as supervisor_node,
        NodeProcess("perception_node", perception, environment, logs / "perception_node.log") as perception_node,
    ):
        yield perception_node, supervisor_node
