"""torchvision backbones split into the four stages that DeepLabv3+ reads, at output stride 16 or 8.

Source of the dilation rule: Chen et al., DeepLabv3, arXiv 1706.05587 (stride traded for dilation; the first
block of a dilated stage keeps the dilation before it, as torchvision and the reference do).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from . import torchvision_compat as _compat  # noqa: F401  must come before torchvision
from .foreign_weights import backbone_name

from torchvision import models  # isort: skip

BACKBONES: tuple[str, ...] = ("mobilenet_v2", "resnet18", "resnet50", "resnet101")


class Backbone(nn.Module):
    """Four stages in a row; ``forward`` returns the output of each, strides 4, 8, 16 and 16 (or 4, 8, 8, 8).

    ``channels`` is the channel count of each stage's output.
    """

    def __init__(self, stages: Iterable[nn.Module], channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> the four stage outputs."""
        outputs = []
        for stage in self.stages:
            images = stage(images)
            outputs.append(images)
        return outputs


def _replace_stride(blocks: Iterable[nn.Module], dilation: int, first_dilation: int) -> None:
    """Give residual blocks stride 1 and the dilation that keeps their field of view."""
    for index, block in enumerate(blocks):
        rate = first_dilation if index == 0 else dilation
        for conv in (module for module in block.modules() if isinstance(module, nn.Conv2d)):
            conv.stride = (1, 1)
            if conv.kernel_size == (3, 3):
                conv.dilation = conv.padding = (rate, rate)


def _dilate(third: Iterable[nn.Module], fourth: Iterable[nn.Module], output_stride: int) -> None:
    """Trade the strides beyond ``output_stride`` for dilation."""
    if output_stride == 8:
        _replace_stride(third, dilation=2, first_dilation=1)
        _replace_stride(fourth, dilation=4, first_dilation=2)
    else:
        _replace_stride(fourth, dilation=2, first_dilation=1)


def build_backbone(name: str, output_stride: int = 16) -> Backbone:
    """Make a randomly initialised backbone; load ImageNet weights with ``load_imagenet_weights``.

    Raises ``ConfigError`` for an unknown name or output stride.
    """
    if name not in BACKBONES:
        raise ConfigError(f"backbone is {name!r}; it must be one of {', '.join(BACKBONES)}.")
    if output_stride not in (8, 16):
        raise ConfigError(f"output_stride is {output_stride}; it must be 8 or 16.")
    if name == "mobilenet_v2":
        # The last 1x1 expansion (320 -> 1280) only serves ImageNet classification.
        blocks = list(models.mobilenet_v2(weights=None).features.children())[:18]
        stages = [blocks[:4], blocks[4:7], blocks[7:14], blocks[14:]]
        _dilate(stages[2], stages[3], output_stride)
        return Backbone((nn.Sequential(*stage) for stage in stages), (24, 32, 96, 320))
    net = getattr(models, name)(weights=None)
    _dilate(net.layer3, net.layer4, output_stride)
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, *net.layer1)
    widths = (64, 128, 256, 512) if name == "resnet18" else (256, 512, 1024, 2048)
    return Backbone((stem, net.layer2, net.layer3, net.layer4), widths)


def imagenet_file(name: str) -> str:
    """URL of torchvision's ImageNet weights of a backbone. Nothing here downloads it."""
    return str(models.get_model_weights(name).IMAGENET1K_V1.url)


def load_imagenet_weights(backbone: Backbone, state: dict[str, Tensor]) -> None:
    """Copy torchvision's classification weights, without the classifier and MobileNetV2's last expansion.

    Raises ``ConfigError`` if the weights belong to another architecture.
    """
    given = {own: value for name, value in state.items() if (own := backbone_name(name)) is not None}
    require_backbone(backbone, given)
    backbone.load_state_dict(given, strict=False)


def require_backbone(backbone: Backbone, given: Mapping[str, Tensor]) -> None:
    """Check that ``given``, under our names, are exactly the weights of this backbone.

    Raises ``ConfigError`` if a weight is missing, superfluous, or has another shape; it names the backbone that fits.
    """
    fault = _misfit(backbone.state_dict(), given)
    if fault is not None:
        raise ConfigError(f"{fault}: they belong to another architecture; {_advice(given)}")


def _misfit(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """First difference between the weights of a backbone and those given; None = they fit."""
    for name, tensor in own.items():
        if name not in given:
            if name.endswith("num_batches_tracked"):  # files from before 2018 lack BatchNorm's counters
                continue
            return f"the weights lack layer {name} of the backbone"
        if given[name].shape != tensor.shape:
            return f"weight {name} has shape {tuple(given[name].shape)}, the backbone needs {tuple(tensor.shape)}"
    for name in given:
        if name not in own:  # the layers of a ResNet-50 are all in a ResNet-101, too
            return f"the weights have layer {name}, which the backbone lacks"
    return None


def _advice(given: Mapping[str, Tensor]) -> str:
    """Which backbone the weights fit, or that none does."""
    for name in BACKBONES:
        with torch.device("meta"):
            own = build_backbone(name).state_dict()
        if _misfit(own, given) is None:
            return f"--backbone {name} would fit."
    if any(name.startswith("stem.") for name in given):
        return (
            "their deep stem of three convolutions (mmsegmentation's ResNetV1c) has no place here; its checkpoints with a "
            "plain ResNet would fit, r18b, r50b or r101b in their names."
        )
    return f"they fit none of {', '.join(BACKBONES)}, so give the complete weights of one of these."
