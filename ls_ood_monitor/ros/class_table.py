"""Publishes the names of the segmentation's class ids, latched: late subscribers receive them, too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

try:  # not among the wheels on PyPI; a ROS distribution has it
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:
    LabelInfo = VisionClass = None

TABLE_TOPIC = "~/class_table"
LABEL_TOPIC = "~/label_info"
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def publish_class_table(node: Node, names: Sequence[str]) -> list[Any]:
    """Publish the class names (by id) once, as JSON and, where vision_msgs is installed, as LabelInfo.

    Returns:
        The publishers, which keep the table for late subscribers until they are destroyed.
    """
    table = node.create_publisher(String, TABLE_TOPIC, _LATCHED)
    classes = [{"id": index, "name": name} for index, name in enumerate(names)]
    table.publish(String(data=json.dumps({"classes": classes})))
    if LabelInfo is None:
        return [table]
    labels = node.create_publisher(LabelInfo, LABEL_TOPIC, _LATCHED)
    labels.publish(label_info(names, LabelInfo, VisionClass))
    return [table, labels]


def label_info(names: Sequence[str], message_type: Any, class_type: Any) -> Any:
    """vision_msgs/LabelInfo of these names, made from the given types; threshold 0, because every pixel has a class."""
    return message_type(
        class_map=[class_type(class_id=index, class_name=name) for index, name in enumerate(names)], threshold=0.0
    )
