"""Metrics of detection and segmentation. OoD is the positive class, and larger scores mean OoD."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import auc, precision_recall_curve, roc_auc_score, roc_curve


def _labelled(ind: ArrayLike, ood: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    clean, odd = np.asarray(ind, dtype=np.float64), np.asarray(ood, dtype=np.float64)
    if clean.size == 0 or odd.size == 0:
        raise ValueError(f"there are {clean.size} in-distribution and {odd.size} OoD scores; both are needed.")
    labels = np.concatenate([np.zeros(clean.size, np.int64), np.ones(odd.size, np.int64)])
    return labels, np.concatenate([clean.ravel(), odd.ravel()])


def auroc(ind: ArrayLike, ood: ArrayLike) -> float:
    """Area under the ROC curve; 0.5 = chance, below 0.5 = the score points the wrong way."""
    return float(roc_auc_score(*_labelled(ind, ood)))


def aupr(ind: ArrayLike, ood: ArrayLike) -> float:
    """Area under the precision-recall curve by trapezoids, as the reference computes it."""
    precision, recall, _ = precision_recall_curve(*_labelled(ind, ood))
    return min(1.0, float(auc(recall, precision)))  # rounding may give more than 1


def fpr_at_tpr(ind: ArrayLike, ood: ArrayLike, *, tpr: float = 0.95) -> float:
    """False-positive rate at the highest threshold that detects a share ``tpr`` of the OoD frames."""
    if not 0.0 < tpr <= 1.0:
        raise ValueError(f"tpr is {tpr}; it must lie within (0, 1].")
    false_rate, true_rate, _ = roc_curve(*_labelled(ind, ood), drop_intermediate=False)
    return float(false_rate[np.argmax(true_rate >= tpr)])


def confusion_matrix(predicted: ArrayLike, labels: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Count pixels, (classes, classes): rows = label, columns = prediction; labels >= classes are ignored.

    Raises:
        ValueError: different sizes, a negative id, or a predicted id beyond the classes.
    """
    guess, truth = np.asarray(predicted, dtype=np.int64).ravel(), np.asarray(labels, dtype=np.int64).ravel()
    if guess.size != truth.size:
        raise ValueError(f"there are {guess.size} predictions but {truth.size} labels.")
    valid = truth < classes
    guess, truth = guess[valid], truth[valid]
    if truth.size and (truth.min() < 0 or guess.min() < 0 or guess.max() >= classes):
        raise ValueError(f"class ids must lie within [0, {classes - 1}]; predictions reach {guess.max()}.")
    counts = np.bincount(truth * classes + guess, minlength=classes * classes)
    return np.asarray(counts.reshape(classes, classes), dtype=np.int64)


def per_class_iou(confusion: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of each class, (classes,); NaN for a class that is in neither labels nor predictions."""
    matrix = np.asarray(confusion, dtype=np.float64)
    hit = np.diag(matrix)
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - hit
    return np.asarray(np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0), dtype=np.float64)


def mean_iou(confusion: ArrayLike) -> float:
    """Mean intersection over union of the classes in labels or predictions; NaN if there are none."""
    iou = per_class_iou(confusion)
    present = iou[~np.isnan(iou)]
    return float(present.mean()) if present.size else float("nan")
