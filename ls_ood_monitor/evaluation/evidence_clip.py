"""A clip of the evidence recorder that is judged: was the alarm that it was written for raised again?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isclose
from pathlib import Path
from typing import Any

from ..core.types import Alarm, AlarmState
from .judged_images import FrameRecord

_FILE = "clip.json"
#: Scores of one machine differ by less: cameras that were judged as one batch by up to 2e-13 of the threshold.
_SAME = 1e-9


def read_clip(recording: Path) -> dict[str, Any] | None:
    """The account of a clip, by its folder or a bag file in it; None where the recording is no clip, or cannot tell."""
    path = (recording if recording.is_dir() else recording.parent) / _FILE
    try:
        account = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(account, dict) or not isinstance(account.get("raised"), list):
        return None
    return account


def compare_with_clip(
    account: Mapping[str, Any], images: Sequence[FrameRecord], silences: Sequence[FrameRecord], bundle_id: str
) -> dict[str, Any]:
    """Hold the alarms of a replay against those that the vehicle raised.

    Args:
        account: of the clip.
        images: of it, judged, in order.
        silences: alarms of silent cameras.
        bundle_id: that judged.

    Returns:
        ``alarms``, one for each in the clip: its camera, stamp, score and fault, ``raised_again`` at that stamp (of a
        silent camera, which has none, at any time), ``score_again``, ``fault_again``, and ``same`` where score or fault
        are; ``bundle_sha256`` of the clip, and whether it is the ``same_bundle``.
    """
    risen = _risen(images)
    silent = {one.alarm.camera: one.alarm for one in silences}
    alarms = []
    for one in account["raised"]:
        if not isinstance(one, dict) or not isinstance(one.get("stamp_ns"), int):
            continue
        camera, stamp_ns, score, fault = str(one.get("camera")), one["stamp_ns"], one.get("score"), one.get("fault", "")
        again = risen.get((camera, stamp_ns)) if stamp_ns else silent.get(camera)
        score_again = None if again is None or again.is_fault else again.score
        alarms.append(
            {
                "camera": camera,
                "stamp_ns": stamp_ns,
                "score": score,
                "fault": fault,
                "raised_again": again is not None,
                "score_again": score_again,
                "fault_again": "" if again is None else again.fault,
                "same": again is not None and again.fault == fault and _is_same(score, score_again),
            }
        )
    bundle = str(account.get("bundle_sha256", ""))
    return {"alarms": alarms, "bundle_sha256": bundle, "same_bundle": bundle == bundle_id}


def _risen(images: Sequence[FrameRecord]) -> dict[tuple[str, int], Alarm]:
    """Alarms at the images that raised them, by camera and stamp."""
    risen: dict[tuple[str, int], Alarm] = {}
    before: dict[str, AlarmState] = {}
    for image in images:
        alarm = image.alarm
        if alarm.state is AlarmState.RAISED and before.get(alarm.camera) is not AlarmState.RAISED:
            risen[alarm.camera, alarm.stamp_ns] = alarm
        before[alarm.camera] = alarm.state
    return risen


def _is_same(score: Any, again: float | None) -> bool:
    if not isinstance(score, (int, float)) or again is None:
        return score is again
    return isclose(score, again, rel_tol=_SAME, abs_tol=_SAME)
