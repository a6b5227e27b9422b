"""Weights out of other programs' checkpoints, and what a network lacks to take them."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch

from ls_ood_monitor.errors import ConfigError, DataError
from ls_ood_monitor.training.weights import (
    load_network_weights,
    load_pretrained,
    nearest_fit,
    unused_layers,
)
from ls_ood_monitor.vision.backbones import BACKBONES, build_backbone
from ls_ood_monitor.vision.deeplabv3p import DeepLabV3Plus, NetworkSettings

SMALL = NetworkSettings(classes=3, aspp_channels=16, separable=True)


@pytest.fixture(scope="module")
def source() -> DeepLabV3Plus:
    return DeepLabV3Plus(SMALL).eval()


@pytest.mark.parametrize("key", ["model_state", "state_dict", "model", "model_state_dict", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "network.", "module.model."])
def test_weights_are_found_under_any_usual_key_and_prefix(tmp_path, source, key, prefix):
    """The loaded network computes what the stored one does, bit for bit."""
    state = {prefix + name: value for name, value in source.state_dict().items()}
    beside = {"best_score": np.float64(0.5), "args": argparse.Namespace(lr=0.1), "optimizer_state": {"state": {}}}
    torch.save({"cur_itrs": 7, **beside, key: state}, tmp_path / "best.pth")
    network = DeepLabV3Plus(SMALL).eval()
    assert load_pretrained(network, load_network_weights(tmp_path / "best.pth")) == []
    pictures = torch.rand(1, 3, 48, 64)
    with torch.inference_mode():
        assert torch.equal(network(pictures), source(pictures))


def test_a_checkpoint_without_weights_names_its_keys(tmp_path):
    """The keys that were looked for and those of the file are in the sentence."""
    torch.save({"epoch": 3, "best_score": 0.5}, tmp_path / "empty.ckpt")
    with pytest.raises(
        DataError, match=r"nor under model_state, state_dict, .* but the keys epoch, best_score; give a"
    ):
        load_network_weights(tmp_path / "empty.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(DataError, match="but a list; give a checkpoint"):
        load_network_weights(tmp_path / "list.ckpt")


@pytest.mark.parametrize("held", BACKBONES)
def test_the_backbone_that_would_fit_is_named(held):
    """Weights of every other backbone are refused with the option that takes them."""
    other = "resnet18" if held != "resnet18" else "mobilenet_v2"
    network = DeepLabV3Plus(NetworkSettings(backbone=other, classes=3, aspp_channels=16))
    state = {f"backbone.{name}": value for name, value in build_backbone(held).state_dict().items()}
    with pytest.raises(ConfigError, match=f"another architecture; --backbone {held} would fit"):
        load_pretrained(network, state)


def test_a_backbone_that_none_fits_is_named():
    """Mmsegmentation's ResNetV1c has its own stem, which its file names tell; a truncated file fits none."""
    state = {f"backbone.{name}": value for name, value in build_backbone("resnet18").state_dict().items()}
    network = DeepLabV3Plus(NetworkSettings(backbone="resnet18", classes=3, aspp_channels=16))
    del state["backbone.stages.0.0.weight"]
    with pytest.raises(ConfigError, match="fit none of mobilenet_v2, resnet18"):
        load_pretrained(network, state)
    with pytest.raises(ConfigError, match=r"deep stem .* r18b, r50b or r101b"):
        load_pretrained(network, state | {"backbone.stem.0.weight": torch.zeros(32, 3, 3, 3)})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"classes": 5}, "They would fit a network with classes 3 (here 5)."),
        ({"aspp_channels": 24}, "They would fit a network with aspp_channels 16 (here 24)."),
        ({"separable": False}, "They would fit a network with separable True (here False)."),
        ({"low_level_channels": 8}, "They would fit a network with low_level_channels 48 (here 8)."),
        ({"variational": True}, "They would fit a network with variational False (here True)."),
    ],
)
def test_the_settings_that_would_fit_are_named(source, settings, words):
    """Shapes tell which setting differs; the other layers are loaded all the same."""
    values = {"classes": 3, "aspp_channels": 16, "separable": True, **settings}
    network = DeepLabV3Plus(NetworkSettings(**values))
    assert load_pretrained(network, source.state_dict())
    assert nearest_fit(network, source.state_dict()) == words
    assert nearest_fit(source, source.state_dict()) is None


@pytest.mark.parametrize(
    ("channels", "separable", "cure"), [(256, False, "leave out --compact"), (128, True, "give --comp")]
)
def test_the_option_that_makes_the_decoder_fit_is_named(channels, separable, cure):
    """The decoders of the command line are named by their option."""
    held = DeepLabV3Plus(NetworkSettings(classes=3, aspp_channels=channels, separable=separable))
    other = DeepLabV3Plus(NetworkSettings(classes=3, aspp_channels=384 - channels, separable=not separable))
    assert cure in nearest_fit(other, held.state_dict())


def test_weights_without_a_place_are_named(source):
    """Layers that only the other program has are listed, so that nobody takes the two networks for the same."""
    state = {**source.state_dict(), "module.decoder.aspp.1.0.weight": torch.zeros(1)}
    assert unused_layers(source, state) == ["decoder.aspp.1.0.weight"]
