"""A clip that is judged again: its own account of the alarm against what the evaluation raises."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode
from ls_ood_monitor.evaluation.evidence_clip import compare_with_clip, read_clip
from ls_ood_monitor.evaluation.replay import FrameRecord
from ls_ood_monitor.evaluation.results import ClipComparison, to_plain

BUNDLE = "ab" * 32


def judged(stamp_ns: int, state: AlarmState, score: float = 3.5, fault: CauseKind | None = None) -> FrameRecord:
    """An image of the front camera, or a silence where the stamp is 0."""
    cause = Cause(fault or CauseKind.SUDDEN, "front", score, 2.0)
    alarm = Alarm("front", stamp_ns, state, np.nan if fault else score, 2.0, cause)
    return FrameRecord(stamp_ns / 10.0, alarm, FallbackMode.STOP, None)


#: Raised at stamp 3 by its score, and again at 6.
IMAGES = [
    judged(1, AlarmState.CLEAR, 1.0),
    judged(2, AlarmState.PENDING),
    judged(3, AlarmState.RAISED),
    judged(4, AlarmState.RAISED, 9.0),
    judged(5, AlarmState.CLEAR, 1.0),
    judged(6, AlarmState.RAISED, fault=CauseKind.BLACK),
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
def test_an_alarm_is_the_same_at_the_same_stamp_by_the_same_score(tables_of, alarm, raised_again, same):
    """Of a fault by its name; of a silent camera, which has no stamp, whenever it is raised."""
    alarms = tables_of(IMAGES, [judged(0, AlarmState.RAISED, fault=CauseKind.STALE)]).alarms
    clip = compare_with_clip({"raised": [alarm], "bundle_sha256": BUNDLE}, alarms, BUNDLE)
    (compared,) = clip.alarms
    assert (compared.raised_again, compared.same) == (raised_again, same)
    assert clip.same_bundle
    json.dumps(to_plain(clip), allow_nan=False)


def test_another_bundle_is_named(tables_of):
    """And what is no alarm in the account is passed over."""
    clip = compare_with_clip({"raised": ["nonsense", {}], "bundle_sha256": "cd"}, tables_of(IMAGES).alarms, BUNDLE)
    assert clip == ClipComparison((), "cd", False)


def test_a_clip_is_known_by_its_account(tmp_path):
    """Its folder or its bag file is given; a folder without one, or with a broken one, is a recording like any other."""
    assert read_clip(tmp_path) is None
    for text in ("{", "[]", '{"writer": "somebody"}'):
        (tmp_path / "clip.json").write_text(text)
        assert read_clip(tmp_path) is None
    (tmp_path / "clip.json").write_text(json.dumps({"raised": []}))
    (tmp_path / "clip.mcap").touch()
    assert read_clip(tmp_path) == read_clip(tmp_path / "clip.mcap") == {"raised": []}
