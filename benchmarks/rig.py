"""A vehicle on one machine: cameras that play clean pictures, both nodes as processes of their own, and an ear on DDS.

The pictures are of the procedural (synthetic) street. The fault campaign and the soak test stand on this.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from camera_messages import Picture, jpeg_messages, raw_messages, to_and_fro
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ls_ood_monitor.core.types import FallbackMode
from ls_ood_monitor.errors import DataError
from ls_ood_monitor.ros.conversions import ns_to_stamp
from ls_ood_monitor.ros.observer import MonitorObserver
from ls_ood_monitor.ros.processes import NodeProcess, wait_until
from ls_ood_monitor.ros.shared_memory import remove_orphaned_segments
from ls_ood_monitor.street.shots import DEMO_DRIVE, Shot, render_shots
from ls_ood_monitor.vision.preprocess import PreprocessSpec, resize_image

#: Changes a message before it is sent; a list, because a fault may send none, or many.
Spoil = Callable[[Any, int], list[Any]]
_FAULTY_PERCEPTION = Path(__file__).with_name("faulty_perception.py")


def clean_pictures(cameras: Sequence[str], frames: int, rate_hz: float = 10.0) -> dict[str, list[Picture]]:
    """The first ``frames`` pictures of each camera in the drive of the demo, which are in distribution.

    They are shrunk to the network's input, as the network's own preprocessing would: small messages, equal scores.
    """
    shots = [Shot(DEMO_DRIVE, camera, index / rate_hz) for index in range(frames) for camera in cameras]
    pictures: dict[str, list[Picture]] = {camera: [] for camera in cameras}
    for rendered in render_shots(shots):
        pictures[rendered.shot.camera].append(resize_image(rendered.image, PreprocessSpec()))
    return pictures


class SimulatedClock:
    """Publishes ``/clock`` 50 times a second; ``offset_s`` makes it jump."""

    def __init__(self, node: Node) -> None:
        self.offset_s = 0.0
        self._publisher = node.create_publisher(Clock, "/clock", 10)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def now_ns(self) -> int:
        """Simulated time."""
        return time.time_ns() + round(self.offset_s * 1e9)

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._ended.wait(0.02):
            self._publisher.publish(Clock(clock=ns_to_stamp(self.now_ns())))


class CameraSource:
    """One camera driver: its pictures to and fro, for ever.

    Attributes:
        spoil: applied to every message; None = sent as it is.
        offset_s: added to the time of the stamps.
        failure: what ended the thread too early.
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
        self.failure: Exception | None = None
        self._now_ns = now_ns
        self._period_s = 1.0 / rate_hz
        # At the size of the network's input compression shows in the scores; cameras shall be clean until a fault is put in.
        self._make = jpeg_messages(pictures, quality=100) if compressed else raw_messages(pictures)
        kind, topic = (CompressedImage, f"/{camera}/image/compressed") if compressed else (Image, f"/{camera}/image")
        self.publisher = node.create_publisher(
            kind, topic, QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        )
        self._order = to_and_fro(len(pictures))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def stamp(self) -> Time:
        """The present time on this camera's clock."""
        return ns_to_stamp(self._now_ns() + round(self.offset_s * 1e9))

    def message(self, number: int) -> Any:
        """Picture ``number`` as a message stamped now."""
        return self._make(self._order[number % len(self._order)], Header(stamp=self.stamp(), frame_id=self.camera))

    def _run(self) -> None:
        started = time.monotonic()
        number = 0
        try:
            while not self._ended.wait(max(0.0, started + number * self._period_s - time.monotonic())):
                message = self.message(number)
                spoil = self.spoil
                for one in [message] if spoil is None else spoil(message, number):
                    self.publisher.publish(one)
                number += 1
        except Exception as error:
            self.failure = error


class ScriptNode(NodeProcess):
    """A node that is started from a script instead of from the package."""

    def __init__(self, script: Path, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._command[1:3] = [str(script)]


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
        faulty: perception runs by ``faulty_perception.py``, whose network fails on demand.
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
        self.cameras = list(pictures)
        common = {"cameras": self.cameras, **({"use_sim_time": True} if simulated else {})}
        transport = "compressed" if compressed else "raw"
        self.perception_parameters = {
            **common,
            "autostart": True,
            "transport": transport,
            "num_threads": 1,
            # Faults are put into the network's weights in torch; exported graphs have their own.
            **({"engine": "eager"} if faulty else {}),
            **perception,
        }
        self._supervisor_parameters = {**common, **supervisor}
        self._pictures, self._rate_hz = pictures, rate_hz
        self._out, self._environment = out, dict(environment)
        self._compressed, self._simulated, self._faulty = compressed, simulated, faulty
        self._control = out / "network_fault"
        self._started = 0
        self.sources: dict[str, CameraSource] = {}
        self.clock: SimulatedClock | None = None
        self._extra: list[NodeProcess] = []

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
                stack.callback(self.clock.stop)
            now_ns = self.clock.now_ns if self.clock else time.time_ns
            for camera, pictures in self._pictures.items():
                source = CameraSource(self.observer, camera, pictures, self._rate_hz, now_ns, self._compressed)
                self.sources[camera] = source
                stack.callback(source.stop)
                source.start()
            stack.callback(self._end_nodes)
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
        self.supervisor = self._start(NodeProcess, "supervisor_node", self._supervisor_parameters, remap)

    def start_perception(self, **parameters: object) -> None:
        """Start perception_node, with other parameters if given; the one before must have ended."""
        values = {**self.perception_parameters, **parameters}
        if self._faulty:
            self.perception = self._start(
                lambda *args: ScriptNode(_FAULTY_PERCEPTION, *args), "perception_node", values, ()
            )
        else:
            self.perception = self._start(NodeProcess, "perception_node", values, ())

    def start_second_perception(self) -> NodeProcess:
        """A second perception_node under the same name, on the same topics."""
        second = self._start(NodeProcess, "perception_node", self.perception_parameters, ())
        self._extra.append(second)
        return second

    def network_fault(self, name: str) -> None:
        """Tell the faulty perception what its network shall do: see ``faulty_perception.py``; empty = work."""
        self._control.write_text(name, encoding="utf-8")

    def wait_for(self, mode: FallbackMode, what: str, timeout_s: float = 30.0) -> int:
        """Wait until the newest decision is ``mode``; returns when it was heard (monotonic ns)."""

        def reached() -> bool:
            self.check()
            decisions = self.observer.decisions(-1)
            return bool(decisions) and decisions[-1].mode is mode

        try:
            wait_until(reached, f"{mode.name} after {what}", timeout_s)
        except DataError as error:
            newest = self.observer.decisions(-1)
            raise DataError(f"{error} The last decision: {newest[-1].reason if newest else 'none'}") from error
        return self.observer.decisions(-1)[-1].at_ns

    def check(self) -> None:
        """Raise what ended a camera's thread: a campaign whose cameras died measures nothing."""
        for source in self.sources.values():
            if source.failure is not None:
                raise DataError(f"the source of camera {source.camera} ended: {source.failure!r}") from source.failure

    def _start(
        self, make: Any, executable: str, parameters: Mapping[str, object], remaps: tuple[str, ...]
    ) -> NodeProcess:
        self._started += 1
        log = self._out / f"{executable}_{self._started}.log"
        environment = {**self._environment, "NETWORK_FAULT_FILE": str(self._control)}
        process: NodeProcess = make(executable, parameters, environment, log, remaps)
        return process.__enter__()

    def _end_nodes(self) -> None:
        for name in ("perception", "supervisor"):
            process = getattr(self, name, None)
            if process is not None:
                process.stop()
        for process in self._extra:
            process.stop()
