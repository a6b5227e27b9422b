"""The layouts for RViz, Foxglove, PlotJuggler and rqt name only what the running nodes say, in a way the panels can take."""

from __future__ import annotations

import importlib.util
import json
from math import radians, tan
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

pytest.importorskip("rclpy")

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from std_msgs.msg import Bool
from support.layouts import foxglove_panels, foxglove_topic, foxglove_values, plotjuggler_series

from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState
from ls_ood_monitor.ros.conversions import alarm_message

CONFIG = Path(__file__).parents[2] / "config"
#: What each display or panel takes; the names are those of the programs' own displays and panels.
RVIZ_DISPLAYS = {
    "rviz_default_plugins/Image": "sensor_msgs/msg/Image",
    "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray",
}
FOXGLOVE_PANELS = {"Image", "Plot", "StateTransitions", "DiagnosticSummary", "DiagnosticStatusPanel"}
#: rqt_robot_monitor, PlotJuggler and the Foxglove bridge subscribe with these, or with less where less is offered.
USUAL = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE)


def type_of(running, topic: str) -> str:
    """Type of a topic that one of the nodes publishes."""
    kinds = {kinds[topic] for kinds in running.publishes.values() if topic in kinds}
    assert len(kinds) == 1, f"{topic} is published by no node"
    return kinds.pop()


def assert_heard(running, topic: str, wanted: QoSProfile) -> None:
    """The publisher of a topic offers what a subscription asks for."""
    compatibility, reason = qos_check_compatible(running.offers[topic], wanted)
    assert compatibility is not QoSCompatibility.ERROR, f"{topic}: {reason}"


def test_rviz_shows_the_pictures_and_the_texts(running):
    """Every display is one of RViz's own, on a topic of its type, with a QoS that the publisher offers."""
    content = yaml.safe_load((CONFIG / "monitor.rviz").read_text(encoding="utf-8"))
    displays = content["Visualization Manager"]["Displays"]
    shown = {display["Topic"]["Value"].rsplit("/", 1)[1] for display in displays}
    assert shown >= {"overlay", "anomaly_map", "markers"}
    if importlib.util.find_spec("visualization_msgs") is None:  # then no node here can have the texts
        displays = [display for display in displays if "MarkerArray" not in display["Class"]]
    for display in displays:
        topic = display["Topic"]
        assert type_of(running, topic["Value"]) == RVIZ_DISPLAYS[display["Class"]]
        wanted = QoSProfile(
            depth=topic["Depth"],
            history={"Keep Last": HistoryPolicy.KEEP_LAST}[topic["History Policy"]],
            reliability={
                "Reliable": ReliabilityPolicy.RELIABLE, "Best Effort": ReliabilityPolicy.BEST_EFFORT
            }[topic["Reliability Policy"]],
            durability={
                "Volatile": DurabilityPolicy.VOLATILE, "Transient Local": DurabilityPolicy.TRANSIENT_LOCAL
            }[topic["Durability Policy"]],
        )  # fmt: skip
        assert_heard(running, topic["Value"], wanted)
        assert display["Enabled"] == display["Value"]
    classes = [entry["Class"] for entry in content["Panels"]]
    assert set(classes) <= {"rviz_common/Displays", "rviz_common/Time"}


def test_rviz_sees_the_texts_from_where_it_stands(running):
    """They are in its fixed frame, so that no transform is needed, and a line of 40 letters fits into the opening view."""
    if "/rviz_status/markers" not in running.messages:
        pytest.skip("visualization_msgs is not installed")
    manager = yaml.safe_load((CONFIG / "monitor.rviz").read_text(encoding="utf-8"))["Visualization Manager"]
    view = manager["Views"]["Current"]
    markers = running.messages["/rviz_status/markers"].markers
    assert {marker.ns for marker in markers} == {"decision", "front"}
    for marker in markers:
        assert marker.header.frame_id == manager["Global Options"]["Fixed Frame"]
        assert abs(marker.pose.position.z - view["Focal Point"]["Z"]) < view["Distance"] / 4
        # A letter is about three quarters as wide as a capital is high; RViz sees 45 degrees from top to bottom.
        assert marker.scale.z * 0.75 * 40 < 2 * view["Distance"] * tan(radians(22.5))


@pytest.fixture
def foxglove() -> dict[str, Any]:
    """The layout as Foxglove exports and imports one."""
    return json.loads((CONFIG / "foxglove_layout.json").read_text(encoding="utf-8"))


def test_foxglove_places_each_panel_once(foxglove):
    """The tree and the configuration name the same panels, of kinds that Foxglove has."""
    placed = foxglove_panels(foxglove["layout"])
    assert sorted(placed) == sorted(foxglove["configById"])
    assert {name.split("!")[0] for name in placed} == FOXGLOVE_PANELS
    assert {"globalVariables", "userNodes", "playbackConfig"} <= set(foxglove)


def values_at(running, path: str) -> list[Any]:
    """What a Foxglove message path selects in the messages that the nodes sent."""
    topic = foxglove_topic(path)
    type_of(running, topic)
    assert_heard(running, topic, USUAL)
    return foxglove_values(path, running.messages[topic])


def test_foxglove_paths_find_values(foxglove, running):
    """Images, numbers to plot, states with a name, and statuses to select, each in what the nodes really send."""
    for name, config in foxglove["configById"].items():
        kind = name.split("!")[0]
        if kind == "Image":
            topic = config["imageMode"]["imageTopic"]
            assert type_of(running, topic) == "sensor_msgs/msg/Image"
            assert running.messages[topic].encoding in ("bgr8", "mono8")
            assert_heard(running, topic, USUAL)
        elif kind == "Plot":
            for path in config["paths"]:
                (value,) = values_at(running, path["value"])
                assert float(value) in (1.0, 2.0)
        elif kind == "StateTransitions":
            for path in config["paths"]:
                (value,) = values_at(running, path["value"])
                assert value in ("CLEAR", "PENDING", "", "NOMINAL", "SLOW", "STOP", True, False), path
        else:
            assert type_of(running, config["topicToRender"]) == "diagnostic_msgs/msg/DiagnosticArray"
            if kind == "DiagnosticStatusPanel":
                assert running.diagnosed[config["selectedName"]] == config["selectedHardwareId"]


def test_plotjuggler_curves_are_series_of_the_topics_it_subscribes(running):
    """Every curve is a number within a topic that the layout selects, and every topic selected has a curve."""
    root = ElementTree.parse(CONFIG / "plotjuggler_layout.xml").getroot()
    plugin = next(plugin for plugin in root.iter("plugin") if plugin.get("ID") == "ROS2 Topic Subscriber")
    selected = plugin.find("selected_topics")
    topics = [topic.get("name") for topic in selected]
    assert selected.get("value").split(";") == topics
    assert root.find("previouslyLoaded_Streamer").get("name") == plugin.get("ID")
    curves = [curve.get("name") for curve in root.iter("curve")]
    assert len(curves) == len(set(curves)) == 6
    known = {topic: plotjuggler_series(topic, running.messages[topic]).keys() for topic in topics}
    for topic in topics:
        type_of(running, topic)
        assert_heard(running, topic, USUAL)
        assert known[topic] & set(curves), topic
    assert set(curves) <= set().union(*known.values())
    for splitter in root.iter("DockSplitter"):
        sizes = [float(size) for size in splitter.get("sizes").split(";")]
        assert int(splitter.get("count")) == len(splitter) == len(sizes)
        assert sum(sizes) == pytest.approx(1.0)
    assert ["Steps" in plot.get("style") for plot in root.iter("plot")] == [False, False, False, True]


def test_rqt_robot_monitor_groups_every_status(running):
    """rqt_robot_monitor shows what the aggregator makes of the statuses: with our example each has a group and none is empty."""
    content = yaml.safe_load((CONFIG / "examples" / "diagnostic_aggregator.yaml").read_text(encoding="utf-8"))
    analyzers = content["analyzers"]["ros__parameters"]
    groups = {group["path"]: group["startswith"] for group in analyzers.values() if isinstance(group, dict)}
    caught = {
        path: [name for name in running.diagnosed if name.startswith(tuple(prefixes))]
        for path, prefixes in groups.items()
    }
    assert sorted(name for names in caught.values() for name in names) == sorted(running.diagnosed)
    assert all(caught.values())
    assert type_of(running, "/diagnostics") == "diagnostic_msgs/msg/DiagnosticArray"
    assert_heard(running, "/diagnostics", USUAL)


@pytest.fixture
def alarm() -> Any:
    """The message of a clear alarm."""
    clear = Alarm("front", 1, AlarmState.CLEAR, 0.5, 2.0, Cause(CauseKind.IN_DISTRIBUTION, "front", 0.5, 2.0))
    return alarm_message(clear, {"latency_ms": 3.5}, "perception_node")


def test_a_message_path_selects_what_it_names(alarm):
    """Fields, all items, and those with a value; an unknown step is refused."""
    path = '/perception_node/ood_alarm.status[:]{hardware_id=="front"}.values[:]{key=="threshold"}.value'
    assert foxglove_topic(path) == "/perception_node/ood_alarm"
    assert foxglove_values(path, alarm) == ["2.0"]
    assert foxglove_values(path.replace('"front"', '"left"'), alarm) == []
    assert foxglove_values("/supervisor_node/stop.data", Bool(data=True)) == [True]
    with pytest.raises(ValueError, match=r"'\[3\]' is no known step"):
        foxglove_values("/a.status[3]", alarm)


def test_plotjuggler_series_are_the_numbers(alarm):
    """Named by topic, hardware id, status and key; texts are left out."""
    series = plotjuggler_series("/a", alarm)
    assert series["/a/front/perception_node: ood front/latency_ms"] == 3.5
    assert "/a/front/perception_node: ood front/state" not in series
    assert plotjuggler_series("/stop", Bool(data=True)) == {"/stop/data": 1.0}
