"""supervisor_node: consumes the alarm, commands the fallback, periodically. Starts without torch.

In: ``ood_alarm`` (DiagnosticArray). Out, every tick: ``~/stop`` (std_msgs/Bool, true = stop; the convention of
twist_mux locks) and ``~/state`` (DiagnosticArray, the decision first, then each camera). Service: ``~/reset``.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from ..config import SupervisorNodeSettings, SupervisorSettings
from ..core.supervision import Supervisor
from ..core.types import Decision, FallbackMode
from .conversions import alarms_of, decision_message
from .parameters import check_unknown, declare_settings, read_settings
from .runner import run_node


class SupervisorNode(Node):
    """Shell around ``core.supervision.Supervisor``; alive, and commanding STOP, from its first tick."""

    def __init__(self, **options: Any) -> None:
        super().__init__("supervisor_node", **options)
        declare_settings(self, SupervisorNodeSettings, read_only=True)
        declare_settings(self, SupervisorSettings, read_only=True)
        check_unknown(self, SupervisorNodeSettings, SupervisorSettings)
        settings = read_settings(self, SupervisorNodeSettings)
        self._policy = read_settings(self, SupervisorSettings)
        self._supervisor = Supervisor(self._policy, settings.cameras)
        self._last: Decision | None = None
        self._started_ns = time.monotonic_ns()
        reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self._stop = self.create_publisher(Bool, "~/stop", reliable)
        self._state = self.create_publisher(DiagnosticArray, "~/state", reliable)
        # Deep enough for a burst of all cameras: a lost alarm would read as silence.
        depth = QoSProfile(depth=max(10, 10 * len(settings.cameras)), reliability=ReliabilityPolicy.RELIABLE)
        self._alarms = self.create_subscription(DiagnosticArray, "ood_alarm", self._on_alarm, depth)
        self._reset = self.create_service(Trigger, "~/reset", self._on_reset)
        # A steady clock: the heartbeat must go on when simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(1.0 / settings.publish_rate_hz, self._tick, clock=steady)

    def _on_alarm(self, message: DiagnosticArray) -> None:
        now_ns = time.monotonic_ns()
        for alarm in alarms_of(message):
            self._supervisor.observe(alarm, now_ns)
        decision = self._supervisor.decide(now_ns)
        if decision.mode is FallbackMode.STOP and (self._last is None or self._last.mode is not FallbackMode.STOP):
            self._publish(decision, now_ns)  # a new stop does not wait for the next tick

    def _tick(self) -> None:
        now_ns = time.monotonic_ns()
        self._publish(self._supervisor.decide(now_ns), now_ns)

    def _publish(self, decision: Decision, now_ns: int) -> None:
        self._stop.publish(Bool(data=decision.mode is FallbackMode.STOP))
        self._state.publish(
            decision_message(
                decision,
                self._supervisor.statuses(now_ns),
                now_ns,
                self.get_clock().now().to_msg(),
                self.get_name(),
                self._notes(),
            )
        )
        if self._last is None or self._last.mode is not decision.mode:
            starting = self._last is None or (now_ns - self._started_ns) / 1e9 < self._policy.startup_grace_s
            text = f"{decision.mode.name}: {decision.reason}"
            if decision.mode is FallbackMode.NOMINAL or starting:
                self.get_logger().info(text)
            elif decision.mode is FallbackMode.SLOW:
                self.get_logger().warning(text)
            else:
                self.get_logger().error(text)
        self._last = decision

    def _notes(self) -> list[str]:
        publishers = self.count_publishers(self._alarms.topic_name)
        return [f"{publishers} nodes publish the alarm; only one may"] if publishers > 1 else []

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._supervisor.reset(time.monotonic_ns())
        self.get_logger().info(response.message)
        return response


def main(args: list[str] | None = None) -> None:
    """Entry point of the executable."""
    sys.exit(run_node(SupervisorNode, args))


if __name__ == "__main__":
    main()
