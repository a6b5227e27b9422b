"""Pictures of predictions: input, labels, prediction and its entropy, side by side."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..datasets.labelled import ClassTable
from ..vision.preprocess import PreprocessSpec, preprocess, resize_image, resize_labels
from .data import LabelledPictures

import pytorch_lightning as pl  # isort: skip  after data, which guards torchvision

Image = NDArray[np.uint8]


@torch.inference_mode()
def prediction_row(
    network: torch.nn.Module, image: Image, labels: Image, spec: PreprocessSpec, classes: ClassTable
) -> Image:
    """One row RGB (height, 4 * width, 3): input, labels, prediction, predictive entropy (inferno, 0 to ln classes)."""
    device = next(network.parameters()).device
    logits = network(preprocess([image], spec, device))[0].float()
    probability = logits.softmax(dim=0)
    entropy = -(probability * probability.clamp_min(1e-12).log()).sum(dim=0)
    share = (entropy / np.log(len(logits)) * 255).clamp(0, 255).to(torch.uint8).cpu().numpy()
    heat = cv2.applyColorMap(share, cv2.COLORMAP_INFERNO)[..., ::-1]
    truth = classes.paint(resize_labels(labels, spec.width, spec.height))
    seen = resize_image(image, spec)[..., ::-1]
    predicted = classes.paint(logits.argmax(dim=0).to(torch.uint8).cpu().numpy())
    return np.concatenate([seen, truth, predicted, heat], axis=1)


def prediction_grid(
    network: torch.nn.Module, source: LabelledPictures, spec: PreprocessSpec, classes: ClassTable, rows: int = 4
) -> Image:
    """Rows of ``prediction_row`` for ``rows`` pictures, evenly spread over ``source``."""
    chosen = np.linspace(0, len(source) - 1, min(rows, len(source))).astype(int)
    return np.concatenate([prediction_row(network, *source[int(index)], spec, classes) for index in chosen])


class PredictionGrid(pl.Callback):
    """Logs a grid of validation pictures to TensorBoard after each validation, as ``validation/pictures``."""

    def __init__(self, source: LabelledPictures, spec: PreprocessSpec, classes: ClassTable) -> None:
        self.source = source
        self.spec = spec
        self.classes = classes

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw and log, in the first process of a distributed run."""
        writer = getattr(trainer.logger, "experiment", None)
        if not trainer.is_global_zero or writer is None:
            return
        grid = prediction_grid(pl_module.get_submodule("network"), self.source, self.spec, self.classes)
        writer.add_image("validation/pictures", grid, trainer.global_step, dataformats="HWC")
