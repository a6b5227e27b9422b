"""DeepLabv3+, split at its first random layer.

``encode`` is deterministic and runs once per frame. ``dropblock`` is the random layer. ``decode`` turns features into class
logits. So Monte-Carlo sampling never repeats the encoder (see ``mc_dropout``), and no hooks are needed.

Sources: Chen et al., DeepLabv3+, ECCV 2018, arXiv 1802.02611; DropBlock: Ghiasi et al. 2018, arXiv 1810.12890.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from dropblock import DropBlock2D
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  the customary name

from ..config import Checked, setting
from ..errors import ConfigError
from .backbones import BACKBONES, build_backbone
from .variational import VariationalConv2d

from torchvision.models.segmentation.deeplabv3 import ASPP  # isort: skip  after backbones, which guards torchvision


@dataclass(frozen=True)
class NetworkSettings(Checked):
    """Everything that is needed to rebuild the network; stored in the bundle."""

    backbone: str = setting("mobilenet_v2", "encoder", choices=BACKBONES)
    classes: int = setting(10, "number of semantic classes", low=2, high=1000)
    output_stride: int = setting(16, "input pixels per feature cell, 16 or 8", low=8, high=16)
    aspp_channels: int = setting(256, "channels of the ASPP branches and of the decoder", low=8, high=2048)
    low_level_channels: int = setting(48, "channels the stride-4 features are reduced to", low=4, high=1024)
    separable: bool = setting(False, "depthwise separable 3x3 convolutions in ASPP and decoder")
    dropblock_size: int = setting(8, "side of the dropped blocks, feature cells", low=1, high=256)
    dropblock_prob: float = setting(0.5, "DropBlock probability p; 0 = no random layer", low=0.0, high=0.99)
    low_dropblock_size: int = setting(48, "side of the blocks dropped from low-level features", low=1, high=1024)
    low_dropblock_prob: float = setting(
        0.0, "DropBlock probability on low-level features; 0 = none", low=0.0, high=0.99
    )
    variational: bool = setting(False, "last layer is a Bayes-by-Backprop convolution")


#: Model name of the reference -> the settings in which it differs.
VARIANTS: dict[str, dict[str, int | float | bool]] = {
    "deeplabv3p-normal": {"dropblock_prob": 0.0},
    "deeplabv3p-backbone-dropblock2d": {
        "dropblock_size": 12,
        "dropblock_prob": 0.2,
        "low_dropblock_size": 48,
        "low_dropblock_prob": 0.2,
    },
    "deeplabv3p-backbone-dropblock2d-larex": {"dropblock_size": 8, "dropblock_prob": 0.5},
    "deeplabv3p-variational-layer": {"dropblock_prob": 0.0, "variational": True},
}


def variant_settings(name: str, **overrides: Any) -> NetworkSettings:
    """Settings of a variant of the reference: ResNet-101, output stride 16, 256 dense channels, unless overridden.

    Raises ``ConfigError`` for an unknown variant, or a setting out of range.
    """
    if name not in VARIANTS:
        raise ConfigError(f"model is {name!r}; it must be one of {', '.join(VARIANTS)}.")
    values: dict[str, Any] = {"backbone": "resnet101", **VARIANTS[name], **overrides}
    return NetworkSettings(**values)


class Features(NamedTuple):
    """Output of the encoder's four stages, (N, C_i, h_i, w_i), at strides 4, 8, 16, 16 (or 4, 8, 8, 8)."""

    stages: tuple[Tensor, ...]

    @property
    def low(self) -> Tensor:
        """(N, C4, H/4, W/4), read by the decoder."""
        return self.stages[0]

    @property
    def high(self) -> Tensor:
        """(N, C, h, w), input of the first random layer."""
        return self.stages[-1]


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits at the size of the picture; bilinear, corners not aligned."""
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def _conv_bn_relu(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def _make_separable(module: nn.Module) -> None:
    """Replace every dense 3x3 convolution below ``module`` by a depthwise and a pointwise one."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and child.kernel_size == (3, 3) and child.groups == 1:
            inputs, outputs = child.in_channels, child.out_channels
            same: Any = {"padding": child.padding, "dilation": child.dilation}
            depthwise = nn.Conv2d(inputs, inputs, 3, groups=inputs, bias=False, **same)
            setattr(module, name, nn.Sequential(depthwise, nn.Conv2d(inputs, outputs, 1, bias=False)))
        else:
            _make_separable(child)


class DropBlock(DropBlock2D):  # type: ignore[misc]  # dropblock has no types
    """The package's DropBlock2D. A mask that would drop everything drops nothing instead, because nothing has no mean."""

    def _compute_block_mask(self, mask: Tensor) -> Tensor:
        kept: Tensor = super()._compute_block_mask(mask)
        return kept if bool(kept.any()) else torch.ones_like(kept)


class DeepLabV3Plus(nn.Module):
    """Encoder, DropBlock, ASPP and decoder. ``forward`` is the training path: images in, logits of image size out."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone = build_backbone(settings.backbone, settings.output_stride)
        low, *_, high = self.backbone.channels
        rates = [6, 12, 18] if settings.output_stride == 16 else [12, 24, 36]
        # Random in training only. At run time the masks of ``mc_dropout`` replace it.
        self.dropblock = DropBlock(settings.dropblock_prob, settings.dropblock_size)
        self.low_dropblock = DropBlock(settings.low_dropblock_prob, settings.low_dropblock_size)
        self.aspp = ASPP(high, rates, settings.aspp_channels)
        self.aspp.project[-1].p = 0.1  # the reference's rate; torchvision's is 0.5
        self.low_level = _conv_bn_relu(low, settings.low_level_channels, 1)
        last = VariationalConv2d if settings.variational else partial(nn.Conv2d, kernel_size=1)
        self.decoder = nn.Sequential(
            _conv_bn_relu(settings.low_level_channels + settings.aspp_channels, settings.aspp_channels, 3),
            last(settings.aspp_channels, settings.classes),
        )
        for layer in (*self.aspp.modules(), *self.low_level.modules(), *self.decoder.modules()):
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
        if settings.separable:
            _make_separable(self.aspp)
            _make_separable(self.decoder)

    def encode(self, images: Tensor) -> Features:
        """Run the deterministic encoder once: normalised (N, 3, H, W) -> features."""
        return Features(tuple(self.backbone(images)))

    def penultimate(self, low: Tensor, high: Tensor) -> Tensor:
        """Input of the last layer, (N, aspp_channels, H/4, W/4)."""
        # ASPP pools one branch to a single cell: with a batch of one, BatchNorm has one value and no statistics.
        self.aspp.convs[-1][2].train(self.training and high.shape[0] > 1)
        context = F.interpolate(self.aspp(high), size=low.shape[2:], mode="bilinear", align_corners=False)
        reduced: Tensor = self.decoder[:-1](torch.cat([self.low_level(low), context], dim=1))
        return reduced

    def classify(self, penultimate: Tensor) -> Tensor:
        """The last layer, a linear map at every place: (N, aspp_channels, h, w) -> logits (N, classes, h, w)."""
        logits: Tensor = self.decoder[-1](penultimate)
        return logits

    def decode(self, low: Tensor, high: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn features into class logits (N, classes, *size); bilinear, corners not aligned."""
        return upsample(self.classify(self.penultimate(low, high)), size)

    def forward(self, images: Tensor) -> Tensor:
        """Training path with DropBlock active in train mode: (N, 3, H, W) -> (N, classes, H, W)."""
        features = self.encode(images)
        height, width = images.shape[2:]
        return self.decode(self.low_dropblock(features.low), self.dropblock(features.high), (height, width))

    def head(self) -> tuple[Tensor, Tensor]:
        """Weight (classes, aspp_channels) and bias (classes,) of the last layer; the posterior mean if it is variational."""
        last: Any = self.decoder[-1]
        weight, bias = (last.weight_mu, last.bias_mu) if self.settings.variational else (last.weight, last.bias)
        return weight.detach().flatten(1), bias.detach()

    def kl_divergence(self) -> Tensor:
        """KL divergence of the variational layers from their prior, nats, a scalar; 0 without such layers."""
        layers = [layer for layer in self.modules() if isinstance(layer, VariationalConv2d)]
        return sum((layer.kl_divergence() for layer in layers), torch.zeros((), device=next(self.parameters()).device))
