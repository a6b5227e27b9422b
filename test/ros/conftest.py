"""Real DDS between real processes, on a domain of this test run's own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from ls_ood_monitor.ros.processes import NodeProcess, private_domain, remove_orphaned_segments, ros_environment

os.environ.update(ros_environment(private_domain()))  # before rclpy.init, which reads it once


@pytest.fixture(scope="session")
def ros() -> Iterator[None]:
    """rclpy, once; orphaned shared memory of killed nodes is removed at the end."""
    import rclpy

    rclpy.init()
    yield
    rclpy.try_shutdown()
    time.sleep(1.1)
    remove_orphaned_segments()


@pytest.fixture
def spin(ros) -> Iterator[Callable]:
    """Spin nodes in a thread for the length of a test; they are destroyed after it."""
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    nodes = []

    def add(node):
        executor.add_node(node)
        nodes.append(node)
        return node

    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield add
    executor.shutdown()
    thread.join(5.0)
    for node in nodes:
        node.destroy_node()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """Start a node as a process; all are ended after the test."""
    processes: list[NodeProcess] = []

    def run(executable: str, remaps=(), environment=None, **parameters) -> NodeProcess:
        log = tmp_path / f"{executable}_{len(processes)}.log"
        process = NodeProcess(executable, parameters, {**os.environ, **(environment or {})}, log, remaps)
        processes.append(process.__enter__())
        return process

    yield run
    for process in processes:
        process.stop()
