"""Fallback decision -> speed limit for Nav2's controller."""

from __future__ import annotations

from .types import FallbackMode


def speed_limit_of(mode: FallbackMode, slow_percent: float) -> tuple[bool, float]:
    """The fields of a nav2_msgs/SpeedLimit.

    Args:
        mode: the decision.
        slow_percent: limit in SLOW, percent of the controller's full speed, above 0.

    Returns:
        Whether the limit is a percentage (always), and the limit.
    """
    # Nav2 reads 0.0 as "no limit", so STOP must not send it: STOP keeps the limit of SLOW, and ~/stop or the velocity gate
    # stops the vehicle.
    return True, 0.0 if mode is FallbackMode.NOMINAL else slow_percent
