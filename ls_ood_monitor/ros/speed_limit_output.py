"""Publishes the decision as a nav2_msgs/SpeedLimit, by which a Nav2 controller slows down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from ..core.types import FallbackMode
from ..errors import ConfigError

SPEED_LIMIT_TOPIC = "speed_limit"


def speed_limit_type() -> type[Any]:
    """The class nav2_msgs/SpeedLimit, which only vehicles with Nav2 have.

    Raises:
        ConfigError: nav2_msgs is not installed.
    """
    try:
        from nav2_msgs.msg import SpeedLimit
    except ImportError as error:
        raise ConfigError(
            "nav2_speed_limit is true, but nav2_msgs is not installed; install it with your ROS distribution "
            "(ros-<distro>-nav2-msgs), or leave nav2_speed_limit false."
        ) from error
    return SpeedLimit  # type: ignore[no-any-return]


class SpeedLimitOutput:
    """Publishes the limit when it changes, and again on ``repeat`` while there is one.

    The end of a limit is published once: repeated, it would override other limits, such as that of Nav2's speed filter.
    ``slow_percent`` is the limit in SLOW and STOP, percent.
    """

    def __init__(self, publish: Callable[[Any], None], message_type: Callable[..., Any], slow_percent: float) -> None:
        self._publish, self._message_type, self._slow_percent = publish, message_type, slow_percent
        self._last: float | None = None

    def update(self, mode: FallbackMode, stamp: Time) -> None:
        """Publish if the decision asks for another limit than the last one."""
        # Nav2 reads 0.0 as "no limit", so STOP must not send it: STOP keeps the limit of SLOW, and ~/stop or the velocity gate
        # stops the vehicle.
        limit = 0.0 if mode is FallbackMode.NOMINAL else self._slow_percent
        if limit != self._last:
            self._last = limit
            self._send(limit, stamp)

    def repeat(self, stamp: Time) -> None:
        """Publish the present limit again, if there is one, for a controller that was started late."""
        if self._last:
            self._send(self._last, stamp)

    def _send(self, limit_percent: float, stamp: Time) -> None:
        self._publish(self._message_type(header=Header(stamp=stamp), percentage=True, speed_limit=limit_percent))
