"""The frame in two graphs, cut where the alarm may leave: what every engine runs, and the only statement of it.

    pixels -> EncoderGraph -> low, high, features the encoder gives   -> score, alarm
                              low, high -> DecoderGraph -> class ids, confidence, features the decoder gives

Both take and give tensors alone and branch on no value, so that they can be captured, compiled and exported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ..core.detectors import ArrayApiDetector, CellDetector, detector_spec
from ..features import ENCODER_FEATURES, FEATURES, NetworkPass
from ..vision.deeplabv3p import DeepLabV3Plus, Features, upsample
from ..vision.preprocess import Normalisation, PreprocessSpec

SCORE, CELLS = "score.", "cells."


class ScoreGraph(nn.Module):
    """Scores of portable detectors beside the network: a GPU keeps the features, and hands out a number a detector.

    Args:
        detectors: fitted, by name; each reads a feature that needs no decoder.

    Attributes:
        outputs: names of what it gives: ``score.<detector>``, and ``cells.<detector>`` of one that maps cells.
    """

    def __init__(self, detectors: Mapping[str, ArrayApiDetector]) -> None:
        super().__init__()
        self._detectors = dict(detectors)
        self._keys = {name: tuple(detector.state()) for name, detector in self._detectors.items()}
        outputs: list[str] = []
        for name, detector in self._detectors.items():
            for key, values in detector.state().items():
                self.register_buffer(f"{name}_{key}", torch.from_numpy(np.ascontiguousarray(values)), persistent=False)
            outputs += [f"{SCORE}{name}", *([f"{CELLS}{name}"] if isinstance(detector, CellDetector) else [])]
        self.outputs = tuple(outputs)

    def forward(self, run: NetworkPass) -> list[Tensor]:
        """Scores (N,) and cells (N, 48), float64, in the order of ``outputs``."""
        values: list[Tensor] = []
        rows: dict[str, Tensor] = {}
        for name, detector in self._detectors.items():
            feature = detector_spec(name).feature
            if feature not in rows:
                rows[feature] = FEATURES[feature](run).double()
            arrays = {key: getattr(self, f"{name}_{key}") for key in self._keys[name]}
            values.append(detector.portable_score(rows[feature], arrays))
            if isinstance(detector, CellDetector):
                values.append(detector.portable_cells(rows[feature], arrays))
        return values


class EncoderGraph(nn.Module):
    """Pixels -> what the decoder reads, and the features that need no decoder.

    Args:
        network: in eval mode.
        spec: normalisation.
        features: names of features (``features.FEATURES``); those behind the decoder are left to ``DecoderGraph``.
        scores: of detectors that are to be scored here, too.

    Attributes:
        features: names of what it gives beside low and high.
    """

    def __init__(
        self,
        network: DeepLabV3Plus,
        spec: PreprocessSpec,
        features: Iterable[str],
        scores: Mapping[str, ArrayApiDetector] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.normalise = Normalisation(spec)
        self._names = tuple(name for name in features if name in ENCODER_FEATURES)
        self._scores = ScoreGraph(scores or {})
        self.features = (*self._names, *self._scores.outputs)

    def forward(self, pixels: Tensor, averaging: Tensor) -> tuple[Tensor, ...]:
        """BGR uint8 (N, H, W, 3) of the network's size, averaging weights -> low, high, then a tensor a feature."""
        encoded = self.network.encode(self.normalise(pixels))
        run = NetworkPass(self.network, _in_single_precision(encoded), averaging)
        # Pooling and matrix products of half precision would add their own rounding to the network's.
        with torch.autocast(pixels.device.type, enabled=False):
            rows = [*(FEATURES[name](run) for name in self._names), *self._scores(run)]
        return encoded.low, encoded.high, *rows


class DecoderGraph(nn.Module):
    """What the decoder makes of the encoder's output: the segmentation, and the features that need it.

    Args:
        network: in eval mode.
        spec: size of the segmentation.
        features: names of features (``features.FEATURES``); those before the decoder are left to ``EncoderGraph``.
    """

    def __init__(self, network: DeepLabV3Plus, spec: PreprocessSpec, features: Iterable[str]) -> None:
        super().__init__()
        self.network = network
        self.size = spec.height, spec.width
        self.features = tuple(name for name in features if name not in ENCODER_FEATURES)

    def forward(self, low: Tensor, high: Tensor, averaging: Tensor) -> tuple[Tensor, ...]:
        """Low, high, averaging weights -> class ids (N, height, width), confidence (N, h, w), then a tensor a feature.

        Both planes are uint8. Confidence is the softmax maximum times 255 at the decoder's own resolution; a NaN is 0.
        """
        run = NetworkPass(self.network, Features((low, high)), averaging)
        logits = run.logits.float()
        confidence = (logits.softmax(dim=1).amax(dim=1).nan_to_num(0.0) * 255.0).round()
        class_ids = upsample(logits, self.size).argmax(dim=1)
        rows = [FEATURES[name](run) for name in self.features]
        return class_ids.to(torch.uint8), confidence.to(torch.uint8), *rows


def _in_single_precision(encoded: Features) -> Features:
    return Features(tuple(stage.float() for stage in encoded.stages))
