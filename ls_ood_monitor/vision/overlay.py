"""A picture for people: class colours over the camera image, score, threshold and state written on it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.classes import CLASS_COLOURS
from ..core.types import Alarm, AlarmState, FrameResult, Verdict

_STATE_BGR = {AlarmState.CLEAR: (80, 200, 80), AlarmState.PENDING: (0, 200, 255), AlarmState.RAISED: (60, 60, 255)}
_STRANGE_BGR, _STRANGE_ALPHA = (40, 40, 255), 0.25
_HEAT_ALPHA = 0.6


def draw_overlay(result: FrameResult, alarm: Alarm, alpha: float) -> NDArray[np.uint8]:
    """Draw one result.

    Places whose cell of the anomaly map is above the threshold are tinted red and outlined.

    Args:
        result: frame, segmentation, score and, where the detector gives one, the anomaly map.
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
    if result.anomaly_map is not None:
        _mark_strange_places(picture, result.anomaly_map, result.threshold)
    text = f"{alarm.camera}  {alarm.state.value}  {result.score:.3g} / {result.threshold:.3g}"
    scale = max(0.4, picture.shape[0] / 800.0)
    cv2.rectangle(picture, (0, 0), (picture.shape[1], int(34 * scale)), (0, 0, 0), -1)
    cv2.putText(
        picture, text, (8, int(24 * scale)), cv2.FONT_HERSHEY_SIMPLEX, scale, _STATE_BGR[alarm.state], 1, cv2.LINE_AA
    )
    return picture


def map_picture(anomaly_map: NDArray[np.float32], threshold: float, width: int, height: int) -> NDArray[np.uint8]:
    """An anomaly map as a grey picture, uint8 (height, width), bilinear between the cells' middles.

    0 is a score of 0 (usual for clean frames) or below, 128 the threshold, 255 twice the threshold or above, linear
    between. A cell that could not be judged (NaN) is 255: unknown is not OK.
    """
    scale = 128.0 / threshold if threshold > 0.0 else np.inf
    with np.errstate(invalid="ignore"):
        grey = np.nan_to_num(anomaly_map * scale, nan=255.0, posinf=255.0, neginf=0.0)
    plane = np.clip(grey, 0.0, 255.0).astype(np.float32)
    return np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR).round(), dtype=np.uint8)


def draw_map(result: Verdict) -> NDArray[np.uint8] | None:
    """Draw the anomaly map as colours over the grey frame, strange places outlined; None where there is no map.

    Black is usual, orange the threshold, light yellow twice the threshold or above, or unknown.

    Returns:
        BGR uint8 (H, W, 3) of the frame's size.
    """
    if result.anomaly_map is None:
        return None
    height, width = result.frame.image.shape[:2]
    heat = cv2.applyColorMap(map_picture(result.anomaly_map, result.threshold, width, height), cv2.COLORMAP_INFERNO)
    grey = cv2.cvtColor(cv2.cvtColor(result.frame.image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    picture = np.asarray(cv2.addWeighted(heat, _HEAT_ALPHA, grey, 1.0 - _HEAT_ALPHA, 0.0), dtype=np.uint8)
    _outline_strange_places(picture, result.anomaly_map, result.threshold, (255, 255, 255))
    return picture


def _mark_strange_places(picture: NDArray[np.uint8], anomaly_map: NDArray[np.float32], threshold: float) -> None:
    strange = _strange_places(picture, anomaly_map, threshold)
    if not strange.any():
        return
    tinted = picture.copy()
    tinted[strange > 0] = _STRANGE_BGR
    cv2.addWeighted(tinted, _STRANGE_ALPHA, picture, 1.0 - _STRANGE_ALPHA, 0.0, dst=picture)
    _outline_strange_places(picture, anomaly_map, threshold, _STRANGE_BGR)


def _outline_strange_places(
    picture: NDArray[np.uint8], anomaly_map: NDArray[np.float32], threshold: float, colour: tuple[int, int, int]
) -> None:
    strange = _strange_places(picture, anomaly_map, threshold)
    outline = cv2.findContours(strange, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    cv2.drawContours(picture, outline, -1, colour, max(1, picture.shape[0] // 240))


def _strange_places(
    picture: NDArray[np.uint8], anomaly_map: NDArray[np.float32], threshold: float
) -> NDArray[np.uint8]:
    """1 where a cell is above the threshold, or unknown, (H, W) of the picture."""
    height, width = picture.shape[:2]
    cells = (~(anomaly_map <= threshold)).astype(np.uint8)
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
