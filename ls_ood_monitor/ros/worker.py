"""One thread owns the network; each camera has a slot for its newest message.

A camera faster than the network overwrites its slot: the newest frame wins, and the loss is counted. Callbacks only
store and return, so the executor stays responsive whatever inference does.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Arrival:
    """A message as it came in: camera, message, time of arrival in nanoseconds, steady and on the clock of the stamps."""

    camera: str
    message: Any
    arrived_ns: int
    received_ns: int = 0


class NewestFrameWorker:
    """Calls ``handle`` in its own thread with the newest arrivals of all cameras.

    Args:
        handle: called with at least one arrival, at most one a camera; must not raise.
    """

    def __init__(self, handle: Callable[[Sequence[Arrival]], None]) -> None:
        self._handle = handle
        self._slots: dict[str, Arrival] = {}
        self._dropped: Counter[str] = Counter()
        self._ready = threading.Condition()
        self._running = True
        self._began_ns: int | None = None
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def submit(self, arrival: Arrival) -> None:
        """Store the newest message of a camera; the one it replaces is counted as dropped."""
        with self._ready:
            if arrival.camera in self._slots:
                self._dropped[arrival.camera] += 1
            self._slots[arrival.camera] = arrival
            self._ready.notify()

    def dropped(self, camera: str) -> int:
        """Frames of a camera replaced before the network could take them."""
        with self._ready:
            return self._dropped[camera]

    def busy_s(self) -> float:
        """Seconds for which the present batch has been handled; 0 between batches. Grows when the network hangs."""
        began_ns = self._began_ns
        return 0.0 if began_ns is None else (time.monotonic_ns() - began_ns) / 1e9

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Finish the present batch and end the thread; False when it did not end in time."""
        with self._ready:
            self._running = False
            self._ready.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._slots or not self._running)
                if not self._running:
                    return
                batch = list(self._slots.values())
                self._slots.clear()
            self._began_ns = time.monotonic_ns()
            self._handle(batch)
            self._began_ns = None
