"""Pixel scores against pytorch-ood, numpy and the reference's figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytorch_ood.detector import EnergyBased, Entropy, MaxSoftmax
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy

from ls_ood_monitor.vision import uncertainty


@pytest.fixture
def logits() -> torch.Tensor:
    """(2, 10, 6, 8) of usual size."""
    return 3.0 * torch.randn(2, 10, 6, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("score", "other"),
    [
        (uncertainty.msp, MaxSoftmax.score),
        (uncertainty.energy, EnergyBased.score),
        (uncertainty.predictive_entropy, Entropy.score),
    ],
)
def test_scores_equal_pytorch_oods(logits, score, other):
    """Maximum softmax, energy and entropy are those of the package, sign included."""
    torch.testing.assert_close(score(logits), other(logits), rtol=1e-5, atol=1e-5)


def test_gen_equals_the_papers_formula(logits):
    """The sum of (p (1 - p))^0.1 in double precision; pytorch-ood's clamps p at 1e-7, which the power makes 0.2 of."""
    p = softmax(logits.double().numpy(), axis=1)
    np.testing.assert_allclose(uncertainty.gen(logits).numpy(), ((p * (1.0 - p)) ** 0.1).sum(axis=1), rtol=1e-9)


def test_gen_tells_confident_from_more_confident():
    """In float32 both pixels' 1 - p round to 0; the score still orders them."""
    pixels = torch.zeros(2, 4)
    pixels[:, 0] = torch.tensor([20.0, 24.0])
    sure, surer = uncertainty.gen(pixels)
    assert sure > surer > 0.0


def test_gen_leaves_out_the_tail_of_many_classes():
    """Of 150 classes the 100 likeliest count."""
    many = torch.randn(3, 150, generator=torch.Generator().manual_seed(1))
    p = np.sort(softmax(many.double().numpy(), axis=1), axis=1)[:, -100:]
    np.testing.assert_allclose(uncertainty.gen(many).numpy(), ((p * (1.0 - p)) ** 0.1).sum(axis=1), rtol=1e-9)


def test_reference_predictive_entropy_and_mutual_information():
    """The reference's figures for three passes a picture: entropy of the mean, and its excess over the mean entropy."""
    torch.manual_seed(1)
    passes = torch.rand(3000, 10).softmax(dim=1).reshape(-1, 3, 10).unbind(dim=1)
    mean = torch.stack(passes).mean(dim=0)
    np.testing.assert_allclose(uncertainty.entropy(mean)[:3], [2.2954240, 2.2936101, 2.2913275], atol=1e-6)
    information = uncertainty.mutual_information(iter(passes))
    np.testing.assert_allclose(information[:3], [0.0174179, 0.0362265, 0.0232129], atol=1e-6)


def test_mutual_information_is_the_mean_divergence_from_the_mean():
    """It equals the mean Kullback-Leibler divergence of the passes from their mean (scipy's)."""
    p = np.random.default_rng(2).dirichlet(np.ones(5), size=(6, 4))
    mean = p.mean(axis=0)
    expected = np.mean([scipy_entropy(sample, mean, axis=1) for sample in p], axis=0)
    np.testing.assert_allclose(uncertainty.mutual_information(torch.from_numpy(p)), expected, rtol=1e-9)


def test_certain_pixels_give_zero_and_not_nan():
    """Probabilities of exactly 0 and 1 have no entropy; disagreeing certain passes have log 2 of information."""
    certain = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert uncertainty.entropy(certain[0]).item() == 0.0
    assert uncertainty.mutual_information([certain[0]] * 4).item() == 0.0
    assert uncertainty.mutual_information(certain).item() == pytest.approx(math.log(2.0))
    assert uncertainty.predictive_entropy(torch.tensor([[1e4, 0.0]])).item() == 0.0


@pytest.mark.parametrize(
    "score", [uncertainty.msp, uncertainty.energy, uncertainty.gen, uncertainty.predictive_entropy]
)
def test_a_broken_pixel_is_not_a_number(score):
    """NaN logits give NaN, in their own pixel only; an uncertain pixel scores above a certain one."""
    values = score(torch.tensor([[float("nan"), 0.0], [5.0, 0.0], [0.1, 0.0]]))
    assert torch.isnan(values).tolist() == [True, False, False]
    assert values[2] > values[1]


def test_no_pass_is_refused():
    """Mutual information of nothing is an error, not a division by zero."""
    with pytest.raises(ValueError, match="no pass"):
        uncertainty.mutual_information([])
