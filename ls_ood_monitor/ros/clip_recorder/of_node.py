"""The recorder of a perception node: its topics, its parameters and its clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rclpy.node import Node

from ... import __version__
from ...config import PerceptionNodeSettings
from ...monitor import OodMonitor
from ..camera_channel import CameraChannel
from .items import CameraTopics
from .recorder import ClipRecorder


def record_evidence(
    node: Node,
    settings: PerceptionNodeSettings,
    parameters: Mapping[str, object],
    monitor: OodMonitor,
    channels: Mapping[str, CameraChannel],
    alarm_topic: str,
    source: str,
    dropped: Callable[[str], int],
) -> ClipRecorder:
    """Start to record clips.

    In a clip every camera has the topic that names it, whatever it was remapped to: so an evaluation finds its name.

    Args:
        node: perception.
        settings: of the node.
        parameters: all that are in force, by name.
        monitor: with its bundle.
        channels: of each camera.
        alarm_topic: fully resolved.
        source: name of the process in its alarms.
        dropped: frames of a camera for which there was no time, so far.
    """
    kind, suffix = ("Image", "") if settings.transport == "raw" else ("CompressedImage", "/compressed")
    topics = {
        name: CameraTopics(
            f"/{name}/image{suffix}",
            f"sensor_msgs/msg/{kind}",
            channel.score.topic_name,
            channel.overlay.topic_name,
            channel.anomaly_map.topic_name,
        )
        for name, channel in channels.items()
    }
    facts = {
        "node": node.get_fully_qualified_name(),
        "source": source,
        "version": __version__,
        "bundle_sha256": monitor.bundle_id,
        "detector": monitor.detector,
        "threshold": monitor.threshold,
        "parameters": {"/**/perception_node": {"ros__parameters": dict(parameters)}},
    }

    def log(sentence: str, is_warning: bool) -> None:
        if not node.context.ok():  # told to end while the last clip was finished
            return
        if is_warning:
            node.get_logger().warning(sentence)
        else:
            node.get_logger().info(sentence)

    return ClipRecorder(
        settings,
        facts,
        topics,
        alarm_topic,
        f"{node.get_fully_qualified_name()}/configuration",
        settings.overlay_alpha,
        lambda: int(node.get_clock().now().nanoseconds),
        dropped,
        log,
    )
