"""The frame in two graphs, cut where the alarm may leave: what every engine runs, and the only statement of it.

    pixels -> EncoderGraph -> low, high, features the encoder gives   -> score, alarm
                              low, high -> DecoderGraph -> class ids, confidence, features the decoder gives

Both take and give tensors alone and branch on no value, so that they can be captured, compiled and exported.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..features import BEFORE_DECODER, FEATURES, NetworkPass
from ..vision.deeplabv3p import DeepLabV3Plus, Features, upsample
from ..vision.preprocess import Normalisation, PreprocessSpec


class EncoderGraph(nn.Module):
    """Pixels -> what the decoder reads, and the features that need no decoder.

    Args:
        network: in eval mode.
        spec: normalisation.
        features: names of features (``features.FEATURES``); those behind the decoder are left to ``DecoderGraph``.
    """

    def __init__(self, network: DeepLabV3Plus, spec: PreprocessSpec, features: Iterable[str]) -> None:
        super().__init__()
        self.network = network
        self.normalise = Normalisation(spec)
        self.features = tuple(name for name in features if name in BEFORE_DECODER)

    def forward(self, pixels: Tensor, averaging: Tensor) -> tuple[Tensor, ...]:
        """BGR uint8 (N, H, W, 3) of the network's size, averaging weights -> low, high, then a tensor a feature."""
        encoded = self.network.encode(self.normalise(pixels))
        run = NetworkPass(self.network, _in_single_precision(encoded), averaging)
        # Pooling and matrix products of half precision would add their own rounding to the network's.
        with torch.autocast(pixels.device.type, enabled=False):
            rows = [FEATURES[name](run) for name in self.features]
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
        self.features = tuple(name for name in features if name not in BEFORE_DECODER)

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
