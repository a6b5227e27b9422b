"""Pictures of the layouts for RViz, Foxglove, PlotJuggler and rqt_robot_monitor, by our own renderer.

    python benchmarks/layout_pictures.py --out docs/img

Plays a drive of the procedural (synthetic) street to both nodes and to rviz_status, listens to the topics that the
layouts name, and in the middle of an event draws what each layout would show: its panels in their places, its curves, its
texts. None of the four programs takes part, and each picture says so. Writes view_rviz.jpg, view_foxglove.jpg,
view_plotjuggler.png and view_robot_monitor.png. Needs visualization_msgs: pip install ros-visualization-msgs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.recordings.bags import iter_raw
from ls_ood_monitor.recordings.events import Event
from ls_ood_monitor.ros.environment import private_domain, ros_environment
from ls_ood_monitor.ros.processes import NodeProcess, wait_until
from ls_ood_monitor.ros.rviz_status import marker_types
from ls_ood_monitor.street.scenario import Scenario, record_scenario

CONFIG = Path(__file__).parents[1] / "config"
#: The second event is under way when the pictures are made.
SCENARIO = Scenario(
    cameras=("front", "left"),
    duration_s=21.0,
    events=(Event("front", 6.0, 10.0, "fog"), Event("front", 16.0, 21.0, "mud")),
)
_MOMENT_S = 20.0


def main() -> int:
    """Play, listen, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures, which must exist")
    args = parser.parse_args()
    os.environ.update(ros_environment(private_domain()))  # before rclpy, which reads it once
    try:
        marker_types()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        heard = listen(Path(folder))
    from layout_drawing import draw_all

    for path in draw_all(heard, CONFIG, args.out):
        sys.stdout.write(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")
    return 0


def listen(folder: Path) -> dict[str, list[tuple[float, Any]]]:
    """Messages that the layouts ask for, by topic: seconds before now, which is negative, and the message; oldest first."""
    import rclpy
    from rclpy.node import Node

    from ls_ood_monitor.ros.player import make_publishers, play, wait_for_subscribers

    record_scenario(SCENARIO, folder / "bag", folder / "events.yaml")
    rclpy.init()
    ear = Node("layouts_ear")
    try:
        with _nodes(folder), _spun(ear):
            images = {f"/{camera}/image": "sensor_msgs/msg/Image" for camera in SCENARIO.cameras}
            publishers = make_publishers(ear, images)
            wait_for_subscribers(publishers, 90.0)
            heard = _subscribe(ear)
            wait_until(lambda: "/supervisor_node/stop" in heard and "/rviz_status/markers" in heard, "all nodes")
            messages = (one for one in iter_raw(folder / "bag"))
            first_ns = 0
            began = time.monotonic()

            def until(message: Any) -> bool:
                nonlocal first_ns
                first_ns = first_ns or message.stamp_ns
                return bool(message.stamp_ns - first_ns <= _MOMENT_S * 1e9)

            play((one for one in messages if until(one)), publishers, restamp=True)
            time.sleep(0.5)  # the last image's verdict
            now = time.monotonic()
            return {
                topic: [(at - now, message) for at, message in entries if at >= began - 1.0]
                for topic, entries in heard.items()
            }
    finally:
        ear.destroy_node()
        rclpy.try_shutdown()


@contextmanager
def _nodes(folder: Path) -> Iterator[None]:
    shared = {"cameras": list(SCENARIO.cameras)}
    perception = {**shared, "autostart": True, "device": "cpu", "num_threads": 1}
    remap = ("ood_alarm:=/perception_node/ood_alarm",)
    with (
        NodeProcess("supervisor_node", {**shared, "alarm_timeout_s": 2.0}, os.environ, folder / "s.log", remap),
        NodeProcess("perception_node", perception, os.environ, folder / "p.log"),
        NodeProcess("rviz_status", {}, os.environ, folder / "r.log"),
    ):
        yield


@contextmanager
def _spun(node: Any) -> Iterator[None]:
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        yield
    finally:
        executor.shutdown()
        thread.join(5.0)


def _subscribe(node: Any) -> defaultdict[str, list[tuple[float, Any]]]:
    """Listen to every topic that a layout names; of images only the newest is kept."""
    from layouts import foxglove_topic, read_foxglove, read_plotjuggler, read_rviz, with_camera

    from ls_ood_monitor.ros.player import message_class

    topics = {one.topic for one in with_camera(read_rviz(CONFIG / "monitor.rviz"), "left").displays}
    topics |= {*read_plotjuggler(CONFIG / "plotjuggler_layout.xml").topics, "/diagnostics"}
    for panel in read_foxglove(CONFIG / "foxglove_layout.json"):
        topics |= {foxglove_topic(path["value"]) for path in panel.config.get("paths", [])}
        topics |= {panel.config["topicToRender"]} if "topicToRender" in panel.config else set()
        topics |= {panel.config["imageMode"]["imageTopic"]} if "imageMode" in panel.config else set()
    heard: defaultdict[str, list[tuple[float, Any]]] = defaultdict(list)
    wait_until(lambda: topics <= {name for name, _ in node.get_topic_names_and_types()}, "every topic of the layouts")
    kinds = {name: kinds[0] for name, kinds in node.get_topic_names_and_types()}

    def keeper(topic: str) -> Any:
        def keep(message: Any) -> None:
            if kinds[topic] == "sensor_msgs/msg/Image":
                heard[topic].clear()
            heard[topic].append((time.monotonic(), message))

        return keep

    for topic in sorted(topics):
        node.create_subscription(message_class(kinds[topic]), topic, keeper(topic), 50)
    return heard


if __name__ == "__main__":
    sys.exit(main())
