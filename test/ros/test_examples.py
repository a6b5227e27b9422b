"""The example configurations name only what the real nodes have: a renamed topic or status breaks them here."""

from __future__ import annotations

import configparser
import re
import time
from dataclasses import dataclass, fields
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ls_ood_monitor.config import AlarmSettings
from ls_ood_monitor.core.classes import CLASS_NAMES
from ls_ood_monitor.core.types import FrameResult
from ls_ood_monitor.offline.evaluation.gate import Gate, read_gate
from ls_ood_monitor.ros import perception_node
from ls_ood_monitor.ros.class_table import LABEL_TOPIC
from ls_ood_monitor.ros.conversions import image_message, ns_to_stamp
from ls_ood_monitor.ros.processes import wait_until
from ls_ood_monitor.ros.speed_limit_output import SPEED_LIMIT_TOPIC
from ls_ood_monitor.ros.supervisor_node import SupervisorNode

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "config" / "examples"
#: Topics of message packages that are not here; their names come from the code that would publish them.
ELSEWHERE = {LABEL_TOPIC.replace("~", "/perception_node"), f"/{SPEED_LIMIT_TOPIC}"}


class MadeUpMonitor:
    """Answers each frame with a score below the threshold; only the nodes around it are real."""

    bundle_id, detector, threshold, usual = "0" * 64, "larem", 2.0, 1.0
    alarm, cameras = AlarmSettings(), ("front",)
    frame_pass = type("FramePass", (), {"device": "cpu"})
    class_names = CLASS_NAMES

    def warm_up(self, cameras: int) -> None:
        """Nothing to warm up."""

    def process(self, frames):
        """A mask of zeros and a score of 1."""
        mask = np.zeros(frames[0].image.shape[:2], np.uint8)
        return [FrameResult(frame, mask, mask, 1.0, 2.0, "larem", {"larem": 1.0}) for frame in frames]


@dataclass
class Running:
    """What both nodes have, as the ROS graph and the messages tell it; diagnosed are hardware ids by status name."""

    publishes: dict[str, dict[str, str]]
    subscribes: dict[str, set[str]]
    services: dict[str, set[str]]
    diagnosed: dict[str, str]


@pytest.fixture(scope="module")
def running(ros) -> Running:
    """Start both nodes in this process, with every output that can be had here, and look at them once."""
    from rclpy.executors import SingleThreadedExecutor

    original = perception_node.load_bundle
    perception_node.load_bundle = lambda path, **options: MadeUpMonitor()
    perception = perception_node.PerceptionNode(
        parameter_overrides=[Parameter("autostart", value=True), Parameter("class_table", value=True)]
    )
    perception.start()
    supervisor = SupervisorNode(
        parameter_overrides=[Parameter("gate_cmd_vel", value="twist")],
        cli_args=["--ros-args", "-r", "ood_alarm:=/perception_node/ood_alarm"],
    )
    observer, diagnosed = Node("observer"), {}
    observer.create_subscription(
        DiagnosticArray,
        "/diagnostics",
        lambda message: diagnosed.update({one.name: one.hardware_id for one in message.status}),
        10,
    )
    camera = observer.create_publisher(Image, "/front/image", 10)
    executor = SingleThreadedExecutor()
    nodes = {"perception_node": perception, "supervisor_node": supervisor}
    for node in (*nodes.values(), observer):
        executor.add_node(node)
    try:
        deadline = time.monotonic() + 30.0
        picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        while len(diagnosed) < 5 and time.monotonic() < deadline:
            camera.publish(image_message(picture, Header(stamp=ns_to_stamp(time.time_ns())), "bgr8"))
            executor.spin_once(timeout_sec=0.1)
        wait_until(lambda: set(nodes) <= set(observer.get_node_names()), "both nodes in the graph")
        yield Running(
            {
                name: {topic: kinds[0] for topic, kinds in observer.get_publisher_names_and_types_by_node(name, "/")}
                for name in nodes
            },
            {
                name: {topic for topic, _ in observer.get_subscriber_names_and_types_by_node(name, "/")}
                for name in nodes
            },
            {name: {one for one, _ in observer.get_service_names_and_types_by_node(name, "/")} for name in nodes},
            diagnosed,
        )
    finally:
        perception_node.load_bundle = original
        executor.shutdown()
        for node in (*nodes.values(), observer):
            node.destroy_node()


def parameters(name: str, *path: str) -> dict:
    """A mapping inside a YAML example."""
    content = yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))
    for key in path:
        content = content[key]
    return content


def test_the_gate_names_known_limits_and_says_all_of_them():
    """What it sets is read, and what it only shows would be, too."""
    text = (EXAMPLES / "gate.yaml").read_text(encoding="utf-8")
    assert read_gate(EXAMPLES / "gate.yaml").max_time_to_stop_s == 1.0
    shown = yaml.safe_load(
        "\n".join(line.removeprefix("# ") for line in text.splitlines() if "max_false_alarms" in line)
    )
    assert set(shown) <= {spec.name for spec in fields(Gate)}


def test_every_example_is_tested_here_and_says_what_it_is():
    """No file without a test, and each begins with what it is for."""
    source = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.iterdir():
        assert f'"{path.name}"' in source, path.name
        assert re.match(r"(<\?xml.*\?>\n<!--\n  |# )\w+", path.read_text(encoding="utf-8")), path.name


def test_every_status_is_named_by_rep_107(running):
    """The node's name, a colon, what it is about; and a hardware id, by which tools group."""
    assert len(running.diagnosed) == 5
    for name, hardware_id in running.diagnosed.items():
        assert re.fullmatch(r"(perception|supervisor)_node: \w+( \w+)*", name)
        assert hardware_id


def test_twist_mux_is_locked_by_the_stop_command(running):
    """One lock, on the topic and type that the supervisor publishes, above every source and with a timeout."""
    content = parameters("twist_mux.yaml", "/**/twist_mux", "ros__parameters")
    (lock,) = content["locks"].values()
    assert running.publishes["supervisor_node"][lock["topic"]] == "std_msgs/msg/Bool"
    assert (lock["timeout"], lock["priority"]) == (0.5, 255)
    assert all(source["priority"] < lock["priority"] for source in content["topics"].values())


def test_nav2_layer_reads_what_perception_publishes(running):
    """Mask, confidence and labels are perception's; the classes exist, each with one cost."""
    layer = parameters(
        "nav2_semantic_layer.yaml", "local_costmap", "local_costmap", "ros__parameters", "semantic_segmentation_layer"
    )
    source = layer[layer["observation_sources"]]
    for name in ("segmentation_topic", "confidence_topic"):
        assert running.publishes["perception_node"][source[name]] == "sensor_msgs/msg/Image"
    assert source["labels_topic"] in set(running.publishes["perception_node"]) | ELSEWHERE
    named = [one for kind in source["class_types"] for one in source[kind]["classes"]]
    assert set(named) <= set(CLASS_NAMES)
    assert len(named) == len(set(named))


def test_the_aggregator_catches_every_status_once(running):
    """Each status of both nodes belongs to one analyzer, by the aggregator's own rule, and none is idle."""
    content = parameters("diagnostic_aggregator.yaml", "analyzers", "ros__parameters")
    prefixes = [prefix for one in content.values() if isinstance(one, dict) for prefix in one["startswith"]]
    for status in running.diagnosed:
        assert sum(status.startswith(prefix) for prefix in prefixes) == 1, status
    for prefix in prefixes:
        assert any(status.startswith(prefix) for status in running.diagnosed), prefix


def test_the_autoware_graph_has_a_unit_for_every_status(running):
    """Units and statuses are the same, but for the gate's; links lead somewhere; timeouts allow for a rate of 1 Hz."""
    units = parameters("autoware_diagnostic_graph.yaml", "units")
    leaves = [unit for unit in units if unit["type"] == "diag"]
    assert {f"{unit['node']}: {unit['name']}" for unit in leaves} == set(running.diagnosed) - {
        "supervisor_node: cmd_vel gate"
    }
    assert all(unit["timeout"] > 2.0 for unit in leaves)
    paths = [unit["path"] for unit in units]
    links = {link["link"] for unit in units for link in unit.get("list", [])}
    assert len(paths) == len(set(paths))
    assert links == set(paths) - {"/perception/ood_monitor"}


def test_the_systemd_unit_starts_our_launch_file():
    """It restarts on failure, claims no watchdog, and gives our launch file only arguments that it has."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read(EXAMPLES / "ls_ood_monitor.service", encoding="utf-8")
    assert unit["Service"]["Restart"] == "on-failure"
    assert "WatchdogSec" not in unit["Service"]
    file, arguments = re.search(
        r"ros2 launch ls_ood_monitor (\S+)((?: \w+:=\S+)*)'$", unit["Service"]["ExecStart"]
    ).groups()
    text = (ROOT / "launch" / file).read_text(encoding="utf-8")
    given = re.findall(r"(\w+):=", arguments)
    assert given
    assert all(f'"{name}"' in text for name in given)


def allowed(node: str, kind: str, right: str) -> set[str]:
    """Names that the policy allows a node."""
    root = ElementTree.parse(EXAMPLES / "sros2_policy.xml").getroot()
    return {
        entry.text
        for profile in root.iter("profile")
        if profile.get("node") == node
        for block in profile.findall(kind)
        if block.get(right) == "ALLOW"
        for entry in block
    }


@pytest.mark.parametrize("node", ["perception_node", "supervisor_node"])
def test_the_policy_allows_what_a_node_does_and_no_more(running, node):
    """Topics and services of each node equal those in the policy; simulated time is the one thing it may want more."""
    published = set(running.publishes[node]) | {
        topic for topic in ELSEWHERE if topic in allowed(node, "topics", "publish")
    }
    assert allowed(node, "topics", "publish") == published
    assert allowed(node, "topics", "subscribe") == running.subscribes[node] | {"/clock"}
    optional = {f"/{node}/get_type_description"}  # not on humble
    assert allowed(node, "services", "reply") | optional == running.services[node] | optional


def test_the_policy_lets_nobody_else_speak_for_the_monitor(running):
    """Stop and state are the supervisor's alone, the alarm is perception's, and listeners listen to what exists."""
    root = ElementTree.parse(EXAMPLES / "sros2_policy.xml").getroot()
    nodes = [profile.get("node") for profile in root.iter("profile")]
    for topic, owner in (
        ("/supervisor_node/stop", "supervisor_node"),
        ("/supervisor_node/state", "supervisor_node"),
        ("/perception_node/ood_alarm", "perception_node"),
    ):
        assert [node for node in nodes if topic in allowed(node, "topics", "publish")] == [owner]
    ours = set().union(*running.publishes.values())
    for node in set(nodes) - set(running.publishes):
        assert allowed(node, "topics", "publish") == set()
        assert allowed(node, "topics", "subscribe") <= ours
        assert allowed(node, "services", "request") <= set().union(*running.services.values())
