"""The inference thread: newest frame wins, drops are counted, stopping joins."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("rclpy")

from ls_ood_monitor.ros.processes import wait_until
from ls_ood_monitor.ros.worker import Arrival, NewestFrameWorker


def test_newest_frame_wins_while_the_network_is_busy():
    """Of five frames that arrive during one batch the last is judged and four are counted as dropped."""
    busy, begun, seen = threading.Event(), threading.Event(), []

    def handle(arrivals):
        seen.append([arrival.message for arrival in arrivals])
        begun.set()
        busy.wait(10.0)

    worker = NewestFrameWorker(handle)
    worker.submit(Arrival("front", 0, 0))
    assert begun.wait(10.0)
    for number in range(1, 6):
        worker.submit(Arrival("front", number, 0))
    worker.submit(Arrival("left", "only", 0))
    busy.set()
    wait_until(lambda: len(seen) == 2, "the second batch")
    assert seen == [[0], [5, "only"]]
    assert (worker.dropped("front"), worker.dropped("left")) == (4, 0)
    assert worker.stop()


def test_stopping_ends_the_thread():
    """An idle worker stops at once; a frame submitted later is not handled."""
    seen = []
    worker = NewestFrameWorker(seen.append)
    assert worker.stop(5.0)
    worker.submit(Arrival("front", 1, 0))
    assert seen == []


def test_a_stuck_batch_is_reported():
    """When inference hangs, stop says so instead of waiting for ever."""
    release = threading.Event()
    begun = threading.Event()

    def handle(_arrivals):
        begun.set()
        release.wait(20.0)

    worker = NewestFrameWorker(handle)
    worker.submit(Arrival("front", 1, 0))
    assert begun.wait(10.0)
    assert worker.stop(0.1) is False
    release.set()
    assert worker.stop(10.0)
