"""Passes velocity commands from cmd_vel_in to cmd_vel_out by the decision: Twist or TwistStamped."""

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
from ..core.velocity_gate import GatedVelocity, GateReason, VelocityGate
from ..wording import gate_sentence
from .conversions import status

_TYPES = {"twist": Twist, "twist_stamped": TwistStamped}


class VelocityGateOutput:
    """Passes each command at once by the present decision; ``hold`` publishes zero while nothing may pass.

    If this process ends, cmd_vel_out falls silent: its subscriber needs a timeout of its own.

    Args:
        node: owns the topics.
        settings: message type, scale and timeout.
        decide: gives the decision at a steady time (ns). It is called for every command, so that an alarm that fell
            silent stops the next one.
    """

    def __init__(self, node: Node, settings: OutputSettings, decide: Callable[[int], Decision]) -> None:
        self._node, self._decide = node, decide
        self._gate = VelocityGate(settings)
        self._is_stamped = settings.gate_cmd_vel == "twist_stamped"
        self._frame_id = ""
        self._last = self._gate.release(FallbackMode.STOP, time.monotonic_ns())
        message_type = _TYPES[settings.gate_cmd_vel]
        # Best effort accepts every publisher; only the newest command counts.
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST)
        reliable = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST)
        self._publisher = node.create_publisher(message_type, "cmd_vel_out", reliable)
        self._subscription = node.create_subscription(message_type, "cmd_vel_in", self._on_command, newest)

    @property
    def topic_name(self) -> str:
        """Resolved name of the topic that carries the gated command."""
        return str(self._publisher.topic_name)

    def hold(self, mode: FallbackMode, now_ns: int) -> None:
        """Publish zero while nothing may pass; must be called on every tick and at every new stop."""
        gated = self._release(mode, now_ns)
        if gated.is_closed:
            self._publisher.publish(self._message(gated, None))

    def status(self, node_name: str) -> DiagnosticStatus:
        """What the gate did last. WARN only for a command that is not finite: SLOW and STOP have a status of their own."""
        return status(
            DiagnosticStatus.WARN if self._last.reason is GateReason.NOT_FINITE else DiagnosticStatus.OK,
            f"{node_name}: cmd_vel gate",
            "cmd_vel",
            gate_sentence(self._last),
            {"closed": self._last.is_closed},
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
        if gated.reason is GateReason.NOT_FINITE:
            self._node.get_logger().error(gate_sentence(gated), throttle_duration_sec=1.0)
        self._last = gated
        return gated

    def _message(self, gated: GatedVelocity, command: Any) -> Any:
        """The gated velocity with the command's header; a zero of the closed gate is stamped now, not to look old."""
        x, y, z, roll, pitch, yaw = gated.velocity
        twist = Twist(linear=Vector3(x=x, y=y, z=z), angular=Vector3(x=roll, y=pitch, z=yaw))
        if not self._is_stamped:
            return twist
        if gated.is_closed:
            return TwistStamped(
                header=Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._frame_id), twist=twist
            )
        return TwistStamped(header=command.header, twist=twist)
