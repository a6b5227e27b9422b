"""The network in two graphs, which every engine runs. The alarm needs the first graph only.

    pixels -> EncoderGraph -> low, high, features of the encoder   -> score, alarm
                              low, high -> DecoderGraph -> class ids, confidence, features of the decoder

Inputs and outputs are tensors, and no branch depends on a value. So both graphs can be captured, compiled and exported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ..core.detectors import Detector, detector_spec
from ..features import ENCODER_FEATURES, FEATURES, NetworkPass
from ..vision.deeplabv3p import DeepLabV3Plus, Features, upsample
from ..vision.preprocess import Normalisation, PreprocessSpec

#: Prefixes of a detector's name in the encoder's outputs: its scores, and the scores of its cells.
SCORE, CELLS = "score.", "cells."


class ScoreGraph(nn.Module):
    """Scores of portable detectors, computed on the network's device: the features stay there, only scores are copied.

    Each detector reads a feature that needs the encoder only. ``outputs`` are the names of the outputs:
    ``score.<detector>``, and ``cells.<detector>`` if the detector scores cells.
    """

    def __init__(self, detectors: Mapping[str, Detector]) -> None:
        super().__init__()
        self._detectors = dict(detectors)
        self._keys = {name: tuple(detector.state()) for name, detector in self._detectors.items()}
        outputs: list[str] = []
        for name, detector in self._detectors.items():
            for key, values in detector.state().items():
                self.register_buffer(f"{name}_{key}", torch.from_numpy(np.ascontiguousarray(values)), persistent=False)
            outputs += [f"{SCORE}{name}", *([f"{CELLS}{name}"] if detector.has_cells else [])]
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
            if detector.has_cells:
                values.append(detector.portable_cells(rows[feature], arrays))
        return values


class EncoderGraph(nn.Module):
    """Pixels -> the decoder's inputs, and the features and scores that need the encoder only.

    Features that need the decoder are ignored; ``scores`` are fitted detectors to score in this graph. ``outputs`` are
    the names of the outputs after low and high.
    """

    def __init__(
        self,
        network: DeepLabV3Plus,
        spec: PreprocessSpec,
        features: Iterable[str],
        scores: Mapping[str, Detector] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.normalise = Normalisation(spec)
        self._names = tuple(name for name in features if name in ENCODER_FEATURES)
        self._scores = ScoreGraph(scores or {})
        self.outputs = (*self._names, *self._scores.outputs)

    def forward(self, pixels: Tensor, averaging: Tensor) -> tuple[Tensor, ...]:
        """BGR uint8 (N, H, W, 3) at the network's input size, averaging weights -> low, high, then one tensor per output."""
        encoded = self.network.encode(self.normalise(pixels))
        # In half precision, pooling and matrix products would add rounding errors of their own.
        run = NetworkPass(self.network, Features(tuple(stage.float() for stage in encoded.stages)), averaging)
        with torch.autocast(pixels.device.type, enabled=False):
            rows = [*(FEATURES[name](run) for name in self._names), *self._scores(run)]
        return encoded.low, encoded.high, *rows


class DecoderGraph(nn.Module):
    """The decoder's inputs -> the segmentation, and the features that need the decoder; the others are ignored.

    ``outputs`` are the names of the outputs after class ids and confidence.
    """

    def __init__(self, network: DeepLabV3Plus, spec: PreprocessSpec, features: Iterable[str]) -> None:
        super().__init__()
        self.network = network
        self.size = spec.height, spec.width
        self.outputs = tuple(name for name in features if name not in ENCODER_FEATURES)

    def forward(self, low: Tensor, high: Tensor, averaging: Tensor) -> tuple[Tensor, ...]:
        """Low, high, averaging weights -> class ids (N, height, width), confidence (N, h, w), then one tensor per output.

        Class ids and confidence are uint8. Confidence is the largest softmax probability times 255, at the decoder's own
        resolution; NaN becomes 0.
        """
        run = NetworkPass(self.network, Features((low, high)), averaging)
        logits = run.logits.float()
        confidence = (logits.softmax(dim=1).amax(dim=1).nan_to_num(0.0) * 255.0).round()
        class_ids = upsample(logits, self.size).argmax(dim=1)
        rows = [FEATURES[name](run) for name in self.outputs]
        return class_ids.to(torch.uint8), confidence.to(torch.uint8), *rows
