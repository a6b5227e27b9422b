"""Frame guard: what must not pass as a good frame."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.core.health import FrameGuard
from ls_ood_monitor.core.types import Frame


def frame(stamp_ns: int, seed: int | None = None, size: tuple[int, int] = (48, 64)) -> Frame:
    """A frame whose content follows its stamp, unless a seed is given."""
    random = np.random.default_rng(stamp_ns if seed is None else seed)
    return Frame(random.integers(0, 256, (*size, 3), dtype=np.uint8), stamp_ns, "front")


@pytest.mark.parametrize(
    ("story", "words"),
    [
        ([frame(5), frame(6)], None),
        ([frame(0)], "stamp is 0"),
        ([frame(5), frame(5, seed=1)], "repeated"),
        ([frame(5), frame(3)], "went back"),
        ([frame(5, seed=1), frame(6, seed=1)], "frozen"),
        ([frame(5), frame(6, size=(96, 128))], "size changed from 64x48 to 128x96"),
        ([Frame(np.zeros((48, 64, 3), np.uint8), 5, "front")], "every pixel is 0"),
        ([Frame(np.full((48, 64, 3), 255, np.uint8), 5, "front")], "every pixel is 255"),
        ([Frame(np.full((48, 64, 3), (255, 0, 0), np.uint8), 5, "front")], r"every pixel is [255, 0, 0]"),
        ([frame(5), Frame(np.zeros((0, 64, 3), np.uint8), 6, "front")], "at least one pixel"),
        ([frame(5), Frame(np.zeros((48, 0, 3), np.uint8), 6, "front")], "at least one pixel"),
        ([frame(5), Frame(np.full((48, 64, 3), np.nan), 6, "front")], "float64"),
    ],
)
def test_the_last_frame_of_a_story(story, words):
    """Each way a frame can lie is named in its sentence."""
    guard = FrameGuard("front")
    for item in story[:-1]:
        assert guard.check(item) is None
    reason = guard.check(story[-1])
    assert reason is None if words is None else words in reason


@pytest.mark.parametrize("bad", [frame(0, seed=9), frame(3, seed=9), frame(5, seed=9), frame(6, size=(96, 128))])
def test_the_next_good_frame_works(bad):
    """One bad frame is reported once; a good one in its stream then passes."""
    guard = FrameGuard("front")
    assert guard.check(frame(5)) is None
    assert guard.check(bad) is not None
    assert guard.check(frame(7, size=bad.image.shape[:2])) is None


def test_an_unusable_picture_leaves_the_reference_alone():
    """After a frame without pixels the next good one is compared with the last good one, and passes."""
    guard = FrameGuard("front")
    assert guard.check(frame(5)) is None
    assert guard.check(Frame(np.zeros((0, 0, 3), np.uint8), 6, "front")) is not None
    assert guard.check(frame(7)) is None


def test_a_frozen_camera_is_reported_for_as_long_as_it_lasts():
    """Every repetition is reported, and the first new picture passes."""
    guard = FrameGuard("front")
    assert guard.check(frame(1, seed=1)) is None
    assert all("frozen" in guard.check(frame(stamp, seed=1)) for stamp in range(2, 10))
    assert guard.check(frame(10)) is None


SECOND = 10**9


@pytest.mark.parametrize(
    ("leads_s", "reported"),
    [
        ((0, 0.5, 0), []),  # clocks that are never quite equal
        ((0, 60, 0, 0), [1]),  # one stamp from the future: the next good frame works
        ((0, 60, 60, 60), [1]),  # a clock that stays ahead
        ((60, 60, 0, 0), [0, 2]),  # ahead from the first frame, then set right: that goes back
        ((-1e6, -1e6 + 50, -1e6 + 51), []),  # a recording with a gap
    ],
)
def test_a_stamp_that_jumps_ahead_of_the_clock_is_reported_once(leads_s, reported):
    """A stamp from the future is never clear at first sight, and neither blocks the stream before it nor the one after."""
    guard = FrameGuard("front")
    refused = []
    for index, lead_s in enumerate(leads_s):
        now_ns = (2 * 10**6 + index * 3) * SECOND
        if guard.check(frame(now_ns + round(lead_s * SECOND)), now_ns) is not None:
            refused.append(index)
    assert refused == reported


def test_without_a_clock_no_stamp_is_from_the_future():
    """Simulated time that has not begun is no measure."""
    guard = FrameGuard("front")
    assert guard.check(frame(5), 0) is None
    assert guard.check(frame(10**18), 0) is None


def test_reset_forgets_the_past():
    """After a reset an old stamp is a first stamp."""
    guard = FrameGuard("front")
    guard.check(frame(100))
    guard.reset()
    assert guard.check(frame(5)) is None
