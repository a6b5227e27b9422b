"""The overlay for people."""

from __future__ import annotations

import numpy as np

from ls_ood_monitor.core.classes import CLASS_COLOURS
from ls_ood_monitor.core.types import Alarm, AlarmState, Frame, FrameResult
from ls_ood_monitor.vision.overlay import draw_overlay


def draw(alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """A grey picture, its right half road, its left half void."""
    image = np.full((200, 300, 3), 100, np.uint8)
    mask = np.zeros((200, 300), np.uint8)
    mask[:, 150:] = 1
    result = FrameResult(Frame(image, 1, "front"), mask, mask, 3.0, 5.0, "larem")
    alarm = Alarm("front", 1, AlarmState.RAISED, 3.0, 5.0, "because")
    return image, draw_overlay(result, alarm, alpha)


def test_classes_are_coloured_and_void_is_not():
    """Opaque road has the road's colour, in BGR; void keeps the camera's pixels."""
    _, picture = draw(1.0)
    assert picture[150, 250].tolist() == CLASS_COLOURS[1][::-1].tolist()
    assert picture[150, 50].tolist() == [100, 100, 100]


def test_transparency():
    """Half opacity is the mean of picture and colour; none is the picture."""
    np.testing.assert_allclose(draw(0.5)[1][150, 250], (100 + CLASS_COLOURS[1][::-1].astype(int)) / 2, atol=1)
    assert draw(0.0)[1][150, 250].tolist() == [100, 100, 100]


def test_the_state_is_written_and_the_frame_untouched():
    """Something red stands in the top strip of a raised alarm; the frame's own picture is as before."""
    image, picture = draw(0.5)
    strip = picture[:14].astype(int)
    assert ((strip[:, :, 2] > 150) & (strip[:, :, 1] < 120)).any()
    assert (image == 100).all()
