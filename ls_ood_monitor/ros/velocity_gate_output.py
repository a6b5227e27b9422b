"""cmd_vel_in -> cmd_vel_out, gated by the decision: Twist or TwistStamped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Twist, TwistStamped, Vector3
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header

from ..config import OutputSettings
from ..core.types import Decision, FallbackMode
from ..core.velocity_gate import GatedVelocity, VelocityGate
from .conversions import status

_TYPES = {"twist": Twist, "twist_stamped": TwistStamped}


class VelocityGateOutput:
    """Passes each command at once, by the decision of that moment; ``hold`` publishes zero while nothing may pass.

    A gate that ends with its process is silent: what follows it needs a timeout of its own.

    Args:
        node: owns the topics.
        settings: message type, scale and timeout.
        decide: the decision at a steady time (ns), asked anew for every command: an alarm that fell silent must stop
            the very next one.
    """

    def __init__(self, node: Node, settings: OutputSettings, decide: Callable[[int], Decision]) -> None:
        self._node, self._decide = node, decide
        self._gate = VelocityGate(settings)
        self._is_stamped = settings.gate_cmd_vel == "twist_stamped"
        self._frame_id = ""
        self._now = self._gate.release(FallbackMode.STOP, time.monotonic_ns())
        kind = _TYPES[settings.gate_cmd_vel]
        # Best effort hears every kind of publisher; depth 1, for only the newest command means anything.
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST)
        reliable = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST)
        self._publisher = node.create_publisher(kind, "cmd_vel_out", reliable)
        self._subscription = node.create_subscription(kind, "cmd_vel_in", self._on_command, newest)

    @property
    def topic_name(self) -> str:
        """Resolved name of the topic that carries the gated command."""
        return str(self._publisher.topic_name)

    def hold(self, mode: FallbackMode, now_ns: int) -> None:
        """Publish zero while nothing may pass; to be called on every tick and at every new stop."""
        gated = self._release(mode, now_ns)
        if gated.is_closed:
            self._publisher.publish(self._message(gated, None))

    def status(self, node_name: str) -> DiagnosticStatus:
        """What the gate did last. WARN only for a command that is no number: SLOW and STOP have a status of their own."""
        return status(
            DiagnosticStatus.WARN if self._now.is_fault else DiagnosticStatus.OK,
            f"{node_name}: cmd_vel gate",
            "cmd_vel",
            self._now.reason or "commands pass",
            {"closed": self._now.is_closed},
        )

    def _on_command(self, message: Any) -> None:
        now_ns = time.monotonic_ns()
        twist = message.twist if self._is_stamped else message
        if self._is_stamped:
            self._frame_id = message.header.frame_id
        self._gate.on_command([getattr(part, axis) for part in (twist.linear, twist.angular) for axis in "xyz"], now_ns)
        self._publisher.publish(self._message(self._release(self._decide(now_ns).mode, now_ns), message))

    def _release(self, mode: FallbackMode, now_ns: int) -> GatedVelocity:
        gated = self._gate.release(mode, now_ns)
        if gated.is_fault:
            self._node.get_logger().error(gated.reason, throttle_duration_sec=1.0)
        self._now = gated
        return gated

    def _message(self, gated: GatedVelocity, command: Any) -> Any:
        """The gated velocity in the command's header; a zero of our own gets a stamp of its own, lest it look old."""
        x, y, z, roll, pitch, yaw = gated.velocity
        twist = Twist(linear=Vector3(x=x, y=y, z=z), angular=Vector3(x=roll, y=pitch, z=yaw))
        if not self._is_stamped:
            return twist
        if gated.is_closed:
            return TwistStamped(
                header=Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._frame_id), twist=twist
            )
        return TwistStamped(header=command.header, twist=twist)
