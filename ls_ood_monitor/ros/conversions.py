"""Messages <-> the monitor's nouns. Only standard message types; nothing here raises on a malformed alarm."""

from __future__ import annotations

import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ..core.supervision import CameraStatus
from ..core.types import Alarm, AlarmState, Decision, FallbackMode

#: Name under which an alarm without a readable camera travels; no camera can be called so.
UNREADABLE = "(unreadable alarm)"

_LEVELS = {
    AlarmState.CLEAR: DiagnosticStatus.OK,
    AlarmState.PENDING: DiagnosticStatus.WARN,
    AlarmState.RAISED: DiagnosticStatus.ERROR,
}
_MODE_LEVELS = {
    FallbackMode.NOMINAL: DiagnosticStatus.OK,
    FallbackMode.SLOW: DiagnosticStatus.WARN,
    FallbackMode.STOP: DiagnosticStatus.ERROR,
}


#: Alarms in a message, of which perception sends one; more than any vehicle has cameras.
_MAX_ALARMS = 100
#: The last time that builtin_interfaces/Time can hold.
_LATEST_NS = (2**31 - 1) * 1_000_000_000 + 999_999_999


def stamp_to_ns(stamp: Any) -> int:
    """builtin_interfaces/Time -> nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def ns_to_stamp(nanoseconds: int) -> Time:
    """Nanoseconds -> builtin_interfaces/Time; a time outside its range becomes the nearest within."""
    seconds, rest = divmod(min(max(0, nanoseconds), _LATEST_NS), 1_000_000_000)
    return Time(sec=seconds, nanosec=rest)


def image_message(plane: NDArray[np.uint8], header: Header, encoding: str) -> Image:
    """(H, W) mono8 or (H, W, 3) bgr8 -> Image with the given header."""
    data = array.array("B")  # assigning an ndarray or bytes walks the elements in Python
    data.frombytes(np.ascontiguousarray(plane).data)
    message = Image(
        header=header,
        height=plane.shape[0],
        width=plane.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=plane[0].size,
    )
    message.data = data
    return message


def status(level: bytes, name: str, hardware_id: str, message: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """A DiagnosticStatus whose values are texts; floats are written so that they read back exactly."""
    return DiagnosticStatus(
        level=level,
        name=name,
        hardware_id=hardware_id,
        message=message,
        values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
    )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def alarm_message(alarm: Alarm, extra: Mapping[str, object], node_name: str, frame_id: str = "") -> DiagnosticArray:
    """One alarm as an array of one status, stamped with the time of capture.

    Args:
        alarm: what to say.
        extra: further values (detector, latency_ms, bundle_sha256, ...).
        node_name: prefix of the status name (REP 107).
        frame_id: copied into the header.
    """
    values = {
        "camera": alarm.camera,
        "state": alarm.state.value,
        "ood_score": alarm.score,
        "threshold": alarm.threshold,
        "is_fault": alarm.is_fault,
        "fault": alarm.fault,
        "source": alarm.source,
        "sent_ns": alarm.sent_ns,
        **extra,
    }
    one = status(_LEVELS[alarm.state], f"{node_name}: ood {alarm.camera}", alarm.camera, alarm.reason, values)
    return DiagnosticArray(header=Header(stamp=ns_to_stamp(alarm.stamp_ns), frame_id=frame_id), status=[one])


def values_of(one: DiagnosticStatus) -> dict[str, str]:
    """Key-value pairs of a status."""
    return {pair.key: pair.value for pair in one.values}


def alarms_of(message: DiagnosticArray) -> list[Alarm]:
    """Read the alarms of a message. What cannot be read or contradicts itself becomes a RAISED fault with the reason."""
    stamp_ns = stamp_to_ns(message.header.stamp)
    if not message.status:
        return [_unreadable(UNREADABLE, stamp_ns, "the message holds no status")]
    if len(message.status) > _MAX_ALARMS:  # reading them would keep the stop command waiting
        return [_unreadable(UNREADABLE, stamp_ns, f"the message holds {len(message.status)} statuses")]
    return [_alarm_of(one, stamp_ns) for one in message.status]


def judged_cameras(message: DiagnosticArray) -> list[str]:
    """Cameras of the alarms that the network has a say in: for each of them a score is published, too."""
    return [one.hardware_id for one in message.status if "detector" in values_of(one)]


def _alarm_of(one: DiagnosticStatus, stamp_ns: int) -> Alarm:
    values = values_of(one)
    camera = values.get("camera", "")
    if not camera or camera != one.hardware_id:
        return _unreadable(UNREADABLE, stamp_ns, f"camera {camera!r} and hardware_id {one.hardware_id!r} must be equal")
    try:
        state = AlarmState(values["state"])
        score, threshold = float(values["ood_score"]), float(values["threshold"])
        is_fault = {"true": True, "false": False}[values["is_fault"]]
        sent_ns = int(values.get("sent_ns", "0"))
    except (KeyError, ValueError) as error:
        return _unreadable(camera, stamp_ns, f"a value is missing or unreadable ({error!r})")
    if one.level != _LEVELS[state]:
        return _unreadable(camera, stamp_ns, f"level {one.level!r} contradicts state {state.value}")
    if state is AlarmState.CLEAR and not score <= threshold:
        return _unreadable(camera, stamp_ns, f"state CLEAR contradicts score {score:g} against threshold {threshold:g}")
    fault, source = values.get("fault", ""), values.get("source", "")
    return Alarm(camera, stamp_ns, state, score, threshold, one.message, is_fault, fault, source, sent_ns)


def _unreadable(camera: str, stamp_ns: int, why: str) -> Alarm:
    nan = float("nan")
    return Alarm(
        camera, stamp_ns, AlarmState.RAISED, nan, nan, f"camera {camera}: malformed alarm, {why}", is_fault=True
    )


def decision_message(
    decision: Decision,
    cameras: Sequence[CameraStatus],
    now_ns: int,
    stamp: Time,
    node_name: str,
    notes: Sequence[str] = (),
) -> DiagnosticArray:
    """The decision first, then the demand of each camera; notes are appended to the decision's text and make it WARN."""
    reason = "; ".join((decision.reason, *notes))
    level = _MODE_LEVELS[decision.mode]
    first = status(
        max(level, DiagnosticStatus.WARN) if notes else level,
        f"{node_name}: decision",
        "vehicle",
        reason,
        {
            "mode": decision.mode.name,
            "stop": decision.mode is FallbackMode.STOP,
            "reason": decision.reason,
            "in_mode_s": round((now_ns - decision.since_ns) / 1e9, 3),
        },
    )
    rest = [
        status(
            DiagnosticStatus.STALE if entry.age_s is None else _MODE_LEVELS[entry.mode],
            f"{node_name}: {entry.camera}",
            entry.camera,
            entry.reason,
            {"mode": entry.mode.name, "age_s": float("nan") if entry.age_s is None else round(entry.age_s, 3)},
        )
        for entry in cameras
    ]
    return DiagnosticArray(header=Header(stamp=stamp), status=[first, *rest])


def decision_of(message: DiagnosticArray) -> tuple[FallbackMode, str]:
    """Mode and reason of a ``~/state`` message; whatever is unreadable is STOP."""
    try:
        values = values_of(message.status[0])
        return FallbackMode[values["mode"]], values["reason"]
    except (IndexError, KeyError):
        return FallbackMode.STOP, "the state message is malformed"


def number_of(values: Mapping[str, str], key: str) -> float:
    """A value as float; NaN when it is missing or no number."""
    try:
        return float(values[key])
    except (KeyError, ValueError):
        return float("nan")
