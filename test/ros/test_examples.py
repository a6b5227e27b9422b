"""The example configurations name only what the real nodes have: a renamed topic or status breaks them here."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

pytest.importorskip("rclpy")

from ls_ood_monitor.core.classes import CLASS_NAMES
from ls_ood_monitor.evaluation.acceptance import read_acceptance
from ls_ood_monitor.ros.class_table import LABEL_TOPIC
from ls_ood_monitor.ros.speed_limit_output import SPEED_LIMIT_TOPIC

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "config" / "examples"
#: Topics of message packages that are not here; their names come from the code that would publish them.
ELSEWHERE = {LABEL_TOPIC.replace("~", "/perception_node"), f"/{SPEED_LIMIT_TOPIC}"}


def parameters(name: str, *path: str) -> dict:
    """A mapping inside a YAML example."""
    content = yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))
    for key in path:
        content = content[key]
    return content


def test_the_acceptance_example_has_known_limits_also_in_its_comments(tmp_path):
    """The limits that it sets can be read, and so can those that are commented out."""
    path, complete = EXAMPLES / "acceptance.yaml", tmp_path / "acceptance.yaml"
    assert read_acceptance(path).max_time_to_stop_s == 1.0
    complete.write_text(re.sub(r"^# (?=\s*\w+:( |$))", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
    acceptance = read_acceptance(complete)
    assert acceptance.max_false_alarms_per_hour_upper == 3.0
    assert acceptance.allow_damaged
    assert acceptance.labels["tunnel"].max_events_detected == 0.0
    assert acceptance.cameras["front"].max_false_alarms == 0


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
    named = [name for kind in source["class_types"] for name in source[kind]["classes"]]
    assert set(named) <= set(CLASS_NAMES)
    assert len(named) == len(set(named))


def test_the_aggregator_catches_every_status_once(running):
    """Each status of both nodes belongs to one analyzer, by the aggregator's own rule, and none is idle."""
    content = parameters("diagnostic_aggregator.yaml", "analyzers", "ros__parameters")
    prefixes = [prefix for part in content.values() if isinstance(part, dict) for prefix in part["startswith"]]
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


def test_the_policy_has_the_structure_of_sros2():
    """Facts of sros2's policy schema: names, order, and attributes of each level."""
    root = ElementTree.parse(EXAMPLES / "sros2_policy.xml").getroot()
    children = {
        "policy": {"enclaves"},
        "enclaves": {"enclave"},
        "enclave": {"profiles"},
        "profiles": {"profile"},
        "profile": {"topics", "services", "actions"},
        "topics": {"topic"},
        "services": {"service"},
        "topic": set(),
        "service": set(),
    }
    attributes = {"policy": {"version"}, "enclave": {"path"}, "profile": {"ns", "node"}}
    rights = {"topics": {"publish", "subscribe"}, "services": {"request", "reply"}}
    for element in root.iter():
        assert {child.tag for child in element} <= children[element.tag]
        if element.tag in rights:
            assert set(element.attrib) <= rights[element.tag]
            assert set(element.attrib.values()) <= {"ALLOW", "DENY"}
        else:
            assert set(element.attrib) == attributes.get(element.tag, set())
    assert root.get("version") == "0.2.0"


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
