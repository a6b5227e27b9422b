"""A clip of the evidence recorder that is judged: was the alarm that it was written for raised again?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isclose
from pathlib import Path
from typing import Any

import polars as pl

from ..core.types import AlarmState
from .results import ClipAlarm, ClipComparison

_FILE = "clip.json"
#: Scores of one machine differ by less: cameras that were judged as one batch by up to 2e-13 of the threshold.
_SAME = 1e-9


def read_clip(recording: Path) -> dict[str, Any] | None:
    """The account of a clip, by its folder or a bag file in it; None where the recording is no clip or it cannot be read."""
    path = (recording if recording.is_dir() else recording.parent) / _FILE
    try:
        account = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return account if isinstance(account, dict) and isinstance(account.get("raised"), list) else None


def compare_with_clip(account: Mapping[str, Any], alarms: pl.DataFrame, bundle_id: str) -> ClipComparison:
    """Hold the alarms of a replay (``ReplayTables.alarms``) under a bundle against those that the vehicle raised."""
    risen, silent = _risen(alarms)
    compared = []
    for raised in account["raised"]:
        if not isinstance(raised, dict) or not isinstance(raised.get("stamp_ns"), int):
            continue
        stamp_ns, score = raised["stamp_ns"], raised.get("score")
        camera, fault = str(raised.get("camera")), raised.get("fault", "")
        again = risen.get((camera, stamp_ns)) if stamp_ns else silent.get(camera)
        score_again, fault_again = again or (None, "")
        same = again is not None and fault_again == fault and _is_same(score, score_again)
        compared.append(ClipAlarm(camera, stamp_ns, score, fault, again is not None, score_again, fault_again, same))
    bundle = str(account.get("bundle_sha256", ""))
    return ClipComparison(tuple(compared), bundle, bundle == bundle_id)


#: Score, None where there is none, and name of the fault.
_Alarm = tuple[float | None, str]


def _risen(alarms: pl.DataFrame) -> tuple[dict[tuple[str, int], _Alarm], dict[str, _Alarm]]:
    """Alarms at the images that raised them, by camera and stamp; and of silent cameras the last, by camera."""
    was_raised = (pl.col("state").shift(1) == AlarmState.RAISED.value).fill_null(False).over("camera")
    score = pl.when(pl.col("fault").is_null()).then("score")
    fault = pl.col("fault").cast(pl.String).fill_null("")
    facts = ("camera", "stamp_ns", score, fault)
    images = alarms.filter("from_image").filter((pl.col("state") == AlarmState.RAISED.value) & ~was_raised)
    risen = {(camera, stamp): (value, name) for camera, stamp, value, name in images.select(facts).iter_rows()}
    others = alarms.filter(~pl.col("from_image")).select(facts)
    return risen, {camera: (value, name) for camera, _, value, name in others.iter_rows()}


def _is_same(score: Any, again: float | None) -> bool:
    if not isinstance(score, (int, float)) or again is None:
        return score is again
    return isclose(score, again, rel_tol=_SAME, abs_tol=_SAME)
