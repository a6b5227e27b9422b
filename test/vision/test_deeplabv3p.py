"""Network shapes, parameter counts and the seam."""

from __future__ import annotations

import pytest
import torch

import ls_ood_monitor.vision.torchvision_compat  # noqa: F401  before torchvision

import torchvision  # isort: skip

from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.vision.backbones import BACKBONES, build_backbone, load_imagenet_weights
from ls_ood_monitor.vision.deeplabv3p import VARIANTS, DeepLabV3Plus, DropBlock, NetworkSettings, variant_settings

LATENT_CHANNELS = {"mobilenet_v2": 320, "resnet18": 512, "resnet50": 2048, "resnet101": 2048}


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("stride", [16, 8])
def test_shapes_follow_the_output_stride(backbone, stride):
    """Features come at the output stride, low-level ones at stride 4, logits at the asked size."""
    network = DeepLabV3Plus(NetworkSettings(backbone=backbone, output_stride=stride, aspp_channels=16)).eval()
    with torch.inference_mode():
        features = network.encode(torch.zeros(2, 3, 64, 96))
        logits = network.decode(features.low, features.high, (64, 96))
    assert features.high.shape == (2, LATENT_CHANNELS[backbone], 64 // stride, 96 // stride)
    assert features.low.shape[2:] == (16, 24)
    assert [stage.shape[1] for stage in features.stages] == list(network.backbone.channels)
    assert logits.shape == (2, 10, 64, 96)


def test_resnet101_has_the_reference_size():
    """58.75 million parameters, 42.50 of them in the backbone, as the reference was measured."""
    network = DeepLabV3Plus(NetworkSettings(backbone="resnet101"))
    count = sum(weight.numel() for weight in network.parameters())
    encoder = sum(weight.numel() for weight in network.backbone.parameters())
    assert round(count / 1e6, 2) == 58.76 or round(count / 1e6, 2) == 58.75
    assert round(encoder / 1e6, 2) == 42.50


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet18"])
def test_undilated_stages_equal_torchvision(backbone):
    """With torchvision's weights loaded, the stages before the first dilation give torchvision's own features."""
    torch.manual_seed(0)
    reference = getattr(torchvision.models, backbone)(weights=None).eval()
    ours = build_backbone(backbone).eval()
    load_imagenet_weights(ours, reference.state_dict())
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        if backbone == "mobilenet_v2":
            expected = reference.features[:14](images)
        else:
            net = reference
            expected = net.layer3(net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(images)))))))
        torch.testing.assert_close(ours(images)[2], expected)


def test_dilated_resnet50_equals_torchvision():
    """Output stride 16 and 8 dilate as torchvision's own replace_stride_with_dilation does."""
    torch.manual_seed(0)
    images = torch.rand(1, 3, 64, 64)
    for stride, replaced in ((16, [False, False, True]), (8, [False, True, True])):
        reference = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=replaced).eval()
        ours = build_backbone("resnet50", stride).eval()
        load_imagenet_weights(ours, reference.state_dict())
        with torch.inference_mode():
            net = reference
            expected = net.layer4(net.layer3(net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(images))))))))
            torch.testing.assert_close(ours(images)[3], expected)


def test_dropblock_is_random_in_training_only():
    """The seam's layer changes features in train mode and is the identity in eval mode."""
    torch.manual_seed(0)
    network = DeepLabV3Plus(NetworkSettings(backbone="mobilenet_v2", aspp_channels=16, dropblock_size=2))
    features = torch.rand(1, 320, 8, 8)
    assert torch.equal(network.eval().dropblock(features), features)
    assert not torch.equal(network.train().dropblock(features), features)


def test_wrong_weights_and_names_are_refused():
    """Weights of another architecture, unknown backbones and output strides are refused in a sentence."""
    with pytest.raises(ConfigError, match="another architecture"):
        load_imagenet_weights(build_backbone("resnet50"), torchvision.models.resnet18(weights=None).state_dict())
    with pytest.raises(ConfigError, match="vgg16"):
        build_backbone("vgg16")
    with pytest.raises(ConfigError, match="8 or 16"):
        build_backbone("resnet18", 32)
    with pytest.raises(ConfigError, match="alexnet"):
        NetworkSettings(backbone="alexnet")


def test_variants_are_those_of_the_reference():
    """Names, DropBlock settings and the variational layer as published."""
    seed = variant_settings("deeplabv3p-backbone-dropblock2d")
    assert (seed.backbone, seed.output_stride, seed.aspp_channels, seed.separable) == ("resnet101", 16, 256, False)
    assert (seed.dropblock_size, seed.dropblock_prob) == (12, 0.2)
    assert (seed.low_dropblock_size, seed.low_dropblock_prob) == (48, 0.2)
    larex = variant_settings("deeplabv3p-backbone-dropblock2d-larex")
    assert (larex.dropblock_size, larex.dropblock_prob, larex.low_dropblock_prob) == (8, 0.5, 0.0)
    normal = variant_settings("deeplabv3p-normal", backbone="resnet18")
    assert (normal.backbone, normal.dropblock_prob, normal.low_dropblock_prob) == ("resnet18", 0.0, 0.0)
    assert variant_settings("deeplabv3p-variational-layer").variational
    with pytest.raises(ConfigError, match="deeplabv3p-normal"):
        variant_settings("unet")


@pytest.mark.parametrize("size", [(483, 640), (256, 512)])
def test_reference_shapes_of_resnet101(size):
    """Feature maps at the reference's input sizes, computed without their arithmetic (meta device)."""
    with torch.device("meta"):
        network = DeepLabV3Plus(variant_settings("deeplabv3p-backbone-dropblock2d")).eval()
        features = network.encode(torch.empty(1, 3, *size))
    expected = {(483, 640): ((121, 160), (31, 40)), (256, 512): ((64, 128), (16, 32))}[size]
    assert tuple(features.low.shape) == (1, 256, *expected[0])
    assert tuple(features.high.shape) == (1, 2048, *expected[1])


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_trains_a_step(name):
    """Forward, KL and backward reach every parameter of each variant, at batch 2."""
    torch.manual_seed(0)
    network = DeepLabV3Plus(variant_settings(name, backbone="mobilenet_v2", aspp_channels=16)).train()
    logits = network(torch.rand(2, 3, 128, 160))
    (logits.square().mean() + 1e-6 * network.kl_divergence()).backward()
    assert all(weight.grad is not None for weight in network.parameters())
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())
    assert (float(network.kl_divergence().detach()) > 0) == ("variational" in name)


def test_low_level_dropblock_acts_in_training_only():
    """The second DropBlock changes logits in train mode alone."""
    torch.manual_seed(0)
    settings = NetworkSettings(aspp_channels=16, dropblock_prob=0.0, low_dropblock_prob=0.5, low_dropblock_size=4)
    network = DeepLabV3Plus(settings)
    low = torch.rand(1, 24, 16, 16)
    assert torch.equal(network.eval().low_dropblock(low), low)
    assert not torch.equal(network.train().low_dropblock(low), low)


def test_dropblock_that_drops_everything_drops_nothing():
    """Where the package divides by zero, features pass unchanged."""
    layer = DropBlock(0.99, 8).train()
    features = torch.rand(1, 3, 4, 4)
    torch.manual_seed(0)
    outputs = [layer(features) for _ in range(50)]
    assert all(torch.isfinite(output).all() for output in outputs)
    assert any(torch.equal(output, features) for output in outputs)
