"""A small network with every default feature, and pictures."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from ls_ood_monitor.profiling.random_network import RandomNetwork
from ls_ood_monitor.vision.deeplabv3p import NetworkSettings


@pytest.fixture(scope="session")
def subject() -> RandomNetwork:
    """ResNet-18 of random weights at 128x96, on the CPU."""
    return RandomNetwork(NetworkSettings("resnet18", classes=5, aspp_channels=32, separable=True), 128, 96, 16)


@pytest.fixture(scope="session")
def pictures() -> np.ndarray:
    """Three BGR pictures of that size, smooth enough to have classes."""
    coarse = np.random.default_rng(1).integers(0, 256, (3, 12, 16, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((1, 8, 8, 1), np.uint8))
