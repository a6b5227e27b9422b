"""Draws a result for people: class colours over the camera image, with score, threshold and alarm state."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.classes import class_colours
from ..core.types import Alarm, AlarmState, FrameResult, Verdict

_STATE_BGR = {AlarmState.CLEAR: (80, 200, 80), AlarmState.PENDING: (0, 200, 255), AlarmState.RAISED: (60, 60, 255)}
_OOD_BGR, _OOD_ALPHA = (40, 40, 255), 0.25
_HEAT_ALPHA = 0.6


def draw_overlay(result: FrameResult, alarm: Alarm, alpha: float) -> NDArray[np.uint8]:
    """Draw one result, BGR uint8 (H, W, 3); the frame's own picture is not changed.

    ``alpha`` is the opacity of the class colours, 0 to 1; void is not coloured. Cells of the anomaly map above the
    threshold are tinted red and outlined. Camera and state of the alarm are written.
    """
    palette = np.zeros((256, 3), np.uint8)
    own = class_colours(result.class_names)
    palette[: len(own)] = own[:256, ::-1]
    colours = palette[result.segmentation]
    picture: NDArray[np.uint8] = result.frame.image.copy()
    known = np.asarray(palette.any(axis=1))[result.segmentation]
    blended = cv2.addWeighted(picture, 1.0 - alpha, colours, alpha, 0.0)
    picture[known] = blended[known]
    if result.anomaly_map is not None:
        _tint_cells(picture, result.anomaly_map, result.threshold)
    text = f"{alarm.camera}  {alarm.state.value}  {result.score:.3g} / {result.threshold:.3g}"
    scale = max(0.4, picture.shape[0] / 800.0)
    cv2.rectangle(picture, (0, 0), (picture.shape[1], int(34 * scale)), (0, 0, 0), -1)
    cv2.putText(
        picture, text, (8, int(24 * scale)), cv2.FONT_HERSHEY_SIMPLEX, scale, _STATE_BGR[alarm.state], 1, cv2.LINE_AA
    )
    return picture


def map_picture(anomaly_map: NDArray[np.float32], threshold: float, width: int, height: int) -> NDArray[np.uint8]:
    """An anomaly map as a grey picture, uint8 (height, width), bilinear between the cells' middles.

    0 is a score of 0 (a typical clean frame) or below, 128 the threshold, 255 twice the threshold or above, linear
    between. A cell without a score (NaN) is 255: unknown is not OK.
    """
    scale = 128.0 / threshold if threshold > 0.0 else np.inf
    with np.errstate(invalid="ignore"):
        grey = np.nan_to_num(anomaly_map * scale, nan=255.0, posinf=255.0, neginf=0.0)
    plane = np.clip(grey, 0.0, 255.0).astype(np.float32)
    return np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR).round(), dtype=np.uint8)


def draw_map(verdict: Verdict) -> NDArray[np.uint8] | None:
    """Draw the anomaly map in colours over the grey frame, BGR uint8 of the frame's size; None without a map.

    Black is a typical clean cell, orange the threshold, light yellow twice the threshold or above, or unknown. Cells
    above the threshold are outlined.
    """
    if verdict.anomaly_map is None:
        return None
    height, width = verdict.frame.image.shape[:2]
    heat = cv2.applyColorMap(map_picture(verdict.anomaly_map, verdict.threshold, width, height), cv2.COLORMAP_INFERNO)
    grey = cv2.cvtColor(cv2.cvtColor(verdict.frame.image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    picture = np.asarray(cv2.addWeighted(heat, _HEAT_ALPHA, grey, 1.0 - _HEAT_ALPHA, 0.0), dtype=np.uint8)
    _outline_cells(picture, verdict.anomaly_map, verdict.threshold, (255, 255, 255))
    return picture


def _tint_cells(picture: NDArray[np.uint8], anomaly_map: NDArray[np.float32], threshold: float) -> None:
    above = _cells_above(picture, anomaly_map, threshold)
    if not above.any():
        return
    tinted = picture.copy()
    tinted[above > 0] = _OOD_BGR
    cv2.addWeighted(tinted, _OOD_ALPHA, picture, 1.0 - _OOD_ALPHA, 0.0, dst=picture)
    _outline_cells(picture, anomaly_map, threshold, _OOD_BGR)


def _outline_cells(
    picture: NDArray[np.uint8], anomaly_map: NDArray[np.float32], threshold: float, colour: tuple[int, int, int]
) -> None:
    above = _cells_above(picture, anomaly_map, threshold)
    outline = cv2.findContours(above, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    cv2.drawContours(picture, outline, -1, colour, max(1, picture.shape[0] // 240))


def _cells_above(picture: NDArray[np.uint8], anomaly_map: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """uint8 (H, W) of the picture: 1 where a cell is above the threshold or unknown."""
    height, width = picture.shape[:2]
    cells = (~(anomaly_map <= threshold)).astype(np.uint8)
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
