"""Judged images in columns: what was put in comes out, but for the pictures."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode, Frame, FrameResult
from ls_ood_monitor.evaluation.judged_images import FrameRecord, JudgedImages, by_camera

PICTURE, MASK = np.ones((24, 32, 3), np.uint8), np.ones((24, 32), np.uint8)


def good(index: int) -> FrameRecord:
    """One that was judged, of two cameras in turn."""
    camera = ("front", "left")[index % 2]
    state = tuple(AlarmState)[index % 3]
    alarm = Alarm(camera, 10**18 + index, state, 0.1 * index, 2.0, f"größer than {index}")
    scores = {"larem": 0.1 * index, "multistage": 7.0}
    result = FrameResult(
        Frame(PICTURE, 10**18 + index, camera), 0.1 * index, 2.0, "larem", scores, segmentation=MASK, confidence=MASK
    )
    return FrameRecord(index / 10.0, alarm, FallbackMode(index % 3), result, 5.0 + index)


def bad(late: bool) -> FrameRecord:
    """One that could not be judged, or whose verdict came too late."""
    alarm = Alarm("front", 5, AlarmState.PENDING, np.nan, np.nan, "", True, "late" if late else "unreadable")
    return FrameRecord(9.9, alarm, FallbackMode.STOP, good(4).result if late else None, 3.0 if late else np.nan)


def test_what_is_kept_comes_out():
    """Every field that a table, a figure or a report reads, in order, by number and by part."""
    given = [*(good(index) for index in range(7)), bad(False), bad(True)]
    images = JudgedImages("larem", ["larem", "multistage"])
    for image in given:
        images.append(image)
    assert len(images) == len(list(images)) == 9
    for before, after in zip(given, images, strict=True):
        assert repr(after.alarm) == repr(before.alarm)  # NaN differs from itself
        assert (after.time_s, after.mode) == (before.time_s, before.mode)
        np.testing.assert_equal(after.latency_ms, before.latency_ms)
        assert (after.result is None) == (before.result is None)
        if before.result is not None:
            for name in ("score", "threshold", "detector", "scores"):
                assert getattr(after.result, name) == getattr(before.result, name)
    assert images[-1].alarm.fault == "late"
    assert [image.time_s for image in images[1:3]] == [0.1, 0.2]
    with pytest.raises(IndexError):
        images[9]


def test_each_camera_has_its_own_in_order():
    """As a list would choose them, by number, from behind and by part."""
    given = [good(index) for index in range(7)]
    images = JudgedImages("larem", ["larem", "multistage"])
    for image in given:
        images.append(image)
    parts = by_camera(images)
    assert list(parts) == ["front", "left"]
    for camera, part in parts.items():
        own = [image.time_s for image in given if image.alarm.camera == camera]
        assert [image.time_s for image in part] == own
        assert (len(part), part[-1].time_s) == (len(own), own[-1])
        assert [image.time_s for image in part[1:]] == own[1:]
    assert by_camera([]) == {}


def test_no_picture_is_kept():
    """The frames that were put in are let go."""
    images = JudgedImages("larem", ["larem", "multistage"])
    images.append(good(1))
    assert images[0].result.frame.image.size == 0
    assert images[0].result.segmentation.size == 0
