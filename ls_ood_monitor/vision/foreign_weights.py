"""Translates the names of weights from other programs.

Supported are torchvision's classifiers and its DeepLabv3, and DeepLabv3+ as the reference stores it (the layout of
VainF/DeepLabV3Plus-Pytorch, with any prefix of a training framework).
"""

from __future__ import annotations

import re

from torch import Tensor

#: First block of each stage in torchvision's MobileNetV2; its block 18 only serves classification.
_MOBILENET_STAGES = (0, 4, 7, 14)
_MOBILENET_BLOCKS = 18
_STEM = {"conv1": "0", "bn1": "1"}
_STEM_LENGTH = 4  # conv1, bn1, relu, maxpool: layer1 follows them in the first stage

#: Prefix of a foreign name -> our prefix; the first match counts.
_HEAD = (
    ("classifier.project.", "low_level."),
    ("classifier.aspp.", "aspp."),
    ("classifier.classifier.3.", "decoder.1."),
    ("classifier.classifier.", "decoder.0."),
    ("classifier.0.", "aspp."),
)
_NETWORK_PART = re.compile(r"(?:^|\.)((?:backbone|classifier)\..+)")


def backbone_name(name: str) -> str | None:
    """Our name of a weight of torchvision's ResNet or MobileNetV2; None for the classifier's."""
    first, _, rest = name.partition(".")
    if first in _STEM:
        return f"stages.0.{_STEM[first]}.{rest}"
    number, _, rest = rest.partition(".")
    if not number.isdecimal():
        return None
    if first in ("layer1", "layer2", "layer3", "layer4"):
        offset = _STEM_LENGTH if first == "layer1" else 0
        return f"stages.{int(first[-1]) - 1}.{int(number) + offset}.{rest}"
    if first == "features" and int(number) < _MOBILENET_BLOCKS:
        stage = max(index for index, start in enumerate(_MOBILENET_STAGES) if start <= int(number))
        return f"stages.{stage}.{int(number) - _MOBILENET_STAGES[stage]}.{rest}"
    return None


def network_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a whole network under our names; weights without such a name keep theirs."""
    return {_network_name(name) or name: value for name, value in state.items()}


def _network_name(name: str) -> str | None:
    match = _NETWORK_PART.search(name)
    if match is None:
        return None
    part = match[1]
    if part.startswith("backbone."):
        inner = backbone_name(part.removeprefix("backbone."))
        return None if inner is None else f"backbone.{inner}"
    for foreign, own in _HEAD:
        if part.startswith(foreign):
            return own + part.removeprefix(foreign)
    return None
