"""Trains the segmentation network on labelled pictures held in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..config import Checked, setting
from ..core.metrics import confusion_matrix
from ..errors import DataError
from ..vision.backbones import load_imagenet_weights
from ..vision.deeplabv3p import DeepLabV3Plus, NetworkSettings
from ..vision.preprocess import PreprocessSpec, preprocess
from .losses import segmentation_loss


@dataclass(frozen=True)
class TrainingSettings(Checked):
    """Optimisation of the embedded network: AdamW, one-cycle learning rate, plain cross entropy."""

    epochs: int = setting(12, "passes over the training pictures", low=1, high=10000)
    batch: int = setting(8, "pictures a step", low=2, high=1024)
    learning_rate: float = setting(2e-3, "peak rate of the new layers", low=1e-7, high=1.0)
    backbone_rate: float = setting(0.3, "rate of the backbone relative to the new layers", low=0.0, high=10.0)
    frozen_stages: int = setting(0, "stages of the backbone kept at their start weights", low=0, high=4)
    seed: int = setting(0, "seed of initialisation, order and augmentation", low=0, high=2**31 - 1)


@dataclass(frozen=True)
class LabelledSet:
    """Pictures at the network's size.

    Attributes:
        images: uint8 BGR (N, H, W, 3).
        labels: uint8 class ids (N, H, W); 255 is ignored.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def load_initial_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a torchvision state dict (.pth) without running any code in it.

    Raises:
        DataError: missing file, or not a plain dictionary of tensors.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"there is no weight file {path}; give torchvision's ImageNet file of the backbone.") from error
    except Exception as error:  # torch raises pickle, runtime and key errors alike for a foreign file
        raise DataError(f"{path} is not a plain torch state dict ({error}).") from error
    if not isinstance(state, dict):
        raise DataError(f"{path} holds a {type(state).__name__}, not a dictionary of tensors.")
    return state


def train_network(
    data: LabelledSet,
    settings: TrainingSettings,
    network_settings: NetworkSettings,
    spec: PreprocessSpec,
    *,
    initial: dict[str, torch.Tensor] | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int, float], None] | None = None,
    after_epoch: Callable[[int, DeepLabV3Plus], None] | None = None,
) -> DeepLabV3Plus:
    """Train and return the network, in eval mode.

    Args:
        data: training pictures and labels.
        settings: optimisation.
        network_settings: architecture.
        spec: preprocessing; the pictures must have its size.
        initial: ImageNet weights of the backbone (torchvision keys).
        device: where to train.
        progress: called with (step, steps, loss).
        after_epoch: called with (epoch, network) and free to evaluate it.
    """
    torch.manual_seed(settings.seed)
    order = np.random.default_rng(settings.seed)
    network = DeepLabV3Plus(network_settings)
    if initial is not None:
        load_imagenet_weights(network.backbone, initial)
    network.to(device)
    for stage in network.backbone.stages[: settings.frozen_stages]:
        stage.requires_grad_(False)
    backbone = [weight for weight in network.backbone.parameters() if weight.requires_grad]
    head = [weight for name, weight in network.named_parameters() if not name.startswith("backbone.")]
    rates = [settings.learning_rate * settings.backbone_rate, settings.learning_rate]
    optimiser = torch.optim.AdamW(
        [{"params": backbone, "lr": rates[0]}, {"params": head, "lr": rates[1]}], weight_decay=1e-2
    )
    per_epoch = len(data.images) // settings.batch
    if per_epoch == 0:
        raise DataError(f"{len(data.images)} pictures do not fill one batch of {settings.batch}; use a smaller batch.")
    steps = per_epoch * settings.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=steps, pct_start=0.15)
    step = 0
    for epoch in range(settings.epochs):
        network.train()
        # Frozen stages keep their BatchNorm statistics too.
        for stage in network.backbone.stages[: settings.frozen_stages]:
            stage.eval()
        shuffled = order.permutation(len(data.images))
        for chosen in shuffled[: per_epoch * settings.batch].reshape(per_epoch, settings.batch):
            images, labels = _augment(data.images[chosen], data.labels[chosen], order)
            logits = network(preprocess(list(images), spec, device))
            target = torch.from_numpy(labels).to(device, torch.int64)
            loss = segmentation_loss("cross_entropy", logits, target)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            step += 1
            if progress is not None:
                progress(step, steps, float(loss.detach()))
        network.eval()
        if after_epoch is not None:
            after_epoch(epoch + 1, network)
    return network


def _augment(
    images: NDArray[np.uint8], labels: NDArray[np.uint8], random: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Mirror half of the pictures; the surround cameras come in mirrored pairs."""
    mirrored = random.random(len(images)) < 0.5
    images, labels = images.copy(), labels.copy()
    images[mirrored] = images[mirrored, :, ::-1]
    labels[mirrored] = labels[mirrored, :, ::-1]
    return images, labels


@torch.inference_mode()
def evaluate_segmentation(
    network: DeepLabV3Plus,
    data: LabelledSet,
    spec: PreprocessSpec,
    *,
    device: torch.device | str = "cpu",
    batch: int = 8,
) -> NDArray[np.int64]:
    """Confusion matrix (classes, classes), rows = label, columns = prediction, over a labelled set."""
    classes = network.settings.classes
    total = np.zeros((classes, classes), dtype=np.int64)
    for start in range(0, len(data.images), batch):
        images, labels = data.images[start : start + batch], data.labels[start : start + batch]
        low, high, _ = network.encode(preprocess(list(images), spec, device))
        predicted = network.decode(low, high, (spec.height, spec.width)).argmax(dim=1).to(torch.uint8).cpu().numpy()
        total += confusion_matrix(predicted, labels, classes)
    return total
