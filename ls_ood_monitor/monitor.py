"""The monitor: frames in, scores and verdicts out. The vehicle, calibration and evaluation use the same one.

``FramePass`` runs the network. ``OodMonitor`` adds the fitted detectors and the thresholds.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .config import AlarmSettings
from .core.detectors import Detector, detector_spec, refuse_old_name
from .core.grid import GRID
from .core.threshold import Threshold
from .core.types import Frame, FrameResult, Verdict
from .engines.verification import Difference
from .errors import ConfigError, DataError
from .frame_pass import FramePass, PendingPass
from .prediction import Prediction, prediction_of


class OodMonitor:
    """Judges frames with a calibrated bundle; made by ``bundle.load_bundle``.

    Attributes:
        frame_pass: runs the network.
        detectors: fitted detectors by name.
        features: name of the feature that each detector reads.
        thresholds: calibrated threshold of each detector.
        detector: name of the detector that raises alarms.
        threshold: of this detector: a score above it is out of distribution.
        lasting_levels: levels of the lasting path for this detector.
        class_names: names of the segmentation classes, by id.
        bundle_id: SHA-256 of the bundle's manifest, hex.
        alarm: settings of the alarm for which the thresholds were calibrated.
        cameras: names of the cameras of the calibration; empty if the bundle does not name them.
        provenance: data of training and calibration, from the manifest; for people and reports.
        difference: difference of the engine from eager torch, measured at load; None if eager torch runs on the CPU.
        device: runs the network.
        engine_name: one of ``ENGINES`` except ``auto``.
        precision: of the network, one of ``PRECISIONS``.
        engine_label: engine and precision for people, ``onnx fp32`` for example.
        reentrant: a batch may begin before the results of the last one are read.
        preferred_batch_size: default limit of frames to judge in one batch; depends on engine and device.
    """

    def __init__(
        self,
        frame_pass: FramePass,
        detectors: Mapping[str, Detector],
        thresholds: Mapping[str, Threshold],
        detector: str,
        class_names: Sequence[str],
        bundle_id: str,
        alarm: AlarmSettings | None = None,
        cameras: Sequence[str] = (),
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        refuse_old_name(detector)
        if detector not in detectors:
            raise ConfigError(f"detector is {detector!r}; this bundle holds {', '.join(sorted(detectors))}.")
        self.frame_pass = frame_pass
        self._scoring = frame_pass.with_scores(detectors)
        self.features = {name: detector_spec(name).feature for name in detectors}
        self.detectors = dict(detectors)
        self.thresholds = dict(thresholds)
        self.detector = detector
        self.class_names = tuple(class_names)
        self.bundle_id = bundle_id
        self.alarm = alarm if alarm is not None else AlarmSettings()
        self.cameras = tuple(cameras)
        self.provenance = dict(provenance or {})
        self.difference: Difference | None = None
        self.threshold = self.thresholds[detector].value
        self.lasting_levels = self.thresholds[detector].lasting_levels
        engine, self.device = frame_pass.engine, frame_pass.device
        self.engine_name, self.precision, self.reentrant = engine.name, engine.precision, engine.reentrant
        self.engine_label = f"{engine.name} {engine.precision}"
        self.preferred_batch_size = engine.preferred_batch_size
        self._one_at_a_time: AbstractContextManager[Any] = nullcontext() if self.reentrant else threading.Lock()

    def warm_up(self, batch: int = 1) -> None:
        """Run blank batches of 1 to ``batch`` frames, so that set-up, compilation and capture delay no real frame."""
        spec = self.frame_pass.preprocess_spec
        for count in range(1, batch + 1):
            run = self._scoring.begin([np.zeros((spec.height, spec.width, 3), np.uint8)] * count)
            _ = run.features, run.class_ids

    def begin(self, frames: Sequence[Frame], *, decode: bool = True) -> MonitorPass:
        """Start to judge N >= 1 frames as one batch. Unless ``reentrant``, read the results before the next batch begins.

        Args:
            frames: of any sizes and cameras.
            decode: the segmentation will be read. A GPU then starts the decoder at once.
        """
        return MonitorPass(self, frames, self._scoring.begin([frame.image for frame in frames], decode=decode))

    def process(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Judge frames as one batch; results in the same order.

        A score may be NaN; the alarm treats it as a fault. Several threads may call this; they wait for each other if the
        engine allows one run at a time.
        """
        if not frames:
            return []
        with self._one_at_a_time:
            run = self.begin(frames)
            return [run.result(index) for index in range(len(frames))]

    def predict(self, image: NDArray[np.uint8]) -> Prediction:
        """Judge one picture on its own.

        Args:
            image: BGR, uint8, (H, W, 3).

        Raises:
            DataError: another type or shape.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise DataError(f"the picture is {image.dtype} {image.shape}; it must be BGR uint8 (height, width, 3).")
        return prediction_of(self.process([Frame(image, 1, "")])[0])

    def __repr__(self) -> str:
        return (
            f"<OodMonitor {self.bundle_id[:12]}: {self.detector}, threshold {self.threshold:.3g}, "
            f"{len(self.class_names)} classes, {self.engine_label} on {self.device}>"
        )


class MonitorPass:
    """A batch of frames in the monitor; ``network`` is its run. Verdicts come first; the segmentation may follow later."""

    def __init__(self, monitor: OodMonitor, frames: Sequence[Frame], network: PendingPass) -> None:
        self._monitor, self._frames, self.network = monitor, frames, network

    @property
    def network_ms(self) -> float:
        """Time that the network has taken so far for the results that were read, ms."""
        return self.network.network_ms

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """Verdict of each frame, in their order. Waits for the decoder only if a detector needs it."""
        monitor = self._monitor
        pairs = {name: self._scores(name, detector) for name, detector in monitor.detectors.items()}
        scores = {name: values for name, (values, _) in pairs.items()}
        cells = pairs[monitor.detector][1]
        maps = None if cells is None else cells.reshape(len(self._frames), *GRID).astype(np.float32)
        return [
            Verdict(
                frame,
                float(scores[monitor.detector][index]),
                monitor.threshold,
                monitor.detector,
                {name: float(values[index]) for name, values in scores.items()},
                None if maps is None else maps[index],
            )
            for index, frame in enumerate(self._frames)
        ]

    def _scores(self, name: str, detector: Detector) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Scores (N,), and cell scores (N, 48) if this detector raises alarms and scores cells."""
        scored = self.network.scored(name)
        if scored is not None:
            # As on the host: a row that is not finite scores NaN.
            return np.where(np.isfinite(scored[0]), scored[0], np.nan), scored[1]
        rows = self.network.features.rows[self._monitor.features[name]]
        return detector.score_and_cells(rows) if name == self._monitor.detector else (detector.score(rows), None)

    def result(self, index: int) -> FrameResult:
        """Result of one frame, at the frame's own size; waits for the decoder."""
        verdict = self.verdicts[index]
        image, confidence = verdict.frame.image, self.network.confidence
        return FrameResult(
            *(getattr(verdict, spec.name) for spec in fields(Verdict)),
            segmentation=_to_size(self.network.class_ids[index], image, cv2.INTER_NEAREST),
            confidence=None if confidence is None else _to_size(confidence[index], image, cv2.INTER_LINEAR),
            class_names=self._monitor.class_names,
        )


def _to_size(plane: NDArray[np.uint8], image: NDArray[np.uint8], interpolation: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if plane.shape == (height, width):
        return plane
    return np.asarray(cv2.resize(plane, (width, height), interpolation=interpolation), dtype=np.uint8)
