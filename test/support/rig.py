"""A vehicle on one machine: cameras that play clean pictures, both nodes as processes, and an observer on DDS.

The pictures are of the procedural (synthetic) street. The fault campaign and the soak test use this.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header

from ls_ood_monitor.core.types import FallbackMode
from ls_ood_monitor.errors import DataError
from ls_ood_monitor.ros.conversions import ns_to_stamp
from ls_ood_monitor.ros.observer import MonitorObserver
from ls_ood_monitor.ros.processes import NodeProcess, wait_until
from ls_ood_monitor.ros.shared_memory import remove_orphaned_segments
from ls_ood_monitor.street.shots import DEMO_DRIVE, Shot, render_shots
from ls_ood_monitor.vision.preprocess import PreprocessSpec, resize_image

from .camera_messages import Picture, back_and_forth, image_publisher, jpeg_messages, raw_messages

#: Changes a message before it is sent; a list, because a fault may send no message, or many.
Spoil = Callable[[Any, int], list[Any]]
_FAULTY_PERCEPTION = Path(__file__).with_name("faulty_perception.py")


def clean_pictures(cameras: Sequence[str], frames: int, rate_hz: float = 10.0) -> dict[str, list[Picture]]:
    """The first ``frames`` pictures of each camera in the demo's drive, which are in distribution.

    They are shrunk to the network's input by the network's own preprocessing: small messages, equal scores.
    """
    shots = [Shot(DEMO_DRIVE, camera, index / rate_hz) for index in range(frames) for camera in cameras]
    pictures: dict[str, list[Picture]] = {camera: [] for camera in cameras}
    for rendered in render_shots(shots):
        pictures[rendered.shot.camera].append(resize_image(rendered.image, PreprocessSpec()))
    return pictures


class Periodic:
    """Calls ``work(number)`` at a fixed rate in a thread; ``failure`` holds the exception that ended it."""

    def __init__(self, rate_hz: float, work: Callable[[int], None]) -> None:
        self.failure: Exception | None = None
        self._period_s, self._work = 1.0 / rate_hz, work
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        started, number = time.monotonic(), 0
        try:
            while not self._ended.wait(max(0.0, started + number * self._period_s - time.monotonic())):
                self._work(number)
                number += 1
        except Exception as error:
            self.failure = error


class SimulatedClock:
    """Publishes ``/clock`` 50 times a second; ``offset_s`` makes it jump."""

    def __init__(self, node: Node) -> None:
        self.offset_s = 0.0
        self._publisher = node.create_publisher(Clock, "/clock", 10)
        self.thread = Periodic(50.0, lambda _number: self._publisher.publish(Clock(clock=ns_to_stamp(self.now_ns()))))

    def now_ns(self) -> int:
        """Simulated time."""
        return time.time_ns() + round(self.offset_s * 1e9)


class CameraSource:
    """One camera driver that plays its pictures for ever.

    Attributes:
        spoil: applied to every message; None = the message is sent as it is.
        offset_s: added to the time of the stamps.
    """

    def __init__(
        self,
        node: Node,
        camera: str,
        pictures: Sequence[Picture],
        rate_hz: float,
        now_ns: Callable[[], int] = time.time_ns,
        compressed: bool = False,
    ) -> None:
        self.camera = camera
        self.spoil: Spoil | None = None
        self.offset_s = 0.0
        self._now_ns = now_ns
        # At the network's size lossy compression changes the scores; cameras must be clean until a fault is injected.
        self._make = jpeg_messages(pictures, quality=100) if compressed else raw_messages(pictures)
        self._publisher = image_publisher(node, camera, compressed)
        self._order = back_and_forth(len(pictures))
        self.thread = Periodic(rate_hz, self._send)

    def _send(self, number: int) -> None:
        stamp = ns_to_stamp(self._now_ns() + round(self.offset_s * 1e9))
        message = self._make(self._order[number % len(self._order)], Header(stamp=stamp, frame_id=self.camera))
        spoil = self.spoil
        for sent in [message] if spoil is None else spoil(message, number):
            self._publisher.publish(sent)


class FaultyPerception(NodeProcess):
    """perception_node from ``faulty_perception.py``, whose network fails on demand."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.command[1:3] = [str(_FAULTY_PERCEPTION)]


class Rig:
    """Cameras, supervisor_node, perception_node and an observer; a context manager that leaves nothing behind.

    Args:
        pictures: clean pictures by camera.
        out: folder of the logs.
        environment: from ``ros_environment``, already in force in this process.
        perception: parameters of perception_node.
        supervisor: parameters of supervisor_node.
        rate_hz: of every camera.
        compressed: JPEG instead of raw images.
        simulated: the nodes and stamps follow ``/clock``.
        faulty: perception runs by ``faulty_perception.py``.
    """

    def __init__(
        self,
        pictures: Mapping[str, Sequence[Picture]],
        out: Path,
        environment: Mapping[str, str],
        perception: Mapping[str, object],
        supervisor: Mapping[str, object],
        rate_hz: float = 10.0,
        *,
        compressed: bool = False,
        simulated: bool = False,
        faulty: bool = False,
    ) -> None:
        common = {"cameras": list(pictures), **({"use_sim_time": True} if simulated else {})}
        self._perception = {
            **common,
            "autostart": True,
            "transport": "compressed" if compressed else "raw",
            "num_threads": 1,
            # Faults change the network's weights in torch; exported graphs hold their own.
            **({"engine": "eager"} if faulty else {}),
            **perception,
        }
        self._supervisor = {**common, **supervisor}
        self._pictures, self._rate_hz = pictures, rate_hz
        self._compressed, self._simulated, self._faulty = compressed, simulated, faulty
        self._out, self._control = out, out / "network_fault"
        self._environment = {**environment, "NETWORK_FAULT_FILE": str(self._control)}
        self._started: list[NodeProcess] = []
        self.sources: dict[str, CameraSource] = {}
        self.clock: SimulatedClock | None = None

    def __enter__(self) -> Rig:
        self._out.mkdir(parents=True, exist_ok=True)
        self.network_fault("")
        with ExitStack() as stack:
            self.observer = MonitorObserver()
            stack.callback(self.observer.destroy_node)
            executor = SingleThreadedExecutor()
            executor.add_node(self.observer)
            thread = threading.Thread(target=executor.spin, daemon=True)
            thread.start()
            stack.callback(thread.join, 5.0)
            stack.callback(executor.shutdown)
            if self._simulated:
                self.clock = SimulatedClock(self.observer)
                stack.callback(self.clock.thread.stop)
            now_ns = self.clock.now_ns if self.clock else time.time_ns
            for camera, pictures in self._pictures.items():
                source = CameraSource(self.observer, camera, pictures, self._rate_hz, now_ns, self._compressed)
                self.sources[camera] = source
                stack.callback(source.thread.stop)
            stack.callback(self._stop_nodes)
            self.start_supervisor()
            self.start_perception()
            self.wait_for(FallbackMode.NOMINAL, "the start", 90.0)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()
        time.sleep(1.1)  # segments younger than a second are left alone
        remove_orphaned_segments()

    def start_supervisor(self) -> None:
        """Start supervisor_node; the one before must have ended."""
        remap = ("ood_alarm:=/perception_node/ood_alarm",)
        self.supervisor = self._start(NodeProcess, "supervisor_node", self._supervisor, remap)

    def start_perception(self, **parameters: object) -> None:
        """Start perception_node, with other parameters if given; the one before must have ended."""
        node_type = FaultyPerception if self._faulty else NodeProcess
        self.perception = self._start(node_type, "perception_node", {**self._perception, **parameters})

    def start_second_perception(self) -> NodeProcess:
        """Start a second perception_node under the same name, on the same topics."""
        return self._start(NodeProcess, "perception_node", self._perception)

    def network_fault(self, name: str) -> None:
        """Make the network of a faulty perception fail (see ``faulty_perception.py``); empty = it works."""
        self._control.write_text(name, encoding="utf-8")

    def wait_for(self, mode: FallbackMode, event: str, timeout_s: float = 30.0) -> int:
        """Wait until the newest decision is ``mode``; returns when it arrived (monotonic ns)."""

        def reached() -> bool:
            self.check()
            decisions = self.observer.decisions(-1)
            return bool(decisions) and decisions[-1].mode is mode

        try:
            wait_until(reached, f"{mode.name} after {event}", timeout_s)
        except DataError as error:
            newest = self.observer.decisions(-1)
            raise DataError(f"{error} The last decision: {newest[-1].reason if newest else 'none'}") from error
        return self.observer.decisions(-1)[-1].at_ns

    def check(self) -> None:
        """Raise the exception that ended a camera's thread: without its cameras the rig measures nothing."""
        for source in self.sources.values():
            if source.thread.failure is not None:
                raise DataError(f"camera {source.camera} ended: {source.thread.failure!r}") from source.thread.failure

    def _start(
        self,
        node_type: type[NodeProcess],
        executable: str,
        parameters: Mapping[str, object],
        remaps: tuple[str, ...] = (),
    ) -> NodeProcess:
        log = self._out / f"{executable}_{len(self._started) + 1}.log"
        process = node_type(executable, parameters, self._environment, log, remaps).__enter__()
        self._started.append(process)
        return process

    def _stop_nodes(self) -> None:
        for process in reversed(self._started):
            process.stop()
