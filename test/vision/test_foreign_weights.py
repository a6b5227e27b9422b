"""Weights of other programs: loaded by name, they compute here what they compute there."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  the customary name

import ls_ood_monitor.vision.torchvision_compat  # noqa: F401  before torchvision

from torchvision import models  # isort: skip
from torchvision.models._utils import IntermediateLayerGetter  # isort: skip
from torchvision.models.segmentation.deeplabv3 import ASPP  # isort: skip

from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.vision.backbones import build_backbone, load_imagenet_weights
from ls_ood_monitor.vision.deeplabv3p import DeepLabV3Plus, NetworkSettings, variant_settings
from ls_ood_monitor.vision.foreign_weights import network_weights

PICTURES = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


class Published(nn.Module):
    """DeepLabv3+ under the names of the reference's checkpoints, put together from torchvision's own parts."""

    def __init__(self):
        super().__init__()
        net = models.resnet50(weights=None, replace_stride_with_dilation=[False, False, True])
        self.backbone = IntermediateLayerGetter(net, {"layer1": "low_level", "layer4": "out"})
        self.classifier = nn.Module()
        self.classifier.project = nn.Sequential(nn.Conv2d(256, 48, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU())
        self.classifier.aspp = ASPP(2048, [6, 12, 18])
        self.classifier.classifier = nn.Sequential(
            nn.Conv2d(304, 256, 3, padding=1, bias=False), nn.BatchNorm2d(256), nn.ReLU(), nn.Conv2d(256, 10, 1)
        )

    def forward(self, pictures):
        features, head = self.backbone(pictures), self.classifier
        low, high = head.project(features["low_level"]), head.aspp(features["out"])
        high = F.interpolate(high, size=low.shape[2:], mode="bilinear", align_corners=False)
        logits = head.classifier(torch.cat([low, high], dim=1))
        return F.interpolate(logits, size=pictures.shape[2:], mode="bilinear", align_corners=False)


def shaken(network: nn.Module) -> nn.Module:
    """The same network with BatchNorm statistics that a swap would show."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.1, 0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("prefix", ["", "model.", "network."])
def test_a_checkpoint_of_the_reference_gives_its_logits(prefix):
    """Under any prefix of a training framework, every weight finds its place and the logits are the same."""
    torch.manual_seed(0)
    theirs = shaken(Published())
    ours = DeepLabV3Plus(variant_settings("deeplabv3p-normal", backbone="resnet50")).eval()
    weights = network_weights({prefix + name: value for name, value in theirs.state_dict().items()})
    ours.load_state_dict(weights, strict=True)
    with torch.inference_mode():
        torch.testing.assert_close(ours(PICTURES), theirs(PICTURES))


def test_torchvisions_deeplabv3_gives_backbone_and_aspp():
    """Context features equal those of torchvision's own model; its further head has no place here."""
    torch.manual_seed(0)
    theirs = models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None, aux_loss=False)
    theirs = shaken(theirs)
    ours = DeepLabV3Plus(variant_settings("deeplabv3p-normal", backbone="resnet50", output_stride=8)).eval()
    missing = ours.load_state_dict(network_weights(theirs.state_dict()), strict=False).missing_keys
    assert missing
    assert all(name.startswith(("low_level.", "decoder.")) for name in missing)
    with torch.inference_mode():
        expected = theirs.classifier[0](theirs.backbone(PICTURES)["out"])
        torch.testing.assert_close(ours.aspp(ours.encode(PICTURES).high), expected)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_the_order_of_a_file_does_not_matter(name):
    """Weights sorted by name, as safetensors keeps them, load like those in the order of the layers."""
    state = shaken(getattr(models, name)(weights=None)).state_dict()
    one, two = build_backbone(name), build_backbone(name)
    load_imagenet_weights(one, state)
    load_imagenet_weights(two, dict(sorted(state.items())))
    for key, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[key]), key


def test_a_missing_layer_is_named():
    """A file that lacks a weight is refused, one that lacks BatchNorm's counters is not."""
    state = models.resnet18(weights=None).state_dict()
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    load_imagenet_weights(build_backbone("resnet18"), old)
    del old["layer3.1.conv2.weight"]
    with pytest.raises(ConfigError, match=r"lack layer stages\.2\.1\.conv2\.weight .* another architecture"):
        load_imagenet_weights(build_backbone("resnet18"), old)


def test_a_layer_left_over_is_named():
    """A larger network of the same family holds every layer of the smaller one, and is another all the same."""
    with pytest.raises(ConfigError, match=r"have layer stages\.0\.6\.conv1\.weight.* another architecture"):
        load_imagenet_weights(build_backbone("resnet18"), models.resnet34(weights=None).state_dict())


class Vainf(nn.Module):
    """The layers of MobileNetV2 and its decoder under VainF's names."""

    def __init__(self):
        super().__init__()
        blocks = models.mobilenet_v2(weights=None).features
        self.backbone = nn.Module()
        self.backbone.low_level_features = blocks[:4]
        self.backbone.high_level_features = blocks[4:-1]
        self.classifier = Published().classifier
        self.classifier.aspp = ASPP(320, [6, 12, 18])
        self.classifier.project[0] = nn.Conv2d(24, 48, 1, bias=False)
        for parent, place in (
            *((self.classifier.aspp.convs[i], 0) for i in (1, 2, 3)),
            (self.classifier.classifier, 0),
        ):
            dense = parent[place]
            depthwise = nn.Conv2d(dense.in_channels, dense.in_channels, 3, groups=dense.in_channels, bias=False)
            depthwise.padding, depthwise.dilation = dense.padding, dense.dilation
            parent[place] = nn.Module()
            parent[place].body = nn.Sequential(
                depthwise, nn.Conv2d(dense.in_channels, dense.out_channels, 1, bias=False)
            )
            parent[place].forward = parent[place].body.forward

        for number, block in enumerate(blocks[14:18]):  # output stride 16
            depthwise = block.conv[1][0]
            depthwise.stride, depthwise.dilation = (1, 1), (min(number + 1, 2),) * 2
            depthwise.padding = depthwise.dilation

    def forward(self, pictures):
        low = self.backbone.low_level_features(pictures)
        high = self.classifier.aspp(self.backbone.high_level_features(low))
        low = self.classifier.project(low)
        high = F.interpolate(high, size=low.shape[2:], mode="bilinear", align_corners=False)
        logits = self.classifier.classifier(torch.cat([low, high], dim=1))
        return F.interpolate(logits, size=pictures.shape[2:], mode="bilinear", align_corners=False)


def test_a_separable_mobilenet_of_vainf_gives_its_logits():
    """Its two parts of the backbone, which keep the numbers of the blocks, and its separable convolutions find their place."""
    torch.manual_seed(0)
    theirs = shaken(Vainf())
    ours = DeepLabV3Plus(NetworkSettings(aspp_channels=256, separable=True)).eval()
    ours.load_state_dict(network_weights(theirs.state_dict()), strict=True)
    with torch.inference_mode():
        torch.testing.assert_close(ours(PICTURES), theirs(PICTURES))


def renamed(state: dict[str, torch.Tensor], rules: dict[str, str]) -> dict[str, torch.Tensor]:
    """Weights under other names: the first pattern that matches the start of a name is replaced."""
    names = {name: next((re.sub(p, n, name) for p, n in rules.items() if re.match(p, name)), name) for name in state}
    return {names[name]: value for name, value in state.items()}


RESNET = {
    r"backbone\.stages\.0\.0\.": "encoder.conv1.",
    r"backbone\.stages\.0\.1\.": "encoder.bn1.",
    r"backbone\.stages\.0\.4\.": "encoder.layer1.0.",
    r"backbone\.stages\.0\.5\.": "encoder.layer1.1.",
    r"backbone\.stages\.1\.": "encoder.layer2.",
    r"backbone\.stages\.2\.": "encoder.layer3.",
    r"backbone\.stages\.3\.": "encoder.layer4.",
}


def test_weights_of_segmentation_models_pytorch_give_the_logits():
    """It concatenates the ASPP before the low-level features: the order of the channels is turned round."""
    torch.manual_seed(0)
    settings = NetworkSettings(backbone="resnet18", separable=True)
    source, loaded = shaken(DeepLabV3Plus(settings)), DeepLabV3Plus(settings).eval()
    head = {"aspp": "decoder.aspp.0", "low_level": "decoder.block1", r"decoder\.0": "decoder.block2"}
    state = renamed(source.state_dict(), {**RESNET, **head, r"decoder\.1": "segmentation_head.0"})
    low_last = [*range(48, 304), *range(48)]
    state["decoder.block2.0.0.weight"] = state["decoder.block2.0.0.weight"][low_last]
    state["decoder.block2.0.1.weight"] = state["decoder.block2.0.1.weight"][:, low_last]
    loaded.load_state_dict(network_weights({f"model.{name}": value for name, value in state.items()}), strict=True)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(PICTURES), source(PICTURES))


@pytest.mark.parametrize(
    ("foreign", "own"),
    [
        ("backbone.high_level_features.17.conv.2.weight", "backbone.stages.3.3.conv.2.weight"),
        ("classifier.classifier.0.convs.2.1.bias", "aspp.convs.2.1.bias"),
        ("encoder.features.7.conv.1.0.weight", "backbone.stages.2.0.conv.1.0.weight"),
        ("encoder.features.18.0.weight", "features.18.0.weight"),
        ("encoder.model.layer1.0.downsample.0.weight", "backbone.stages.0.4.downsample.0.weight"),
        ("decoder.aspp.0.project.1.bias", "aspp.project.1.bias"),
        ("backbone.conv1.weight", "backbone.stages.0.0.weight"),
        ("backbone.conv1.conv.weight", "backbone.stages.0.0.0.weight"),
        ("backbone.conv1.bn.bias", "backbone.stages.0.0.1.bias"),
        ("backbone.layer1.0.conv.0.bn.bias", "backbone.stages.0.1.conv.0.1.bias"),
        ("backbone.layer1.0.conv.1.conv.weight", "backbone.stages.0.1.conv.1.weight"),
        ("backbone.layer1.0.conv.1.bn.weight", "backbone.stages.0.1.conv.2.weight"),
        ("backbone.layer4.3.conv.1.conv.weight", "backbone.stages.2.3.conv.1.0.weight"),
        ("backbone.layer7.0.conv.2.bn.running_var", "backbone.stages.3.3.conv.3.running_var"),
        ("decode_head.image_pool.1.bn.weight", "aspp.convs.4.2.weight"),
        ("decode_head.aspp_modules.0.conv.weight", "aspp.convs.0.0.weight"),
        ("decode_head.c1_bottleneck.bn.bias", "low_level.1.bias"),
        ("decode_head.conv_seg.bias", "decoder.1.bias"),
        ("decode_head.bottleneck.conv.weight", "decode_head.bottleneck.conv.weight"),
        ("decode_head.sep_bottleneck.0.depthwise_conv.bn.bias", "decode_head.sep_bottleneck.0.depthwise_conv.bn.bias"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module.model."])
def test_names_of_other_programs(foreign, own, prefix):
    """A weight finds its place under the names of VainF, segmentation_models_pytorch and mmsegmentation, or has none."""
    assert list(network_weights({prefix + foreign: torch.zeros(1)})) == [own]


def test_two_networks_in_one_file_are_refused():
    """Of a teacher and its student, neither silently overwrites the other."""
    state = {"teacher.backbone.conv1.weight": torch.zeros(1), "student.backbone.conv1.weight": torch.ones(1)}
    with pytest.raises(ConfigError, match=r"two networks: teacher\.\S+ and student\.\S+ are one layer"):
        network_weights(state)
