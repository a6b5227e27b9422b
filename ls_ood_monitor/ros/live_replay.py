"""Plays a recording to both nodes in real time, each a process of its own, and keeps what they publish."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from ..errors import DataError, MonitorError
from .observer import HeardAlarm, HeardDecision, HeardStop, MonitorObserver
from .player import Recorded, make_publishers, play, wait_for_subscribers
from .processes import NodeProcess, monitor_nodes, wait_until
from .runner import ros_context, spinning
from .shared_memory import remove_orphaned_segments

Heard = TypeVar("Heard", HeardAlarm, HeardDecision, HeardStop)
#: Time for perception to load its bundle, seconds.
_START_TIMEOUT_S = 90.0


class LiveReplay:
    """Runs both nodes and an observer; a context manager that returns once the nodes are ready.

    The environment of this process must be that of ``ros_environment``; the nodes inherit it.

    Args:
        cameras: names; each is played on ``/<camera>/image``.
        logs: folder of the nodes' log files.
        perception: parameters of perception_node beside ``cameras`` and ``autostart``.
        supervisor: parameters of supervisor_node beside ``cameras``.

    Attributes:
        observer: keeps what the nodes publish.
        begin_ns: when the recording began, monotonic clock; 0 before.

    Raises:
        MonitorError: on entry, if perception ends or is not ready in time; with its last line of output.
    """

    observer: MonitorObserver

    def __init__(
        self, cameras: Sequence[str], logs: Path, perception: Mapping[str, object], supervisor: Mapping[str, object]
    ) -> None:
        self._cameras, self._logs = tuple(cameras), logs
        self._perception = {"cameras": list(cameras), "autostart": True, **perception}
        self._supervisor = {"cameras": list(cameras), **supervisor}
        self._exit = ExitStack()
        self.begin_ns = 0

    def __enter__(self) -> LiveReplay:
        with ExitStack() as stack:
            stack.callback(remove_orphaned_segments)
            stack.enter_context(ros_context())
            self.observer = stack.enter_context(spinning(MonitorObserver(overlays=self._cameras)))
            nodes = monitor_nodes(os.environ, self._logs, self._perception, self._supervisor)
            perception, _ = stack.enter_context(nodes)
            topics = {f"/{camera}/image": "sensor_msgs/msg/Image" for camera in self._cameras}
            self._publishers = make_publishers(self.observer, topics)
            self._wait_for_perception(perception)
            # DDS connects each pair on its own: the supervisor may not hear perception yet, although we do.
            wait_until(self._is_every_camera_supervised, "the supervisor to hear every camera's alarm")
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def play(
        self, messages: Iterable[Recorded], duration_s: float, on_message: Callable[[float], None] | None = None
    ) -> None:
        """Play the recording to its end, ``duration_s`` after its first message.

        ``on_message`` is called after each message with its time in the recording, seconds.
        """

        def after_message(_message: Recorded, offset_s: float) -> None:
            if not self.begin_ns:
                self.begin_ns = time.monotonic_ns() - round(offset_s * 1e9)
            if on_message is not None:
                on_message(offset_s)

        play(messages, self._publishers, on_message=after_message)
        time.sleep(max(0.0, duration_s - (time.monotonic_ns() - self.begin_ns) / 1e9))

    def _wait_for_perception(self, perception: NodeProcess) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            if perception.poll() is not None:
                raise MonitorError(f"perception_node ended with code {perception.poll()}: {perception.last_line()}")
            try:
                wait_for_subscribers(self._publishers, 0.5)
                return
            except DataError as error:
                if time.monotonic() > deadline:
                    raise MonitorError(f"perception_node is not ready: {perception.last_line()}") from error

    def _is_every_camera_supervised(self) -> bool:
        decisions = self.observer.decisions(-1)
        return bool(decisions) and decisions[-1].cameras_heard.issuperset(self._cameras)


def on_recording_time(heard: Iterable[Heard], begin_ns: int, duration_s: float) -> list[tuple[float, Heard]]:
    """Pair messages with their time since ``begin_ns`` (monotonic), s; those after the recording's end are left out."""
    timed = (((message.at_ns - begin_ns) / 1e9, message) for message in heard)
    return [(time_s, message) for time_s, message in timed if time_s <= duration_s]
