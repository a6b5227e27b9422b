"""Which frames a person gets to see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode, Frame
from ls_ood_monitor.evaluation.replay import FrameRecord, TimedVerdict
from ls_ood_monitor.evaluation.worst_frames import WorstFrames


def image(time_s: float, score: float, camera: str = "front") -> FrameRecord:
    """A judged image, threshold 2."""
    picture = np.zeros((24, 32, 3), np.uint8)
    alarm = Alarm(camera, 1, AlarmState.CLEAR, score, 2.0, Cause(CauseKind.IN_DISTRIBUTION, camera, score, 2.0))
    verdict = TimedVerdict(Frame(picture, 1, camera), score, 2.0, "larem")
    return FrameRecord(time_s, alarm, FallbackMode.NOMINAL, verdict)


@pytest.mark.parametrize("seed", range(5))
def test_the_strangest_are_kept_apart_in_time(seed):
    """Against a plain search: the best of all first, then the best that lies a second from it, and so on."""
    random = np.random.default_rng(seed)
    scores = random.permutation(60) / 10.0
    worst = WorstFrames(lambda verdict: verdict, count=3, apart_s=1.0)
    for index, score in enumerate(scores):
        worst.add(image(index * 0.1, float(score)))
    assert worst.frames[0].ratio == pytest.approx(scores.max() / 2.0)
    assert [frame.ratio for frame in worst.frames] == sorted((frame.ratio for frame in worst.frames), reverse=True)
    times = sorted(frame.time_s for frame in worst.frames)
    assert len(times) == 3
    assert min(np.diff(times)) >= 1.0 - 1e-9


def test_cameras_are_apart_and_what_was_not_judged_is_left_out():
    """Two cameras may be strange at once; a NaN or a fault has no picture."""
    worst = WorstFrames(lambda verdict: verdict, count=2)
    worst.add(image(0.0, 3.0))
    worst.add(image(0.0, 4.0, "left"))
    worst.add(image(5.0, float("nan")))
    worst.add(FrameRecord(6.0, image(6.0, 9.0).alarm, FallbackMode.STOP, None))
    assert [(frame.camera, frame.ratio) for frame in worst.frames] == [("left", 2.0), ("front", 1.5)]
    worst.add(image(9.0, 10.0))
    assert [frame.ratio for frame in worst.frames] == [5.0, 2.0]


def test_the_map_of_a_frame_is_asked_for_where_it_is_kept():
    """Not of one that is weaker than those that are kept."""
    asked = []

    def with_map(verdict):
        asked.append(verdict.score)
        return replace(verdict, anomaly_map=np.ones((2, 2), np.float32))

    worst = WorstFrames(with_map, count=1)
    for number, score in enumerate((3.0, 2.0, 4.0)):
        worst.add(image(10.0 * number, score))
    assert asked == [3.0, 4.0]
    assert worst.frames[0].map.shape == worst.frames[0].picture.shape
