"""A monitor without a network, for tests of the nodes around it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ls_ood_monitor.config import AlarmSettings
from ls_ood_monitor.core.alarm import LastingLevels
from ls_ood_monitor.core.classes import CLASS_NAMES
from ls_ood_monitor.core.types import Frame, FrameResult


class MadeUpMonitor:
    """Gives each frame a score of 1 below a threshold of 2, a mask of ones and a map of zeros.

    Attributes:
        answer: changes the results of a batch, or raises.
        warm_up: called with the largest batch.
    """

    def __init__(self, **attributes: Any) -> None:
        self.bundle_id, self.detector, self.threshold, self.lasting_levels = "0" * 64, "larem", 2.0, LastingLevels()
        self.alarm, self.cameras, self.class_names = AlarmSettings(), ("front", "left"), CLASS_NAMES
        self.device, self.engine_label, self.difference = torch.device("cpu"), "none fp32", None
        self.reentrant, self.preferred_batch_size = True, 4
        self.answer = lambda results: results
        self.warm_up = lambda batch: None
        vars(self).update(attributes)

    def begin(self, frames: list[Frame], *, decode: bool = True) -> SimpleNamespace:
        """A pass that is already done."""
        results = self.answer([self._result(frame) for frame in frames])
        return SimpleNamespace(verdicts=results, result=lambda index: results[index], network_ms=1.0)

    def _result(self, frame: Frame) -> FrameResult:
        mask, cells = np.ones(frame.image.shape[:2], np.uint8), np.zeros((6, 8), np.float32)
        scored = 1.0, 2.0, "larem", {"larem": 1.0}, cells
        return FrameResult(frame, *scored, segmentation=mask, confidence=mask)
