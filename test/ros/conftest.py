"""Real DDS between real processes, on a domain of this worker's own."""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from support.made_up_monitor import MadeUpMonitor

from ls_ood_monitor.ros.environment import ros_environment
from ls_ood_monitor.ros.processes import NodeProcess
from ls_ood_monitor.ros.shared_memory import remove_orphaned_segments

os.environ.update(ros_environment())  # before rclpy.init, which reads it once


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


@dataclass
class Running:
    """What the nodes have, by the ROS graph and the messages.

    Attributes:
        publishes: node -> topic -> type.
        subscribes: node -> topics.
        services: node -> services.
        diagnosed: hardware ids by status name.
        offers: topic -> QoS of its publisher.
        messages: topic -> a received message, of those about the camera front and the vehicle.
    """

    publishes: dict[str, dict[str, str]]
    subscribes: dict[str, set[str]]
    services: dict[str, set[str]]
    diagnosed: dict[str, str]
    offers: dict[str, Any]
    messages: dict[str, Any]


@pytest.fixture(scope="session")
def running(ros, second_domain) -> Iterator[Running]:
    """Start the nodes in this process, with every output that can be had here, and look at them once.

    On a domain of their own: DDS remembers a node that a test has killed, and would report it.
    """
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from rclpy.parameter import Parameter
    from sensor_msgs.msg import Image
    from std_msgs.msg import Bool, Float64, Header

    from ls_ood_monitor.ros import perception_node
    from ls_ood_monitor.ros.conversions import alarms_of, image_message, ns_to_stamp
    from ls_ood_monitor.ros.processes import wait_until
    from ls_ood_monitor.ros.supervisor_node import SupervisorNode

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=second_domain)
    perception = perception_node.PerceptionNode(
        context=context,
        parameter_overrides=[Parameter("autostart", value=True), Parameter("class_table", value=True)],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perception_node, "load_bundle", lambda path, **options: MadeUpMonitor(cameras=("front",)))
        perception.start()
    supervisor = SupervisorNode(
        context=context,
        parameter_overrides=[Parameter("gate_cmd_vel", value="twist")],
        cli_args=["--ros-args", "-r", "ood_alarm:=/perception_node/ood_alarm"],
    )
    observer, diagnosed, messages = Node("observer", context=context), {}, {}

    def keep(topic: str) -> Callable[[Any], None]:
        def heard(message: Any) -> None:
            if topic == "/diagnostics":  # of two nodes: their statuses together
                diagnosed.update({entry.name: entry.hardware_id for entry in message.status})
                before = messages.get(topic, DiagnosticArray())
                message.status = [*before.status, *message.status][-50:]
            if topic.endswith("/ood_alarm") and alarms_of(message)[0].is_fault:
                return  # a loaded machine may judge a picture too late
            messages[topic] = message

        return heard

    pictures = ("segmentation", "overlay", "confidence", "anomaly_map")
    kinds = {
        "/diagnostics": DiagnosticArray,
        "/perception_node/ood_alarm": DiagnosticArray,
        "/supervisor_node/state": DiagnosticArray,
        "/supervisor_node/stop": Bool,
        "/perception_node/front/ood_score": Float64,
        **{f"/perception_node/front/{name}": Image for name in pictures},
    }
    nodes = {"perception_node": perception, "supervisor_node": supervisor}
    if importlib.util.find_spec("visualization_msgs") is not None:  # it comes with RViz, or from PyPI
        from visualization_msgs.msg import MarkerArray

        from ls_ood_monitor.ros.rviz_status import RvizStatus

        nodes["rviz_status"] = RvizStatus(context=context)
        kinds["/rviz_status/markers"] = MarkerArray
    for topic, kind in kinds.items():
        observer.create_subscription(kind, topic, keep(topic), 10)
    camera = observer.create_publisher(Image, "/front/image", 10)
    executor = SingleThreadedExecutor(context=context)
    for node in (*nodes.values(), observer):
        executor.add_node(node)
    try:
        deadline = time.monotonic() + 30.0
        picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        while (len(diagnosed) < 5 or len(messages) < len(kinds)) and time.monotonic() < deadline:
            camera.publish(image_message(picture, Header(stamp=ns_to_stamp(time.time_ns())), "bgr8"))
            picture = np.roll(picture, 1)
            executor.spin_once(timeout_sec=0.1)
        wait_until(lambda: set(nodes) <= set(observer.get_node_names()), "all nodes in the graph")
        publishes = {
            name: {topic: kinds[0] for topic, kinds in observer.get_publisher_names_and_types_by_node(name, "/")}
            for name in nodes
        }
        yield Running(
            publishes,
            {
                name: {topic for topic, _ in observer.get_subscriber_names_and_types_by_node(name, "/")}
                for name in nodes
            },
            {
                name: {service for service, _ in observer.get_service_names_and_types_by_node(name, "/")}
                for name in nodes
            },
            diagnosed,
            {
                topic: observer.get_publishers_info_by_topic(topic)[0].qos_profile
                for topics in publishes.values()
                for topic in topics
            },
            messages,
        )
    finally:
        executor.shutdown()
        for node in (*nodes.values(), observer):
            node.destroy_node()
        context.try_shutdown()
