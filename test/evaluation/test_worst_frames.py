"""Which frames a person gets to see."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode, Frame, FrameResult
from ls_ood_monitor.evaluation.judged_images import FrameRecord
from ls_ood_monitor.evaluation.worst_frames import WorstFrames


def image(time_s: float, score: float, camera: str = "front") -> FrameRecord:
    """A judged image, threshold 2."""
    picture, mask = np.zeros((24, 32, 3), np.uint8), np.zeros((24, 32), np.uint8)
    alarm = Alarm(camera, 1, AlarmState.CLEAR, score, 2.0, "")
    result = FrameResult(Frame(picture, 1, camera), score, 2.0, "larem", segmentation=mask, confidence=mask)
    return FrameRecord(time_s, alarm, FallbackMode.NOMINAL, result, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_strangest_are_kept_apart_in_time(seed):
    """Against a plain search: the best of all first, then the best that lies a second from it, and so on."""
    random = np.random.default_rng(seed)
    scores = random.permutation(60) / 10.0
    worst = WorstFrames(count=3, apart_s=1.0)
    for index, score in enumerate(scores):
        worst.add(image(index * 0.1, float(score)))
    assert worst.frames[0].ratio == pytest.approx(scores.max() / 2.0)
    assert [frame.ratio for frame in worst.frames] == sorted((frame.ratio for frame in worst.frames), reverse=True)
    times = sorted(frame.time_s for frame in worst.frames)
    assert len(times) == 3
    assert min(np.diff(times)) >= 1.0 - 1e-9


def test_cameras_are_apart_and_what_was_not_judged_is_left_out():
    """Two cameras may be strange at once; a NaN or a fault has no picture."""
    worst = WorstFrames(count=2)
    worst.add(image(0.0, 3.0))
    worst.add(image(0.0, 4.0, "left"))
    worst.add(image(5.0, float("nan")))
    worst.add(FrameRecord(6.0, image(6.0, 9.0).alarm, FallbackMode.STOP, None, float("nan")))
    assert [(frame.camera, frame.ratio) for frame in worst.frames] == [("left", 2.0), ("front", 1.5)]
    worst.add(image(9.0, 10.0))
    assert [frame.ratio for frame in worst.frames] == [5.0, 2.0]
