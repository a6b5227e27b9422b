"""A clip that is judged again: its own account of the alarm against what the evaluation raises."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode
from ls_ood_monitor.evaluation.evidence_clip import compare_with_clip, read_clip
from ls_ood_monitor.evaluation.judged_images import FrameRecord

BUNDLE = "ab" * 32


def judged(stamp_ns: int, state: AlarmState, score: float = 3.5, **changes) -> FrameRecord:
    """An image of the front camera, or a silence where the stamp is 0."""
    alarm = replace(Alarm("front", stamp_ns, state, score, 2.0, "why"), **changes)
    return FrameRecord(stamp_ns / 10.0, alarm, FallbackMode.STOP, None, np.nan)


#: Raised at stamp 3 by its score, and again at 6.
IMAGES = [
    judged(1, AlarmState.CLEAR, 1.0),
    judged(2, AlarmState.PENDING),
    judged(3, AlarmState.RAISED),
    judged(4, AlarmState.RAISED, 9.0),
    judged(5, AlarmState.CLEAR, 1.0),
    judged(6, AlarmState.RAISED, np.nan, is_fault=True, fault="black"),
]


def said(stamp_ns: int, score: float | None, fault: str = "", camera: str = "front") -> dict:
    """An alarm in a clip's account."""
    return {"camera": camera, "stamp_ns": stamp_ns, "score": score, "fault": fault, "reason": "why"}


@pytest.mark.parametrize(
    ("alarm", "raised_again", "same"),
    [
        (said(3, 3.5), True, True),
        (said(3, 3.5 + 1e-15), True, True),
        (said(3, 3.5001), True, False),
        (said(4, 9.0), False, False),  # it was raised already
        (said(2, 3.5), False, False),
        (said(3, 3.5, camera="left"), False, False),
        (said(6, None, "black"), True, True),
        (said(6, None, "late"), True, False),
        (said(6, 3.5), True, False),
        (said(3, None, "black"), True, False),
        (said(0, None, "stale"), True, True),
        (said(0, None, "stale", "left"), False, False),
    ],
)
def test_an_alarm_is_the_same_at_the_same_stamp_by_the_same_score(alarm, raised_again, same):
    """Of a fault by its name; of a silent camera, which has no stamp, whenever it is raised."""
    silences = [judged(0, AlarmState.RAISED, np.nan, is_fault=True, fault="stale")]
    told = compare_with_clip({"raised": [alarm], "bundle_sha256": BUNDLE}, IMAGES, silences, BUNDLE)
    (one,) = told["alarms"]
    assert (one["raised_again"], one["same"]) == (raised_again, same)
    assert told["same_bundle"]
    json.dumps(told, allow_nan=False)


def test_another_bundle_is_told():
    """And what is no alarm in the account is passed over."""
    told = compare_with_clip({"raised": ["nonsense", {}], "bundle_sha256": "cd"}, IMAGES, [], BUNDLE)
    assert told == {"alarms": [], "bundle_sha256": "cd", "same_bundle": False}


def test_a_clip_is_known_by_its_account(tmp_path):
    """Its folder or its bag file is given; a folder without one, or with a broken one, is a recording like any other."""
    assert read_clip(tmp_path) is None
    for text in ("{", "[]", '{"writer": "somebody"}'):
        (tmp_path / "clip.json").write_text(text)
        assert read_clip(tmp_path) is None
    (tmp_path / "clip.json").write_text(json.dumps({"raised": []}))
    (tmp_path / "clip.mcap").touch()
    assert read_clip(tmp_path) == read_clip(tmp_path / "clip.mcap") == {"raised": []}
