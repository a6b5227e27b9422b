"""A torch module becomes a bundle, by names of its modules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ls_ood_monitor.adoption.from_torch import adopt
from ls_ood_monitor.bundle import open_bundle
from ls_ood_monitor.errors import ConfigError

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


class Small(nn.Module):
    """Two stages and a head; gives a mapping as torchvision does."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.early = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.late = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU())
        self.head = nn.Conv2d(12, 4, 1)
        self.spare = nn.ReLU()  # never called

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        if pixels.shape[2] < 40:
            raise ValueError("too small")
        return {"out": self.head(self.late(self.early(pixels)))}


@pytest.mark.slow
def test_a_module_is_tapped_by_name(tmp_path):
    """Stage means and classes equal those of the module in torch, which keeps no hooks."""
    network = Small().eval()
    adopt(
        network,
        torch.zeros(1, 3, 48, 64),
        ["early"],
        tmp_path / "bundle",
        latents="late",
        class_names=("a", "b", "c", "d"),
        mean=MEAN,
        std=STD,
    )
    assert not any(module._forward_hooks for module in network.modules())
    opened = open_bundle(tmp_path / "bundle", device="cpu")
    frame_pass = opened.frame_pass
    assert opened.class_names == ("a", "b", "c", "d")
    assert frame_pass.settings.input.batch
    images = list(np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8))
    rgb = np.stack(images)[..., ::-1].transpose(0, 3, 1, 2) / 255.0
    values = (rgb - np.array(MEAN).reshape(3, 1, 1)) / np.array(STD).reshape(3, 1, 1)
    with torch.no_grad():
        pixels = torch.from_numpy(values).float()
        early = network.early(pixels)
        scores = network(pixels)["out"]
    run = frame_pass.begin(images)
    np.testing.assert_allclose(run.features.of("stage_means"), early.mean((2, 3)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        run.features.of("latent_means"), network.late(early).mean((2, 3)).detach(), rtol=1e-4, atol=1e-4
    )
    large = nn.functional.interpolate(scores, (48, 64), mode="bilinear").argmax(1).numpy()
    assert (run.class_ids == large).mean() > 0.999


@pytest.mark.parametrize(
    ("example", "taps", "words"),
    [
        (torch.zeros(2, 3, 48, 64), ["early"], r"example_input has the shape \(2, 3, 48, 64\)"),
        (torch.zeros(1, 3, 48, 64), ["erly"], "there is no module 'erly'; the network has early, late, head, spare"),
        (torch.zeros(1, 3, 48, 64), ["spare"], "the network does not call its module 'spare'; name another"),
        (torch.zeros(1, 3, 32, 64), ["early"], "torch cannot run this network on a picture of 64x32"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, example, taps, words):
    """Before the export, which takes long."""
    with pytest.raises(ConfigError, match=words):
        adopt(Small(), example, taps, tmp_path / "bundle")
    with pytest.raises(ConfigError, match=r"mean is \(0.5,\); three numbers are needed"):
        adopt(Small(), torch.zeros(1, 3, 48, 64), ["early"], tmp_path / "bundle", mean=(0.5,))


@pytest.mark.slow
def test_a_half_precision_module_of_one_picture(tmp_path):
    """It is adopted in float32, one picture at a time, and stays as it is."""

    class Single(Small):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return super().forward(pixels.reshape(1, 3, 48, 64))["out"]

    network = Single().half().train()
    adopt(network, torch.zeros(1, 3, 48, 64), ["early"], tmp_path / "bundle")
    assert network.training
    assert {weight.dtype for weight in network.parameters()} == {torch.float16}
    frame_pass = open_bundle(tmp_path / "bundle", device="cpu").frame_pass
    assert not frame_pass.settings.input.batch
    assert frame_pass.begin([np.zeros((48, 64, 3), np.uint8)] * 2).class_ids.shape == (2, 48, 64)
