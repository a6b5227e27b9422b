"""The class table: latched, as JSON and as LabelInfo."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from ls_ood_monitor.core.classes import CLASS_NAMES
from ls_ood_monitor.ros.class_table import LABEL_TOPIC, label_info, publish_class_table
from ls_ood_monitor.ros.processes import wait_until

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def test_label_info_says_the_same():
    """The same in the fields of vision_msgs, whose types stand-ins replace where they are not installed."""
    message = label_info(("void", "road"), SimpleNamespace, SimpleNamespace)
    assert [(entry.class_id, entry.class_name) for entry in message.class_map] == [(0, "void"), (1, "road")]
    assert message.threshold == 0.0


def test_who_subscribes_later_gets_it_until_it_is_destroyed(spin):
    """Transient local: the table waits for its readers, and is gone with its publishers."""
    source = spin(Node("source"))
    publishers = publish_class_table(source, CLASS_NAMES)
    reader, heard = spin(Node("reader")), []
    reader.create_subscription(String, "/source/class_table", heard.append, LATCHED)
    wait_until(lambda: heard, "the table published before the subscription")
    classes = json.loads(heard[0].data)["classes"]
    assert [(entry["id"], entry["name"]) for entry in classes] == list(enumerate(CLASS_NAMES))
    for publisher in publishers:
        source.destroy_publisher(publisher)
    wait_until(lambda: not reader.count_publishers("/source/class_table"), "the end of the table")


def test_label_info_is_latched_too(spin):
    """With vision_msgs, over DDS (skipped where it is not installed)."""
    kind = pytest.importorskip("vision_msgs.msg", reason="vision_msgs comes with a ROS distribution").LabelInfo
    publish_class_table(spin(Node("source")), CLASS_NAMES)
    reader, heard = spin(Node("reader")), []
    reader.create_subscription(kind, LABEL_TOPIC.replace("~", "/source"), heard.append, LATCHED)
    wait_until(lambda: heard, "the labels")
    assert heard[0].class_map[1].class_name == "road"
