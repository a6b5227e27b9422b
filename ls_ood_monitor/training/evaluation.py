"""Evaluate a segmentation: confusion matrix, IoU of each class, calibration error, and pictures of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.metrics import confusion_matrix, mean_iou, per_class_iou
from ..datasets.labelled import IGNORE_LABEL
from ..vision.deeplabv3p import DeepLabV3Plus
from ..vision.preprocess import PreprocessSpec, normalise
from .data import LabelledPictures, make_loader

_BINS = 15


@dataclass(frozen=True)
class SegmentationReport:
    """Quality of a segmentation over a labelled set."""

    confusion: NDArray[np.int64]  # pixels (classes, classes), rows = label, columns = prediction
    calibration_error: float  # expected, over 15 equal bins of confidence (Guo et al., ICML 2017), 0 = best
    pictures: int

    @property
    def iou(self) -> NDArray[np.float64]:
        """IoU of each class, NaN where a class occurs neither in labels nor predictions."""
        return per_class_iou(self.confusion)

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur."""
        return mean_iou(self.confusion)


@torch.inference_mode()
def evaluate_segmentation(
    network: DeepLabV3Plus,
    source: LabelledPictures,
    spec: PreprocessSpec,
    *,
    device: torch.device | str = "cpu",
    batch: int = 8,
    progress: Callable[[int], None] | None = None,
) -> SegmentationReport:
    """Run the network over all pictures at its input size; ``progress`` is called with the number done."""
    classes = network.settings.classes
    confusion = np.zeros((classes, classes), dtype=np.int64)
    hits, mass, counts = np.zeros(_BINS), np.zeros(_BINS), np.zeros(_BINS)
    network = network.to(device).eval()
    done = 0
    for pictures, labels in make_loader(source, spec, batch=batch):
        features = network.encode(normalise(pictures.to(device), spec))
        probability = network.decode(features.low, features.high, (spec.height, spec.width)).softmax(dim=1)
        confidence, predicted = (values.cpu().numpy() for values in probability.max(dim=1))
        truth = labels.numpy()
        confusion += confusion_matrix(predicted, truth, classes)
        counted = truth != IGNORE_LABEL
        bins = np.minimum((confidence[counted] * _BINS).astype(int), _BINS - 1)
        hits += np.bincount(bins, (predicted == truth)[counted], _BINS)
        mass += np.bincount(bins, confidence[counted], _BINS)
        counts += np.bincount(bins, minlength=_BINS)
        done += len(labels)
        if progress is not None:
            progress(done)
    error = float(np.abs(hits - mass).sum() / counts.sum()) if counts.sum() else float("nan")
    return SegmentationReport(confusion, error, done)


def draw_confusion(report: SegmentationReport, names: Sequence[str], path: Path) -> None:
    """Draw the confusion matrix; each row is normalised to the share of its label's pixels."""
    from matplotlib.figure import Figure

    shares = report.confusion / np.maximum(report.confusion.sum(axis=1, keepdims=True), 1)
    size = 2.5 + 0.55 * len(names)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    axes.set_title(
        f"mIoU {report.miou:.3f}, calibration error {report.calibration_error:.3f}, {report.pictures} pictures"
    )
    for row, column in np.ndindex(*shares.shape):
        value = shares[row, column]
        if value >= 0.005:
            colour = "white" if value > 0.5 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(drawn, label="share of the label's pixels")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
