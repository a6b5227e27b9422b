"""The overlay for people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ls_ood_monitor.core.classes import CLASS_COLOURS
from ls_ood_monitor.core.types import Alarm, AlarmState, Frame, FrameResult
from ls_ood_monitor.vision.overlay import draw_map, draw_overlay, map_picture


def draw(alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """A grey picture, its right half road, its left half void."""
    image = np.full((200, 300, 3), 100, np.uint8)
    mask = np.zeros((200, 300), np.uint8)
    mask[:, 150:] = 1
    result = FrameResult(Frame(image, 1, "front"), 3.0, 5.0, "larem", segmentation=mask, confidence=mask)
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


def spatial_result(image, cells) -> FrameResult:
    """A frame below its threshold, with what each of its cells scores."""
    planes = {"segmentation": image[..., 0] * 0, "confidence": image[..., 0]}
    return FrameResult(Frame(image, 1, "front"), 3.0, 5.0, "spatial", {}, cells, **planes)


def test_strange_places_are_tinted_and_the_rest_is_not():
    """A cell above the threshold reddens its part of the picture; a cell that is not known counts as strange."""
    image = np.full((120, 160, 3), 100, np.uint8)
    cells = np.zeros((6, 8), np.float32)
    cells[3, 6], cells[5, 0] = 9.0, np.nan
    result = spatial_result(image, cells)
    picture = draw_overlay(result, Alarm("front", 1, AlarmState.CLEAR, 3.0, 5.0, ""), 0.5)
    for y, x in ((70, 130), (110, 10)):
        blue, _, red = picture[y, x].astype(int)
        assert red > 120 > blue
    assert picture[70, 70].tolist() == [100, 100, 100]


def test_the_map_picture_has_a_fixed_scale():
    """Zero is black, the threshold 128, twice the threshold and whatever is not known white; cells keep their places."""
    cells = np.array([[-3.0, 0.0, 2.0], [4.0, 99.0, np.nan]], np.float32)
    picture = map_picture(cells, 2.0, 3, 2)
    assert picture.tolist() == [[0, 0, 128], [255, 255, 255]]
    large = map_picture(cells, 2.0, 300, 200)
    assert large.shape == (200, 300)
    assert large[10, 290] == 128


def test_the_drawn_map_is_bright_where_it_is_strange():
    """Over the grey frame a usual place stays dark, one above the threshold is outlined in white; without a map there is none."""
    image = np.full((120, 160, 3), 40, np.uint8)
    cells = np.zeros((6, 8), np.float32)
    cells[3, 6] = 9.0
    result = spatial_result(image, cells)
    picture = draw_map(result)
    assert picture.shape == image.shape
    assert picture[70, 130].max() > 150 > 30 > picture[70, 40].max()
    assert (picture[60:80, 120:140] == 255).all(axis=2).any()
    assert not (picture[:, :100] == 255).all(axis=2).any()
    assert draw_map(replace(result, anomaly_map=None)) is None
    assert (image == 40).all()
