"""What the network sees, for TensorBoard: input, labels, prediction and its entropy, side by side."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ...core.classes import CLASS_COLOURS
from ...vision.preprocess import PreprocessSpec, preprocess, resize_image, resize_labels
from .data import LabelledPictures

import pytorch_lightning as pl  # isort: skip  after data, which guards torchvision

Image = NDArray[np.uint8]


def class_colours(classes: int) -> Image:
    """RGB (classes, 3): WoodScape's own for ten classes, else evenly spread hues with black for the last."""
    if classes == len(CLASS_COLOURS):
        return CLASS_COLOURS
    hues = np.linspace(0, 179, classes, endpoint=False).astype(np.uint8)
    hsv = np.stack([hues, np.full_like(hues, 190), np.full_like(hues, 220)], axis=-1)[None]
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0], np.uint8)


@torch.inference_mode()
def picture_row(network: torch.nn.Module, image: Image, labels: Image, spec: PreprocessSpec) -> Image:
    """One row RGB (height, 4 * width, 3): input, labels, prediction, predictive entropy (inferno, 0 to ln classes)."""
    device = next(network.parameters()).device
    logits = network(preprocess([image], spec, device))[0].float()
    probability = logits.softmax(dim=0)
    entropy = -(probability * probability.clamp_min(1e-12).log()).sum(dim=0)
    share = (entropy / np.log(len(logits)) * 255).clamp(0, 255).to(torch.uint8).cpu().numpy()
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(logits)] = class_colours(len(logits))
    heat = cv2.applyColorMap(share, cv2.COLORMAP_INFERNO)[..., ::-1]
    truth = colours[resize_labels(labels, spec.width, spec.height)]
    seen = resize_image(image, spec)[..., ::-1]
    return np.concatenate([seen, truth, colours[logits.argmax(dim=0).cpu().numpy()], heat], axis=1)


class PictureGrid(pl.Callback):
    """After each validation, a grid of a few validation pictures under ``validation/pictures``."""

    def __init__(self, source: LabelledPictures, spec: PreprocessSpec, rows: int = 4) -> None:
        self.source = source
        self.spec = spec
        self.rows = rows

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw and log; only the first process of a distributed run does."""
        writer = getattr(trainer.logger, "experiment", None)
        if not trainer.is_global_zero or writer is None:
            return
        chosen = np.linspace(0, len(self.source) - 1, min(self.rows, len(self.source))).astype(int)
        rows = [picture_row(pl_module.network, *self.source[int(index)], self.spec) for index in chosen]
        writer.add_image("validation/pictures", np.concatenate(rows), trainer.global_step, dataformats="HWC")
