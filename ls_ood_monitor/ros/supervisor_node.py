"""supervisor_node: consumes the alarm, commands the fallback, periodically. Starts without torch.

In: ``ood_alarm`` (DiagnosticArray). Out, every tick: ``~/stop`` (std_msgs/Bool, true = stop; the convention of
twist_mux locks) and ``~/state`` (DiagnosticArray, the decision first, then each camera); the same state on
``/diagnostics`` once a second. If asked for: ``cmd_vel_in`` gated to ``cmd_vel_out``, and ``speed_limit`` for Nav2.
Service: ``~/reset``.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # where every distribution has it
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from ..config import OutputSettings, SupervisorNodeSettings, SupervisorSettings
from ..core.causes import Cause, CauseKind
from ..core.pipeline import SupervisorLoop
from ..core.supervision import Supervisor
from ..core.types import Decision, FallbackMode
from ..wording import sentence
from .conversions import alarms_of, decision_message
from .heartbeat import HeartbeatWatch
from .parameters import check_unknown, declare_settings, read_settings
from .runner import run_node
from .speed_limit_output import SPEED_LIMIT_TOPIC, SpeedLimitOutput, speed_limit_type
from .velocity_gate_output import VelocityGateOutput

#: Longest time that the end of the process waits for the delivery of its last command, seconds.
_FAREWELL_S = 0.2


class SupervisorNode(Node):
    """Shell around ``core.supervision.Supervisor``; alive, and commanding STOP, from its first tick."""

    def __init__(self, **options: Any) -> None:
        super().__init__("supervisor_node", **options)
        declare_settings(self, SupervisorNodeSettings, read_only=True)
        declare_settings(self, SupervisorSettings, read_only=True)
        declare_settings(self, OutputSettings, read_only=True)
        check_unknown(self, SupervisorNodeSettings, SupervisorSettings, OutputSettings)
        settings = read_settings(self, SupervisorNodeSettings)
        outputs = read_settings(self, OutputSettings)
        self._policy = read_settings(self, SupervisorSettings)
        self._supervisor = Supervisor(self._policy, settings.cameras)
        self._loop = SupervisorLoop(self._supervisor, self._publish)
        self._published: Decision | None = None
        self._warnings: list[str] = []
        self._started_ns = time.monotonic_ns()
        reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self._stop = self.create_publisher(Bool, "~/stop", reliable)
        self._state = self.create_publisher(DiagnosticArray, "~/state", reliable)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", reliable)
        self._gate = VelocityGateOutput(self, outputs, self._loop.decide) if outputs.gate_cmd_vel else None
        self._speed_limit: SpeedLimitOutput | None = None
        if outputs.nav2_speed_limit:
            kind = speed_limit_type()
            publish = self.create_publisher(kind, SPEED_LIMIT_TOPIC, reliable).publish
            self._speed_limit = SpeedLimitOutput(publish, kind, outputs.slow_speed_percent)
        # Deep enough for a burst of all cameras: a lost alarm would read as silence.
        depth = QoSProfile(depth=max(10, 10 * len(settings.cameras)), reliability=ReliabilityPolicy.RELIABLE)
        self._alarms = self.create_subscription(DiagnosticArray, "ood_alarm", self._on_alarm, depth)
        self._heartbeat = HeartbeatWatch(
            self, self._alarms.topic_name, settings.alarm_lease_s, self._on_lost, self._on_late
        )
        self._reset = self.create_service(Trigger, "~/reset", self._on_reset)
        # A steady clock: the heartbeat must go on when simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(1.0 / settings.publish_rate_hz, self._tick, clock=steady)
        self._diagnostics_timer = self.create_timer(1.0, self._diagnose, clock=steady)

    def command_last_stop(self) -> None:
        """Publish STOP as the last command, and wait for its delivery: silence may follow."""
        now_ns = time.monotonic_ns()
        self._publish(Decision(FallbackMode.STOP, Cause(CauseKind.SUPERVISOR_ENDS), now_ns), now_ns)
        for publisher in (self._stop, self._state):
            publisher.wait_for_all_acked(Duration(seconds=_FAREWELL_S))

    def _on_alarm(self, message: DiagnosticArray) -> None:
        self._loop.observe(alarms_of(message), time.monotonic_ns())

    def _on_lost(self) -> None:
        self._loop.forget_alarms(Cause(CauseKind.SENDER_LOST), time.monotonic_ns())

    def _on_late(self, missed: int) -> None:
        text = f"perception's sign of life missed its deadline (DDS), {missed} times so far"
        self.get_logger().warning(text)

    def _tick(self) -> None:
        self._loop.tick(time.monotonic_ns())

    def _diagnose(self) -> None:
        now_ns = time.monotonic_ns()
        self._diagnostics.publish(self._state_of(self._loop.decide(now_ns), now_ns))
        if self._speed_limit is not None:
            self._speed_limit.repeat(self.get_clock().now().to_msg())

    def _state_of(self, decision: Decision, now_ns: int) -> DiagnosticArray:
        message = decision_message(
            decision,
            self._supervisor.statuses(now_ns),
            now_ns,
            self.get_clock().now().to_msg(),
            self.get_name(),
            self._other_publishers(),
        )
        if self._gate is not None:
            message.status = [*message.status, self._gate.status(self.get_name())]
        return message

    def _publish(self, decision: Decision, now_ns: int) -> None:
        self._stop.publish(Bool(data=decision.mode is FallbackMode.STOP))
        if self._gate is not None:
            self._gate.hold(decision.mode, now_ns)
        if self._speed_limit is not None:
            self._speed_limit.update(decision.mode, self.get_clock().now().to_msg())
        self._state.publish(self._state_of(decision, now_ns))
        before = self._published
        if before is None or before.mode is not decision.mode:
            starting = before is None or (now_ns - self._started_ns) / 1e9 < self._policy.startup_grace_s
            text = f"{decision.mode.name}: {sentence(decision.cause)}"
            if decision.mode is FallbackMode.NOMINAL or starting:
                self.get_logger().info(text)
            elif decision.mode is FallbackMode.SLOW:
                self.get_logger().warning(text)
            else:
                self.get_logger().error(text)
        self._published = decision

    def _other_publishers(self) -> list[str]:
        """Who else publishes what only one node may: a second voice can drown the stop, or the alarm that causes it."""
        count = self.count_publishers(self._alarms.topic_name)
        warnings = [f"{count} nodes publish the alarm; only one may"] if count > 1 else []
        own = [self._stop.topic_name, self._state.topic_name, *([self._gate.topic_name] if self._gate else [])]
        for topic in own:
            count = self.count_publishers(topic)
            if count > 1:
                warnings.append(f"{count} nodes publish {topic}; only this one may")
        if warnings != self._warnings:
            self._warnings = warnings
            for warning in warnings:
                self.get_logger().warning(warning)
        return warnings

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        cause = self._supervisor.reset(time.monotonic_ns())
        response.success = cause is None
        response.message = (
            "reset; no camera calls for a stop" if cause is None else f"refused, the cause persists: {sentence(cause)}"
        )
        self.get_logger().info(response.message)
        return response


def main(args: list[str] | None = None) -> None:
    """Entry point of the executable."""
    sys.exit(run_node(SupervisorNode, args, SupervisorNode.command_last_stop))


if __name__ == "__main__":
    main()
