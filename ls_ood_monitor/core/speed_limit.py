"""The present fallback -> the speed limit that Nav2's controller is asked to keep."""

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
    # 0.0 is Nav2's word for "no limit", so it must never stand for STOP: there the limit of SLOW stays, and the
    # stop itself goes by ~/stop or by the gated velocity.
    return True, 0.0 if mode is FallbackMode.NOMINAL else slow_percent
