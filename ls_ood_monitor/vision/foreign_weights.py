"""Translates the names of weights from other programs.

Supported are torchvision's classifiers and its DeepLabv3, DeepLabv3+ as the reference stores it (the layout of
VainF/DeepLabV3Plus-Pytorch), and the DeepLabv3+ of segmentation_models_pytorch and of mmsegmentation, with any prefix of
a training framework. A layer that the other program builds in another way is left out, even if its shape fits.
"""

from __future__ import annotations

import re

from torch import Tensor

from ..errors import ConfigError

#: First block of each stage in torchvision's MobileNetV2; its block 18 only serves classification.
_MOBILENET_STAGES = (0, 4, 7, 14)
_MOBILENET_BLOCKS = 18
#: First block of each of mmsegmentation's layers of MobileNetV2.
_MMSEG_LAYERS = (1, 2, 4, 7, 11, 14, 17)
#: Layers of a backbone that only serve classification.
_CLASSIFIERS = ("fc.", "classifier.", f"features.{_MOBILENET_BLOCKS}.")
_STEM = {"conv1": "0", "bn1": "1"}
_STEM_LENGTH = 4  # conv1, bn1, relu, maxpool: layer1 follows them in the first stage

#: Prefix of a foreign name -> our prefix; the first match counts.
_TORCHVISION = (("classifier.0.", "aspp."),)
_VAINF = (
    ("classifier.project.", "low_level."),
    ("classifier.aspp.", "aspp."),
    ("classifier.classifier.0.convs.", "aspp.convs."),  # of its DeepLabv3
    ("classifier.classifier.0.project.", "aspp.project."),
    ("classifier.classifier.3.", "decoder.1."),
    ("classifier.classifier.", "decoder.0."),
)
#: Its separable convolution behind the ASPP has no place here.
_SMP = (
    ("decoder.aspp.0.", "aspp."),
    ("decoder.block1.", "low_level."),
    ("decoder.block2.", "decoder.0."),
    ("segmentation_head.0.", "decoder.1."),
)
#: Its separable convolutions normalise twice, and its ASPP is projected by 3x3: neither has a place here.
_MMSEG = (
    ("decode_head.image_pool.1.conv.", "aspp.convs.4.1."),
    ("decode_head.image_pool.1.bn.", "aspp.convs.4.2."),
    *((f"decode_head.aspp_modules.{branch}.conv.", f"aspp.convs.{branch}.0.") for branch in range(4)),
    *((f"decode_head.aspp_modules.{branch}.bn.", f"aspp.convs.{branch}.1.") for branch in range(4)),
    ("decode_head.c1_bottleneck.conv.", "low_level.0."),
    ("decode_head.c1_bottleneck.bn.", "low_level.1."),
    ("decode_head.conv_seg.", "decoder.1."),
)
_HEAD = (*_TORCHVISION, *_VAINF, *_SMP, *_MMSEG)

#: Weights of segmentation_models_pytorch over ASPP and low-level channels, in this order -> their axis. Ours is reversed.
_SMP_CONCATENATED = {"decoder.block2.0.0.weight": 0, "decoder.block2.0.1.weight": 1}
_SMP_LOW_LEVEL_CHANNELS = 48

_NETWORK_PART = re.compile(
    r"(?:^|\.)((?:backbone|encoder|classifier|decoder|segmentation_head|decode_head|aspp|low_level)\..+)"
)


def backbone_name(name: str) -> str | None:
    """Our name of a weight of a ResNet or MobileNetV2; None if it has none, as those of the classifier."""
    name = _torchvision_name(name)
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
    """The weights of a whole network under our names; weights without such a name keep theirs.

    Raises ``ConfigError`` if two weights are the same one of the network, as in a file of a teacher and its student.
    """
    ours: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    for name, value in state.items():
        match = _NETWORK_PART.search(name)
        part = match[1] if match else name
        own = _network_name(part)
        if own in ours:
            raise ConfigError(
                f"the weights are of two networks: {sources[own]} and {name} are one layer; give a file that holds one network."
            )
        if part in _SMP_CONCATENATED:
            value = value.roll(_SMP_LOW_LEVEL_CHANNELS, _SMP_CONCATENATED[part])
        ours[own], sources[own] = value, name
    return ours


def _network_name(part: str) -> str:
    kind, _, inner = part.partition(".")
    if kind in ("backbone", "encoder"):
        if inner.startswith(_CLASSIFIERS):
            return inner
        return f"backbone.{backbone_name(inner) or inner}"
    for foreign, own in _HEAD:
        if part.startswith(foreign):
            return (own + part.removeprefix(foreign)).replace(".body.", ".")  # VainF's separable convolution
    return part


def _torchvision_name(name: str) -> str:
    """The name in torchvision of a weight that VainF, mmsegmentation (MobileNetV2) or timm's wrapper name otherwise."""
    name = re.sub(r"^(?:low|high)_level_features\.", "features.", name.removeprefix("model."))
    if match := re.fullmatch(r"conv1\.(conv|bn)\.(.+)", name):
        return f"features.0.{int(match[1] == 'bn')}.{match[2]}"
    if match := re.fullmatch(r"layer([1-7])\.(\d+)\.conv\.(\d)\.(conv|bn)\.(.+)", name):
        layer, block, conv, norm = int(match[1]), int(match[2]), int(match[3]), int(match[4] == "bn")
        is_last = conv == (1 if layer == 1 else 2)  # the first block does not expand its input
        place = f"{conv + norm}" if is_last else f"{conv}.{norm}"
        return f"features.{_MMSEG_LAYERS[layer - 1] + block}.conv.{place}.{match[5]}"
    return name
