"""rviz_status: shows the decision and each camera's alarm as texts in RViz, which cannot display diagnostics.

Out: ``~/markers`` (visualization_msgs/MarkerArray, four times a second). The texts stand above one another in the frame
``frame_id``, RViz's fixed frame, so that no transform is needed. They vanish when this node ends. RViz keeps showing the last
picture of a camera that fell silent; the texts state the silence.
"""

from __future__ import annotations

import sys
import textwrap
from typing import Any

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # defined there in humble, imported later
from rclpy.duration import Duration
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import ColorRGBA

from ..core.types import AlarmState, FallbackMode
from ..errors import ConfigError
from .live_status import CameraView, LiveStatus, LiveView
from .runner import run_node

_PERIOD_S, _LIFETIME_S = 0.25, 1.0
#: Height of the lowest text, of a line and of a letter, metres in RViz's frame.
_LOWEST_M, _LINE_M, _LETTER_M = 0.8, 0.42, 0.27
#: Letters a line; longer lines would leave the view of ``monitor.rviz``.
_WIDTH = 40

_GREEN, _YELLOW, _RED, _GREY = (0.3, 0.9, 0.4), (1.0, 0.85, 0.2), (1.0, 0.35, 0.3), (0.7, 0.7, 0.7)
_ALARMS = {AlarmState.CLEAR: _GREEN, AlarmState.PENDING: _YELLOW, AlarmState.RAISED: _RED}
_MODES = {FallbackMode.NOMINAL: _GREEN, FallbackMode.SLOW: _YELLOW, FallbackMode.STOP: _RED}

Line = tuple[str, str, tuple[float, float, float]]


def marker_types() -> tuple[type[Any], type[Any]]:
    """Marker and MarkerArray of visualization_msgs, which come with RViz.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from visualization_msgs.msg import Marker, MarkerArray
    except ImportError as error:
        raise ConfigError(
            "visualization_msgs is not installed, so RViz cannot show any text; install it with your ROS distribution "
            "(ros-<distro>-visualization-msgs), or pip install ros-visualization-msgs."
        ) from error
    return Marker, MarkerArray


def lines_of(view: LiveView) -> list[Line]:
    """Namespace, text and colour (red, green, blue in 0 to 1) of each text, from the top: the decision, then the cameras."""
    return [_decision(view), *(_camera(camera) for camera in view.cameras)]


def _decision(view: LiveView) -> Line:
    decision = view.decision
    if decision is None:
        return "decision", "no decision received yet", _GREY
    if view.is_supervisor_silent:
        text = f"supervisor silent for {view.decision_s:.1f} s, its last decision was {decision.mode.name}"
        return "decision", text, _RED
    return "decision", f"{decision.mode.name}: {decision.reason}", _MODES[decision.mode]


def _camera(camera: CameraView) -> Line:
    alarm = camera.alarm
    if alarm is None:
        return camera.camera, f"{camera.camera}: no alarm received yet", _GREY
    if camera.is_silent:
        return camera.camera, f"{camera.camera}: no alarm for {camera.heard_s:.1f} s", _RED
    detail = alarm.fault or f"score {alarm.ratio:.2f} x threshold"
    return camera.camera, f"{camera.camera}: {alarm.state.value}, {detail}", _ALARMS[alarm.state]


class RvizStatus(LiveStatus):
    """Listens to both nodes and publishes their state as markers."""

    def __init__(self, **options: Any) -> None:
        self._marker, self._array = marker_types()
        super().__init__(None, "rviz_status", **options)
        self._frame_id = str(self.declare_parameter("frame_id", "base_link").value)
        reliable = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
        self._markers = self.create_publisher(self._array, "~/markers", reliable)
        # A steady clock: the texts must stay while a recording is paused.
        self._timer = self.create_timer(_PERIOD_S, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _publish(self) -> None:
        markers, height_m = [], _LOWEST_M
        for namespace, text, colour in reversed(lines_of(self.view())):
            rows = textwrap.wrap(text, _WIDTH)
            middle_m = height_m + _LINE_M * (len(rows) - 1) / 2
            markers.append(self._text(namespace, "\n".join(rows), colour, middle_m))
            height_m += _LINE_M * len(rows)
        self._markers.publish(self._array(markers=markers))

    def _text(self, namespace: str, text: str, colour: tuple[float, float, float], height_m: float) -> Any:
        red, green, blue = colour
        marker = self._marker(
            ns=namespace,
            id=0,
            type=self._marker.TEXT_VIEW_FACING,
            action=self._marker.ADD,
            text=text,
            color=ColorRGBA(r=red, g=green, b=blue, a=1.0),
            lifetime=Duration(seconds=_LIFETIME_S).to_msg(),
        )
        marker.header.frame_id = self._frame_id  # its stamp of 0 means: use the newest transform
        marker.pose.position.z = height_m
        marker.pose.orientation.w = 1.0
        marker.scale.z = _LETTER_M
        return marker


def main(args: list[str] | None = None) -> None:
    """Entry point of the executable."""
    sys.exit(run_node(RvizStatus, args))


if __name__ == "__main__":
    main()
