"""A picture for people: class colours over the camera image, score, threshold and state written on it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.classes import CLASS_COLOURS
from ..core.types import Alarm, AlarmState, FrameResult

_STATE_BGR = {AlarmState.CLEAR: (80, 200, 80), AlarmState.PENDING: (0, 200, 255), AlarmState.RAISED: (60, 60, 255)}


def draw_overlay(result: FrameResult, alarm: Alarm, alpha: float) -> NDArray[np.uint8]:
    """Draw one result.

    Args:
        result: frame, segmentation and score.
        alarm: state to write.
        alpha: opacity of the class colours, 0 to 1; void stays as the camera saw it.

    Returns:
        BGR uint8 (H, W, 3); the frame's own picture is not touched.
    """
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(CLASS_COLOURS)] = CLASS_COLOURS[:, ::-1]
    colours = palette[result.segmentation]
    picture = result.frame.image.copy()
    known = result.segmentation > 0
    blended = cv2.addWeighted(picture, 1.0 - alpha, colours, alpha, 0.0)
    picture[known] = blended[known]
    text = f"{alarm.camera}  {alarm.state.value}  {result.score:.1f} / {result.threshold:.1f}"
    scale = max(0.4, picture.shape[0] / 800.0)
    cv2.rectangle(picture, (0, 0), (picture.shape[1], int(34 * scale)), (0, 0, 0), -1)
    cv2.putText(
        picture, text, (8, int(24 * scale)), cv2.FONT_HERSHEY_SIMPLEX, scale, _STATE_BGR[alarm.state], 1, cv2.LINE_AA
    )
    return picture
