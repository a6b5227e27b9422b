"""Losses against closed forms and independent loops."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.training.losses import LOSSES, focal_loss, kl_weight, segmentation_loss


def _batch():
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 5, 4, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 5, (2, 4, 6), generator=generator)
    labels[0, :2] = 255
    return logits, labels


def _surprises(logits, labels):
    """-log softmax of each labelled pixel by scalar arithmetic; None where ignored."""
    rows = []
    for n, y, x in np.ndindex(*labels.shape):
        values = [float(v) for v in logits[n, :, y, x]]
        label = int(labels[n, y, x])
        rows.append(None if label == 255 else math.log(sum(map(math.exp, values))) - values[label])
    return rows


def test_cross_entropy_is_the_mean_over_labelled_pixels():
    """Ignored pixels count neither in the sum nor in the number of pixels."""
    logits, labels = _batch()
    kept = [value for value in _surprises(logits, labels) if value is not None]
    assert float(segmentation_loss("cross_entropy", logits, labels)) == pytest.approx(sum(kept) / len(kept), rel=1e-12)


def test_focal_loss_counts_ignored_pixels_as_zero():
    """(1 - p)^2 CE summed over labelled pixels, divided by all of them."""
    logits, labels = _batch()
    values = _surprises(logits, labels)
    expected = sum((1 - math.exp(-v)) ** 2 * v for v in values if v is not None) / len(values)
    assert float(segmentation_loss("focal_loss", logits, labels)) == pytest.approx(expected, rel=1e-12)
    assert float(focal_loss(logits, labels, gamma=0.0)) == pytest.approx(
        sum(v for v in values if v is not None) / len(values), rel=1e-12
    )


@pytest.mark.parametrize("name", LOSSES)
def test_a_picture_without_labels_costs_nothing(name):
    """All pixels ignored: 0 with a finite gradient, not NaN."""
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = segmentation_loss(name, logits, torch.full((1, 2, 2), 255))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("batches", [1, 2, 7, 60])
def test_kl_weights_follow_blundell(batches):
    """Exact rational arithmetic of 2^(M-i-1) / (2^M - 1)."""
    for index in range(batches):
        assert kl_weight(index, batches) == pytest.approx(float(Fraction(2 ** (batches - index - 1), 2**batches - 1)))
    assert sum(kl_weight(index, batches) for index in range(batches)) == pytest.approx(1.0)
    assert kl_weight(0, 100_000) == pytest.approx(0.5)


def test_wrong_names_and_batches_are_refused():
    """A batch outside the epoch is refused with its value."""
    with pytest.raises(ConfigError, match="dice"):
        segmentation_loss("dice", *_batch())
    with pytest.raises(ValueError, match="batch is 3"):
        kl_weight(3, 3)
