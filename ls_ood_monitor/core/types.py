"""The data that travels through the monitor: Frame -> Verdict -> Alarm -> Decision.

Times are integers in nanoseconds. Scores grow with the distance from the calibration data:
**larger = more out of distribution (OoD)**, everywhere.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan

import numpy as np
from numpy.typing import NDArray

from .causes import Cause
from .classes import CLASS_NAMES


@dataclass(frozen=True)
class Frame:
    """One camera picture.

    Attributes:
        image: BGR, uint8, (H, W, 3).
        stamp_ns: time of capture in nanoseconds.
        camera: name of the camera, e.g. ``front``.
    """

    image: NDArray[np.uint8]
    stamp_ns: int
    camera: str


@dataclass(frozen=True)
class Verdict:
    """The detector's verdict on one frame; it is ready before the segmentation.

    Attributes:
        frame: the frame judged.
        score: score of the bundle's chosen detector; larger = more OoD.
        threshold: a score above it is OoD.
        detector: name of the chosen detector.
        scores: score of every detector in the bundle, by name.
        anomaly_map: score of each cell of a coarse grid over the frame, float32 (rows, columns), on the scale of
            ``score``: a cell above ``threshold`` is OoD. None where the chosen detector has no map.
    """

    frame: Frame
    score: float
    threshold: float
    detector: str
    scores: Mapping[str, float] = field(default_factory=dict)
    anomaly_map: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class FrameResult(Verdict):
    """A verdict with the segmentation of the frame.

    Attributes:
        segmentation: class ids, uint8, (H, W) of the frame's own size.
        confidence: softmax maximum scaled to 0..255, uint8, (H, W) of the frame's own size; None if the network gives
            no scores of classes.
        class_names: names of the classes by id.
    """

    segmentation: NDArray[np.uint8] = field(kw_only=True)
    confidence: NDArray[np.uint8] | None = field(kw_only=True)
    class_names: tuple[str, ...] = field(kw_only=True, default=CLASS_NAMES)


class AlarmState(enum.Enum):
    """Alarm of one camera, debounced over frames. Ordered by caution through ``severity``."""

    CLEAR = "CLEAR"
    PENDING = "PENDING"
    RAISED = "RAISED"

    @property
    def severity(self) -> int:
        """0 clear, 1 pending, 2 raised."""
        return ("CLEAR", "PENDING", "RAISED").index(self.value)


@dataclass(frozen=True)
class Alarm:
    """State of one camera after one frame (or after the lack of a usable one).

    Attributes:
        camera: name of the camera.
        stamp_ns: capture time of the frame, nanoseconds; 0 when the frame had none.
        state: debounced state.
        score: OoD score, larger = more OoD; NaN when the frame could not be judged.
        threshold: score above which a frame is OoD; NaN when unknown.
        cause: why the camera is in this state, with its numbers.
        source: process that sends the alarm; empty where it is not known. Only one may speak for a camera.
        sent_ns: when it was sent, on the steady clock of the sender's machine, nanoseconds; 0 where it is not known.
        lasting_score: median of the camera's scores over seconds (``core/alarm.py``); NaN where there is no lasting path.
        lasting_threshold: median above which the camera is OoD; NaN where there is no lasting path.
    """

    camera: str
    stamp_ns: int
    state: AlarmState
    score: float
    threshold: float
    cause: Cause
    source: str = ""
    sent_ns: int = 0
    lasting_score: float = nan
    lasting_threshold: float = nan

    @property
    def is_fault(self) -> bool:
        """The frame could not be judged (bad input, failed inference), as opposed to OoD."""
        return self.cause.kind.is_fault

    @property
    def fault(self) -> str:
        """Name of the fault; empty where the frame was judged."""
        return self.cause.kind.value if self.is_fault else ""

    @property
    def ratio(self) -> float:
        """Score over threshold of its frame (``score_over_threshold``)."""
        return score_over_threshold(self.score, self.threshold)


def score_over_threshold(score: float, threshold: float) -> float:
    """Ratio by which scores are drawn: above 1 = OoD. The score alone where the threshold is not above 0."""
    return score if threshold <= 0.0 else score / threshold


class FallbackMode(enum.IntEnum):
    """What the vehicle is asked to do; larger = more cautious. The worst camera wins."""

    NOMINAL = 0
    SLOW = 1
    STOP = 2


@dataclass(frozen=True)
class Decision:
    """The supervisor's command.

    Attributes:
        mode: NOMINAL < SLOW < STOP.
        cause: why, with the camera that caused it.
        since_ns: when this mode began, in the caller's clock, nanoseconds.
    """

    mode: FallbackMode
    cause: Cause
    since_ns: int
