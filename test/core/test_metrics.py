"""Metrics against scikit-learn, the reference's values and hand counts."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import jaccard_score

from ls_ood_monitor.core.metrics import (
    aupr,
    auroc,
    confusion_matrix,
    fpr_at_tpr,
    mean_iou,
    per_class_iou,
)


def test_reference_values():
    """The reference's figures for 1000 Gaussian scores each; there InD is positive and larger, so signs turn."""
    random = np.random.RandomState(1)
    ind, ood = 0.5 + random.randn(1000), -0.5 + random.randn(1000)
    assert auroc(-ind, -ood) == pytest.approx(0.7622030, abs=1e-7)
    assert fpr_at_tpr(ood, ind) == pytest.approx(0.733, abs=1e-9)
    assert aupr(ood, ind) == pytest.approx(0.7484173, abs=1e-7)


def test_directions():
    """Perfect separation is 1 and 0, the wrong way round 0 and 1; nothing is flipped."""
    low, high = np.zeros(50), np.ones(50)
    assert (auroc(low, high), fpr_at_tpr(low, high)) == (1.0, 0.0)
    assert (auroc(high, low), fpr_at_tpr(high, low)) == (0.0, 1.0)


def test_auroc_is_the_probability_of_order():
    """Counted over all pairs, ties as a half."""
    random = np.random.default_rng(0)
    ind, ood = random.integers(0, 9, 40).astype(float), random.integers(3, 12, 30).astype(float)
    pairs = (ood[:, None] > ind).mean() + 0.5 * (ood[:, None] == ind).mean()
    assert auroc(ind, ood) == pytest.approx(pairs, abs=1e-12)


@pytest.mark.parametrize("tpr", [0.5, 0.95, 1.0])
def test_fpr_at_tpr_and_aupr_equal_counts_over_all_thresholds(tpr):
    """Written out: every score is tried as threshold, and the precision-recall points are joined by trapezoids."""
    random = np.random.default_rng(3)
    ind, ood = random.integers(0, 30, 40).astype(float), random.integers(12, 45, 25).astype(float)
    thresholds = np.unique(np.concatenate([ind, ood]))[::-1]
    caught = (ood[None] >= thresholds[:, None]).sum(axis=1)
    false = (ind[None] >= thresholds[:, None]).sum(axis=1)
    assert fpr_at_tpr(ind, ood, tpr=tpr) == pytest.approx(false[caught / len(ood) >= tpr].min() / len(ind))
    recall, precision = np.r_[0.0, caught / len(ood)], np.r_[1.0, caught / (caught + false)]
    area = (np.diff(recall) * (precision[1:] + precision[:-1]) / 2).sum()
    assert aupr(ind, ood) == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize("tpr", [0.0, 1.5, 95.0, float("nan")])
def test_an_impossible_tpr_is_refused(tpr):
    """A rate that no threshold reaches must not read as no false alarms."""
    with pytest.raises(ValueError, match="tpr is"):
        fpr_at_tpr([0.0, 1.0], [2.0], tpr=tpr)


def test_both_kinds_are_needed():
    """An empty side is refused."""
    with pytest.raises(ValueError, match="both are needed"):
        auroc([], [1.0])


def test_confusion_and_iou_equal_scikit_learn():
    """Counts, per-class IoU and their mean equal sklearn's; ignored labels count nowhere."""
    random = np.random.default_rng(1)
    labels, predicted = random.integers(0, 5, (20, 30)), random.integers(0, 5, (20, 30))
    matrix = confusion_matrix(predicted, labels, 5)
    np.testing.assert_array_equal(matrix, sklearn_confusion(labels.ravel(), predicted.ravel()))
    np.testing.assert_allclose(per_class_iou(matrix), jaccard_score(labels.ravel(), predicted.ravel(), average=None))
    assert mean_iou(matrix) == pytest.approx(jaccard_score(labels.ravel(), predicted.ravel(), average="macro"))
    labels[0] = 255
    assert confusion_matrix(predicted, labels, 5).sum() == 19 * 30


def test_absent_classes_are_left_out_of_the_mean():
    """A class in neither labels nor predictions is NaN, not zero."""
    matrix = confusion_matrix([0, 0, 1], [0, 0, 1], 4)
    assert np.isnan(per_class_iou(matrix)[2:]).all()
    assert mean_iou(matrix) == 1.0
    assert np.isnan(mean_iou(np.zeros((4, 4))))


@pytest.mark.parametrize(
    ("predicted", "labels", "words"),
    [
        ([5, 0], [0, 1], "predictions reach 5"),
        ([-1, 0], [0, 1], "class ids"),
        ([0, 0], [-1, 1], "class ids"),
        ([0], [0, 1], "1 pred"),
    ],
)
def test_ids_outside_the_classes_are_refused(predicted, labels, words):
    """A predicted id beyond the classes must not be counted in another class's row."""
    with pytest.raises(ValueError, match=words):
        confusion_matrix(predicted, labels, 5)
