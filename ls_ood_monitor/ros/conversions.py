"""Converts between ROS messages and the monitor's types. Only standard messages; a malformed alarm never raises."""

from __future__ import annotations

import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan, nan
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ..core.causes import JUDGED, AlarmProgress, Cause, CauseKind, ProgressGoal
from ..core.supervision import CameraStatus, root_cause
from ..core.types import Alarm, AlarmState, Decision, FallbackMode
from ..wording import sentence

#: Camera of an alarm whose own camera cannot be read; no real camera can have this name.
UNREADABLE_CAMERA = "(unreadable alarm)"

STATE_LEVELS = {
    AlarmState.CLEAR: DiagnosticStatus.OK,
    AlarmState.PENDING: DiagnosticStatus.WARN,
    AlarmState.RAISED: DiagnosticStatus.ERROR,
}
_MODE_LEVELS = {
    FallbackMode.NOMINAL: DiagnosticStatus.OK,
    FallbackMode.SLOW: DiagnosticStatus.WARN,
    FallbackMode.STOP: DiagnosticStatus.ERROR,
}
#: Causes whose value is the alarm's score and whose limit is its threshold.
_FRAME_JUDGED = (CauseKind.IN_DISTRIBUTION, CauseKind.SUDDEN)
#: Alarms in a message, of which perception sends one; more than any vehicle has cameras.
_MAX_ALARMS = 100
#: The last time that builtin_interfaces/Time can hold.
_LATEST_NS = (2**31 - 1) * 1_000_000_000 + 999_999_999


def stamp_to_ns(stamp: Any) -> int:
    """builtin_interfaces/Time -> nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def ns_to_stamp(nanoseconds: int) -> Time:
    """Nanoseconds -> builtin_interfaces/Time, clamped to its range."""
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
    """A DiagnosticStatus with the values as texts; a float is written with all its digits."""
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

    The status text is for people; the values hold the same facts for programs, and ``extra`` ones (detector, latency_ms, ...).
    """
    kind = alarm.cause.kind
    values = {
        "camera": alarm.camera,
        "state": alarm.state.value,
        "ood_score": alarm.score,
        "threshold": alarm.threshold,
        "is_fault": kind.is_fault,
        "fault": kind.value if kind.is_fault else "",
        **_cause_values(alarm.cause),
        "source": alarm.source,
        "sent_ns": alarm.sent_ns,
        **_lasting_values(alarm),
        **extra,
    }
    text = sentence(alarm.cause)
    entry = status(STATE_LEVELS[alarm.state], f"{node_name}: ood {alarm.camera}", alarm.camera, text, values)
    return DiagnosticArray(header=Header(stamp=ns_to_stamp(alarm.stamp_ns), frame_id=frame_id), status=[entry])


def _lasting_values(alarm: Alarm) -> dict[str, object]:
    """Median score and its threshold; nothing where there is no lasting path."""
    if isnan(alarm.lasting_threshold):
        return {}
    return {"lasting_score": float(alarm.lasting_score), "lasting_threshold": float(alarm.lasting_threshold)}


def _cause_values(cause: Cause) -> dict[str, object]:
    """Values of a cause, without unknown ones, and without score and threshold, which the alarm already has."""
    values: dict[str, object] = {"cause": cause.kind.value, **_cause_details(cause, "cause")}
    if cause.progress is not None:
        progress = cause.progress
        values |= {
            "progress_rule": progress.goal.value,
            "progress_count": progress.count,
            "progress_needed": progress.needed,
        }
    if cause.underlying is not None:
        values |= {"raised_by": cause.underlying.kind.value, **_cause_details(cause.underlying, "raised_by")}
        if cause.underlying.kind in _FRAME_JUDGED:
            values |= {"raised_by_value": cause.underlying.value, "raised_by_limit": cause.underlying.limit}
    return values


def _cause_details(cause: Cause, prefix: str) -> dict[str, object]:
    details: dict[str, object] = {}
    if cause.kind not in _FRAME_JUDGED:
        numbers = {"value": float(cause.value), "limit": float(cause.limit)}
        details |= {f"{prefix}_{name}": number for name, number in numbers.items() if not isnan(number)}
    texts = {"detail": cause.detail, "expected": cause.expected}
    return details | {f"{prefix}_{name}": text for name, text in texts.items() if text}


def values_of(entry: DiagnosticStatus) -> dict[str, str]:
    """Key-value pairs of a status."""
    return {pair.key: pair.value for pair in entry.values}


def alarms_of(message: DiagnosticArray) -> list[Alarm]:
    """Read the alarms of a message. One that is unreadable or contradicts itself becomes a RAISED fault with the reason."""
    stamp_ns = stamp_to_ns(message.header.stamp)
    if not message.status:
        return [_unreadable(UNREADABLE_CAMERA, stamp_ns, "the message holds no status")]
    if len(message.status) > _MAX_ALARMS:  # reading them would keep the stop command waiting
        return [_unreadable(UNREADABLE_CAMERA, stamp_ns, f"the message holds {len(message.status)} statuses")]
    return [_alarm_of(entry, stamp_ns) for entry in message.status]


def _alarm_of(entry: DiagnosticStatus, stamp_ns: int) -> Alarm:
    values = values_of(entry)
    camera = values.get("camera", "")
    if not camera or camera != entry.hardware_id:
        return _unreadable(
            UNREADABLE_CAMERA, stamp_ns, f"camera {camera!r} and hardware_id {entry.hardware_id!r} must be equal"
        )
    try:
        state = AlarmState(values["state"])
        score, threshold = float(values["ood_score"]), float(values["threshold"])
        median, limit = (float(values[key]) if key in values else nan for key in ("lasting_score", "lasting_threshold"))
        is_fault = {"true": True, "false": False}[values["is_fault"]]
        sent_ns = int(values.get("sent_ns", "0"))
        cause = _cause_of(values, camera, score, threshold, is_fault, entry.message)
    except (KeyError, ValueError) as error:
        return _unreadable(camera, stamp_ns, f"a value is missing or unreadable ({error!r})")
    if entry.level != STATE_LEVELS[state]:
        return _unreadable(camera, stamp_ns, f"level {entry.level!r} contradicts state {state.value}")
    if cause.kind.is_fault is not is_fault:
        return _unreadable(camera, stamp_ns, f"cause {cause.kind.value} contradicts is_fault {values['is_fault']}")
    if state is AlarmState.CLEAR and not score <= threshold:
        return _unreadable(camera, stamp_ns, f"state CLEAR contradicts score {score:g} against threshold {threshold:g}")
    if state is AlarmState.CLEAR and median > limit:
        return _unreadable(
            camera, stamp_ns, f"state CLEAR contradicts median score {median:g} against threshold {limit:g}"
        )
    return Alarm(camera, stamp_ns, state, score, threshold, cause, values.get("source", ""), sent_ns, median, limit)


def _cause_of(
    values: Mapping[str, str], camera: str, score: float, threshold: float, is_fault: bool, text: str
) -> Cause:
    """The cause of an alarm. Of a sender that names none only the text is known. Raises ``ValueError``, ``KeyError``."""
    if "cause" not in values:
        if is_fault:
            return Cause(CauseKind.UNNAMED, detail=text)
        kind = CauseKind.SUDDEN if score > threshold else CauseKind.IN_DISTRIBUTION
        return Cause(kind, camera, score, threshold)
    kind, progress, after = _alarm_kind(values["cause"]), None, None
    if "progress_rule" in values:
        count, needed = float(values["progress_count"]), float(values["progress_needed"])
        progress = AlarmProgress(ProgressGoal(values["progress_rule"]), count, needed)
    if "raised_by" in values:
        after = _plain_cause(values, "raised_by", _alarm_kind(values["raised_by"]))
    plain = _plain_cause(values, "cause", kind)
    if kind in _FRAME_JUDGED:
        plain = replace(plain, value=score, limit=threshold)
    return replace(plain, camera=camera, progress=progress, underlying=after)


def _alarm_kind(name: str) -> CauseKind:
    """The kind of an alarm's cause. Raises ``ValueError`` for one that only a supervisor's decision has."""
    kind = CauseKind(name)
    if kind not in JUDGED and not kind.is_fault:
        raise ValueError(f"{name} is the cause of a decision, not of an alarm")
    return kind


def _plain_cause(values: Mapping[str, str], prefix: str, kind: CauseKind) -> Cause:
    value, limit = float(values.get(f"{prefix}_value", "nan")), float(values.get(f"{prefix}_limit", "nan"))
    detail, expected = values.get(f"{prefix}_detail", ""), values.get(f"{prefix}_expected", "")
    return Cause(kind, "", value, limit, detail, expected)


def _unreadable(camera: str, stamp_ns: int, why: str) -> Alarm:
    return Alarm(camera, stamp_ns, AlarmState.RAISED, nan, nan, Cause(CauseKind.UNREADABLE_ALARM, camera, detail=why))


def decision_message(
    decision: Decision,
    cameras: Sequence[CameraStatus],
    now_ns: int,
    stamp: Time,
    node_name: str,
    notes: Sequence[str] = (),
) -> DiagnosticArray:
    """The decision, then the demand of each camera. Notes are appended to the decision's text and raise OK to WARN."""
    reason = sentence(decision.cause)
    level = _MODE_LEVELS[decision.mode]
    first = status(
        max(level, DiagnosticStatus.WARN) if notes else level,
        f"{node_name}: decision",
        "vehicle",
        "; ".join((reason, *notes)),
        {
            "mode": decision.mode.name,
            "stop": decision.mode is FallbackMode.STOP,
            "reason": reason,
            **_decision_cause(decision.cause),
            "in_mode_s": round((now_ns - decision.since_ns) / 1e9, 3),
        },
    )
    rest = [
        status(
            DiagnosticStatus.STALE if entry.age_s is None else _MODE_LEVELS[entry.mode],
            f"{node_name}: {entry.camera}",
            entry.camera,
            sentence(entry.cause),
            {
                "mode": entry.mode.name,
                **_decision_cause(entry.cause),
                "age_s": float("nan") if entry.age_s is None else round(entry.age_s, 3),
            },
        )
        for entry in cameras
    ]
    return DiagnosticArray(header=Header(stamp=stamp), status=[first, *rest])


def _decision_cause(cause: Cause) -> dict[str, object]:
    """``cause`` is the present cause; ``because`` is the original one, such as the alarm that latched a stop."""
    root = root_cause(cause)
    numbers = {"because_value": float(root.value), "because_limit": float(root.limit)}
    return {
        "cause": cause.kind.value,
        "because": root.kind.value,
        "because_camera": root.camera,
        **{name: number for name, number in numbers.items() if not isnan(number)},
    }


def float_value(values: Mapping[str, str], key: str) -> float:
    """A value as float; NaN if it is missing or not a number."""
    try:
        return float(values[key])
    except (KeyError, ValueError):
        return float("nan")
