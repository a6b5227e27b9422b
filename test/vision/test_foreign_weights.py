"""Weights of other programs: loaded by name, they compute here what they compute there."""

from __future__ import annotations

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
from ls_ood_monitor.vision.deeplabv3p import DeepLabV3Plus, variant_settings
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
